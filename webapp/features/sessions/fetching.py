"""Reads one collector to its end, page by page: exact ones by cursor, plain ones by overlapping times. No database.

A plain collector knows only `since`, `hasMore` and `lastSyncTime`. Times tie, and it may mean the start, the end or the
change of a session by them. So each question overlaps the answer before it, and what repeats itself is left out.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from collector import wire
from webapp.adapters.collector_client import CollectorError, read_skew_ms
from webapp.features.sessions.parsing import Parsed, parse_page
from webapp.features.sessions.targets import Position, Target
from webapp.lib import clock

log = logging.getLogger(__name__)

PAGE_ROWS = 500
SMALL_PAGE_ROWS = 100
MAX_PAGES = 200
TIE_MS = 1000
MAX_CURSOR, MAX_EPOCH = 512, 128
OVERLAP_MS = 86_400_000
"""A plain collector is asked again for the last day: it may learn late of what began early."""
LONGEST_GROWING_MS = 7 * 86_400_000
PROVEN_FRESH = timedelta(minutes=10)
ELSEWHERE = {"unreachable", "timeout", "identity", "bad_answer", "redirected"}
"""Problems after which the collector is looked for at its other addresses."""


class Collectors(Protocol):
    """What is needed of `webapp.adapters.collector_client.CollectorClient`."""

    def find_endpoint(self, device_id: str, pull_secret: str, candidates: Sequence[str]) -> str: ...

    def check_health(self, url: str, device_id: str, pull_secret: str) -> wire.Health: ...

    def export_page(
        self, url: str, device_id: str, pull_secret: str, request: wire.ExportRequest
    ) -> wire.ExportPage: ...


@dataclass(frozen=True)
class FetchedPage:
    """One page, parsed, and where the device stands once it is stored. `is_reset`: its rows replace ours."""

    parsed: Parsed
    position: Position
    is_reset: bool
    has_more: bool


@dataclass(frozen=True)
class Answer:
    """One answer and the question that it answers."""

    request: wire.ExportRequest
    page: wire.ExportPage


def fetch_pages(client: Collectors, target: Target) -> Iterator[FetchedPage]:
    """Every page from the target's position on, at most MAX_PAGES (`progress.is_more` then). CollectorError."""
    answer = open_export(client, target)
    pages = follow_cursor(client, target, answer) if answer.page.next_cursor else follow_time(client, target, answer)
    for number, page in enumerate(pages, start=1):
        target.progress.is_more = page.has_more
        yield page
        if number == MAX_PAGES or target.is_lost:
            return


def open_export(client: Collectors, target: Target) -> Answer:
    """The first page, from wherever the collector listens now."""
    position = target.position
    if target.since is not None:
        request = wire.ExportRequest(since=target.since, limit=PAGE_ROWS)
    elif position.cursor is not None:
        request = wire.ExportRequest(cursor=position.cursor, limit=PAGE_ROWS)
    elif position.since is not None:
        since = wire.format_ms(max(0, wire.parse_ms(position.since) - OVERLAP_MS))
        request = wire.ExportRequest(since=since, limit=PAGE_ROWS)
    else:
        request = wire.ExportRequest(limit=PAGE_ROWS)
    answer = _ask_first(client, target, request)
    if answer.page.next_cursor and request.since is not None and target.since is None:
        # It was plain and is exact now: what it meant by its times is unknown, so it starts over.
        return _ask_first(client, target, wire.ExportRequest(limit=PAGE_ROWS))
    return answer


def follow_cursor(client: Collectors, target: Target, answer: Answer) -> Iterator[FetchedPage]:
    """The pages of an exact collector. CollectorError if it says that there is more and does not move."""
    is_reset = target.is_resetting
    while True:
        page, asked = answer.page, answer.request.cursor
        is_foreign = target.position.epoch is not None and page.epoch != target.position.epoch
        is_reset = is_reset or page.reset or is_foreign
        if page.has_more and (page.next_cursor is None or page.next_cursor == asked):
            raise CollectorError("bad_answer", "It says that there is more, but it does not go on from where it was.")
        if len(page.next_cursor or "") > MAX_CURSOR or len(page.epoch or "") > MAX_EPOCH:
            raise CollectorError("bad_answer", "Its cursor or epoch is too long to be kept.")
        position = Position(page.next_cursor, page.epoch)
        parsed = parse_page(page.sessions, clock.now_ms())
        yield FetchedPage(parsed, position, is_reset, page.has_more)
        if not page.has_more:
            return
        answer = _ask(client, target, wire.ExportRequest(cursor=page.next_cursor, limit=answer.request.limit))


def follow_time(client: Collectors, target: Target, answer: Answer) -> Iterator[FetchedPage]:
    """The pages of a plain collector, without what an earlier page of this pull already held."""
    seen: set[bytes] = set()
    growing: list[int] = []
    first_limit = answer.request.limit
    while True:
        page, request = answer.page, answer.request
        parsed = parse_page(page.sessions, clock.now_ms())
        reached = _reached_ms(page, parsed, request)
        growing += [row["started_ms"] for row in parsed.rows if row["is_active"]]
        fresh = leave_out(parsed, seen)
        yield FetchedPage(fresh, _plain_position(reached, growing, request), False, page.has_more)
        if not page.has_more:
            return
        is_new = bool(fresh.rows or fresh.rejected)
        answer = _ask(client, target, _next_question(request, first_limit, len(page.sessions), is_new, reached))


def leave_out(parsed: Parsed, seen: set[bytes]) -> Parsed:
    """`parsed` without the records in `seen`, to which its own are added."""
    fresh = Parsed(
        [row for row in parsed.rows if row["record"] not in seen],
        [rejected for rejected in parsed.rejected if rejected.digest not in seen],
    )
    seen.update(row["record"] for row in fresh.rows)
    seen.update(rejected.digest for rejected in fresh.rejected)
    return fresh


def _next_question(
    request: wire.ExportRequest, first_limit: int, count: int, is_new: bool, reached: int | None
) -> wire.ExportRequest:
    """What to ask a plain collector next. CollectorError when it repeats itself whatever it is asked."""
    if reached is None:
        raise CollectorError("bad_answer", "It says that there is more, but not from when.")
    asked = wire.parse_ms(request.since) if request.since is not None else None
    overlap = max(0, reached - TIE_MS)
    if is_new and (asked is None or overlap > asked):
        return wire.ExportRequest(since=wire.format_ms(overlap), limit=first_limit)
    if count >= request.limit and request.limit < wire.EXPORT_MAX_LIMIT:
        # The page is one tie: everything in it lies within TIE_MS. A larger one reaches past it.
        return wire.ExportRequest(since=request.since, limit=min(request.limit * 2, wire.EXPORT_MAX_LIMIT))
    if asked is None or reached > asked:
        return wire.ExportRequest(since=wire.format_ms(reached), limit=first_limit)
    raise CollectorError("bad_answer", "It says that there is more, but sends the same page again and again.")


def _reached_ms(page: wire.ExportPage, parsed: Parsed, request: wire.ExportRequest) -> int | None:
    """How far a plain page goes. A `lastSyncTime` of about now says nothing of its rows, so their starts do."""
    try:
        told = max(0, wire.parse_ms(page.last_sync_time))
    except ValueError:
        told = None
    if told is not None and (not page.has_more or told < clock.now_ms() - TIE_MS):
        return told
    starts = [row["started_ms"] for row in parsed.rows]
    if starts:
        return max(starts)
    return told if told is not None else (wire.parse_ms(request.since) if request.since else None)


def _plain_position(reached: int | None, growing: Sequence[int], request: wire.ExportRequest) -> Position:
    """Where the next pull begins: not after the start of a session that may still grow."""
    if reached is None:
        return Position(since=request.since)
    return Position(since=wire.format_ms(max(0, reached - LONGEST_GROWING_MS, min([reached, *growing]))))


def _ask_first(client: Collectors, target: Target, request: wire.ExportRequest) -> Answer:
    """Asks at the known endpoint, else wherever the device proves its key. An unacceptable question is put plainer."""
    if target.endpoint_url is not None:
        try:
            return _ask_plainer(client, target, request, target.endpoint_url)
        except CollectorError as error:
            others = [url for url in target.candidates if url != target.endpoint_url]
            if error.problem not in ELSEWHERE or not others:
                raise
            try:
                url = client.find_endpoint(target.device_id, target.secret, others)
            except CollectorError as elsewhere:
                raise (elsewhere if elsewhere.problem == "identity" else error) from elsewhere
    else:
        url = client.find_endpoint(target.device_id, target.secret, target.candidates)
    return _ask_plainer(client, target, request, url)


def _ask_plainer(client: Collectors, target: Target, request: wire.ExportRequest, url: str) -> Answer:
    """A refused cursor is given up for the beginning, a refused page size for seed 001's."""
    target.progress.url = url
    _note_clock(client, target, url)
    try:
        return _ask(client, target, request)
    except CollectorError as error:
        if error.problem != "bad_answer":
            raise
        log.info("device %s: %s Asking plainer.", target.device_id, error.detail)
        simpler = wire.ExportRequest(since=None if request.cursor else request.since, limit=SMALL_PAGE_ROWS)
        target.is_resetting = target.is_resetting or request.cursor is not None
        try:
            return _ask(client, target, simpler)
        except CollectorError:
            raise error from None


def _note_clock(client: Collectors, target: Target, url: str) -> None:
    """Now and then, how far the two clocks are apart."""
    proven_at = target.endpoint_proven_at
    if url != target.endpoint_url or proven_at is None or clock.utc_now() - proven_at >= PROVEN_FRESH:
        health = client.check_health(url, target.device_id, target.secret)
        target.progress.clock_skew_ms = read_skew_ms(health, clock.now_ms())


def _ask(client: Collectors, target: Target, request: wire.ExportRequest) -> Answer:
    assert target.progress.url is not None
    return Answer(request, client.export_page(target.progress.url, target.device_id, target.secret, request))
