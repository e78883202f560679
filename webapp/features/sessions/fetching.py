"""Reads one collector to its end, page by page: exact ones by cursor, plain ones by overlapping times. No database.

A plain collector knows only `since`, `hasMore` and `lastSyncTime`. Times tie, and it may mean the start, the end or the
change of a session by them. So each question overlaps the answer before it, and what repeats itself is left out.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from collector import wire
from webapp.adapters.collector_client import CollectorError
from webapp.features.sessions.parsing import Parsed, parse_page
from webapp.features.sessions.roads import Road
from webapp.features.sessions.targets import Position, Target
from webapp.lib import clock

log = logging.getLogger(__name__)

PAGE_ROWS = 500
SMALL_PAGE_ROWS = 100
MAX_PAGES = 200
MOST_PAGES = 20_000
"""What bounds a pull that cannot go on where it stopped."""
TIE_MS = 1000
MAX_CURSOR, MAX_EPOCH = 512, 128
OVERLAP_MS = 86_400_000
"""A plain collector is asked again for the last day: it may learn late of what began early."""
LONGEST_GROWING_MS = 7 * 86_400_000


@dataclass(frozen=True)
class FetchedPage:
    """One page, parsed, and where the device stands once it is stored.

    `is_reset`: its rows replace ours. `restart` is set on the page with which the collector began again: `reinstalled`
    (another database) or `restored` (an old copy). `reached_ms` is the change time of the last row, None without rows.
    `is_part`: more of the same page follows, and only the last part moves the position.
    """

    parsed: Parsed
    position: Position
    is_reset: bool
    has_more: bool
    restart: str | None = None
    reached_ms: int | None = None
    is_part: bool = False


@dataclass(frozen=True)
class Answer:
    """One answer and the question that it answers."""

    request: wire.ExportRequest
    page: wire.ExportPage


def fetch_pages(road: Road, target: Target) -> Iterator[FetchedPage]:
    """Every page from the target's position on, at most MAX_PAGES (`progress.is_more` then). CollectorError."""
    answer = open_export(road, target)
    most = MOST_PAGES if target.keeps_position or target.road is not None else MAX_PAGES
    pages = follow_cursor(road, target, answer) if answer.page.next_cursor else follow_time(road, answer)
    for number, page in enumerate(pages, start=1):
        note_page(target, page)
        yield page
        if number == most or target.must_stop:
            return


def note_page(target: Target, page: FetchedPage) -> None:
    """What a check of its days has to know of a pull."""
    progress, parsed = target.progress, page.parsed
    progress.is_more = page.has_more
    progress.restart = page.restart or progress.restart
    target.plan.note_page((row["started_ms"] for row in parsed.rows), is_reset=page.restart is not None)
    if target.window is not None:
        progress.seen_ids.update(row["id"] for row in parsed.rows)
        progress.seen_ids.update(one.session_id for one in parsed.rejected if one.session_id is not None)


def open_export(road: Road, target: Target) -> Answer:
    """The first page, from wherever the pull begins."""
    request = ask_from(target)
    if target.window is not None:
        answer = Answer(request, road.export(request))
        if answer.page.next_cursor is None:
            raise CollectorError("unsupported", "Its collector cannot be asked for single days.")
        return answer
    answer = _ask_first(road, target, request)
    if answer.page.next_cursor and request.since is not None and target.since is None:
        # It was plain and is exact now: what it meant by its times is unknown, so it starts over.
        return _ask_first(road, target, wire.ExportRequest(limit=PAGE_ROWS))
    return answer


def ask_from(target: Target) -> wire.ExportRequest:
    """The first question of a pull."""
    position = target.position
    if target.window is not None:
        first, end = map(wire.format_ms, target.window)
        return wire.ExportRequest(started_from=first, started_before=end, limit=PAGE_ROWS)
    if target.since is not None:
        return wire.ExportRequest(since=target.since, limit=PAGE_ROWS)
    if position.cursor is not None:
        return wire.ExportRequest(cursor=position.cursor, limit=PAGE_ROWS)
    if position.since is not None:
        since = wire.format_ms(max(0, wire.parse_ms(position.since) - OVERLAP_MS))
        return wire.ExportRequest(since=since, limit=PAGE_ROWS)
    return wire.ExportRequest(limit=PAGE_ROWS)


def follow_cursor(road: Road, target: Target, answer: Answer) -> Iterator[FetchedPage]:
    """The pages of an exact collector. CollectorError if it says that there is more and does not move."""
    is_reset = target.is_resetting or target.window is not None
    epoch = target.position.epoch
    while True:
        page, request = answer.page, answer.request
        if page.has_more and (page.next_cursor is None or page.next_cursor == request.cursor):
            raise CollectorError("bad_answer", "It says that there is more, but it does not go on from where it was.")
        cursor, told_epoch = page.next_cursor or "", page.epoch or ""
        if len(cursor) > MAX_CURSOR or len(told_epoch) > MAX_EPOCH or "\0" in cursor + told_epoch:
            raise CollectorError("bad_answer", "Its cursor or epoch cannot be kept.")
        restart = find_restart(target, page, epoch)
        is_reset, epoch = is_reset or restart is not None, page.epoch or epoch
        parsed = parse_page(page.sessions, clock.now_ms())
        reached = _read_time(page.last_sync_time) if page.sessions else None
        yield FetchedPage(parsed, Position(page.next_cursor, epoch), is_reset, page.has_more, restart, reached)
        if not page.has_more:
            return
        again = wire.ExportRequest(
            cursor=page.next_cursor,
            limit=request.limit,
            started_from=request.started_from,
            started_before=request.started_before,
        )
        answer = Answer(again, road.export(again))


def find_restart(target: Target, page: wire.ExportPage, epoch: str | None) -> str | None:
    """Whether the collector began again with this page, after pages of `epoch`. A file tells of another time."""
    if target.keeps_position or target.road is not None:
        return None
    if epoch is not None and page.epoch is not None and page.epoch != epoch:
        return "reinstalled"
    return "restored" if page.reset else None


def follow_time(road: Road, answer: Answer) -> Iterator[FetchedPage]:
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
        position = _plain_position(reached, growing, request)
        yield FetchedPage(fresh, position, False, page.has_more, reached_ms=reached if page.sessions else None)
        if not page.has_more:
            return
        is_new = bool(fresh.rows or fresh.rejected)
        again = _next_question(request, first_limit, len(page.sessions), is_new, reached)
        answer = Answer(again, road.export(again))


def leave_out(parsed: Parsed, seen: set[bytes]) -> Parsed:
    """`parsed` without the records whose digest is in `seen`, to which those of its own are added."""
    digests = [hashlib.sha256(row["record"]).digest() for row in parsed.rows]
    fresh = Parsed(
        [row for row, digest in zip(parsed.rows, digests, strict=True) if digest not in seen],
        [rejected for rejected in parsed.rejected if rejected.digest not in seen],
    )
    seen.update(digests)
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
    told = _read_time(page.last_sync_time)
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


def _read_time(text: str) -> int | None:
    """A time that a collector told, in ms since 1970; None if it is none."""
    try:
        return max(0, wire.parse_ms(text))
    except ValueError:
        return None


def _ask_first(road: Road, target: Target, request: wire.ExportRequest) -> Answer:
    """A refused cursor is given up for the beginning, a refused page size for seed 001's."""
    try:
        return Answer(request, road.export(request))
    except CollectorError as error:
        if error.problem != "bad_answer":
            raise
        log.info("device %s: %s Asking plainer.", target.device_id, error.detail)
        simpler = wire.ExportRequest(since=None if request.cursor else request.since, limit=SMALL_PAGE_ROWS)
        target.is_resetting = target.is_resetting or request.cursor is not None
        try:
            return Answer(simpler, road.export(simpler))
        except CollectorError:
            raise error from None
