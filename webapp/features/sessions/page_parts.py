"""Large pages in parts, so that no transaction holds the database for long. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from webapp.features.sessions.fetching import FetchedPage
from webapp.features.sessions.parsing import Parsed

T = TypeVar("T")

PART_ROWS = 1000
ROW_BYTES = 2048
"""What a row weighs as one; a larger one weighs more."""


def split(page: FetchedPage) -> Iterator[tuple[FetchedPage, int]]:
    """The page, or its parts of at most PART_ROWS each, with what each weighs. The last one moves the position."""
    rows, rejected = page.parsed.rows, page.parsed.rejected
    size = sum([len(row["record"]) for row in rows]) + sum([len(one.record) for one in rejected])
    weight = max(len(rows) + len(rejected), size // ROW_BYTES)
    if weight <= PART_ROWS:
        yield page, weight
        return
    parts = [Parsed(rows=some) for some in _cut(rows, lambda row: len(row["record"]))]
    parts += [Parsed(rejected=some) for some in _cut(rejected, lambda one: len(one.record))]
    for number, part in enumerate(parts, start=1):
        restart = page.restart if number == 1 else None
        yield replace(page, parsed=part, restart=restart, is_part=number < len(parts)), PART_ROWS


def _cut(records: Sequence[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    portion: list[T] = []
    weight = 0
    for record in records:
        more = max(1, size_of(record) // ROW_BYTES)
        if portion and weight + more > PART_ROWS:
            yield portion
            portion, weight = [], 0
        portion.append(record)
        weight += more
    if portion:
        yield portion
