"""Reads an export page so that one unreadable session spoils nothing but itself.

The decoder looks into every session on its way, so half of a surrogate pair, a bad number or deep nesting in one of
them fails the page. Then the sessions are cut out by their brackets alone, which costs more, and each is judged by
itself later.
"""

import re
from typing import TypeVar, cast

import msgspec

from collector import wire

TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
"""A string that never ends goes to the end: begun anew at each quote in it, it would be read for hours."""

SESSIONS = b'"sessions"'
MOST_SESSIONS = 100_000
"""The largest answer has no room for so many: they are rubbish, and each would be looked at for itself."""

T = TypeVar("T")

_decoder = msgspec.json.Decoder(wire.ExportPage)


def read_answer(body: bytes, kind: type[T]) -> T:
    """What a collector answered as `kind`. msgspec.DecodeError or RecursionError when it is none."""
    if kind is wire.ExportPage:
        return cast(T, read_page(body))
    return msgspec.json.decode(body, type=kind)


def read_page(body: bytes) -> wire.ExportPage:
    """The page in `body`. msgspec.DecodeError when it is none, even with its sessions left out."""
    try:
        page = _decoder.decode(body)
        if len(page.sessions) > MOST_SESSIONS:
            raise msgspec.ValidationError(f"More than {MOST_SESSIONS:,} sessions on one page")
        return page
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError):
        spans = find_sessions(body)
        if spans is None:
            raise
        (begin, end), items = spans
        page = _decoder.decode(body[:begin] + body[end:])
        return msgspec.structs.replace(page, sessions=[msgspec.Raw(body[first:last].strip()) for first, last in items])


def find_sessions(body: bytes) -> tuple[tuple[int, int], list[tuple[int, int]]] | None:
    """Where the array of sessions has its inside, and where each item of it is; None for no end, or far too many."""
    depth, name, begin, first = 0, b"", -1, 0
    items: list[tuple[int, int]] = []
    for token in TOKEN.finditer(body):
        mark = token[0]
        if mark in (b"{", b"["):
            depth += 1
            if depth == 2 and mark == b"[" and name == SESSIONS and begin < 0:
                begin = first = token.end()
        elif mark in (b"}", b"]"):
            depth -= 1
            if depth == 1 and begin >= 0:
                is_item = body[first : token.start()].strip()
                return (begin, token.start()), [*items, (first, token.start())] if is_item else items
        elif mark == b"," and depth == 2 and begin >= 0:
            items.append((first, token.start()))
            if len(items) > MOST_SESSIONS:
                return None
            first = token.end()
        elif depth == 1 and mark != b",":
            name = mark
    return None
