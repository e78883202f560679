"""The file road: an export file answers what a collector would, so that one pull reads both."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from collector import wire
from webapp.adapters.collector_errors import CollectorError
from webapp.adapters.export_file import BadExportFile, open_export_file
from webapp.features.sessions.parsing import read_ms
from webapp.lib import spans
from webapp.lib.local_days import ONE_DAY, day_bounds, day_of, day_start, list_days, read_zone


class Counted(msgspec.Struct, rename="camel"):
    """What coverage and the filter by start need of a session."""

    id: str
    session_start_time: datetime
    changed_at: datetime
    deleted: bool = False


_decoder = msgspec.json.Decoder(Counted)


@dataclass(frozen=True, slots=True)
class Known:
    """The newest version of one session in the file, and the number of its page."""

    changed_ms: int
    started_ms: int
    is_deleted: bool
    page: int


class FileRoad:
    """The road of a pull whose pages are in the file at `path`; BadExportFile if that cannot be believed.

    Opening checks the whole file: format, device, completeness, and that only the holder of `pull_secret` made it.
    """

    name: Literal["file"] = "file"

    def __init__(self, path: Path, pull_secret: str, *, device_id: str) -> None:
        self.file = open_export_file(path, device_id, pull_secret)
        self._numbers = {cursor: number for number, cursor in enumerate(self.file.cursors, start=1) if cursor}
        self._pages: Iterator[wire.ExportPage] = iter(())
        self._next = -1

        self.ends_ms = read_time(self.file.last_sync_time)
        """The change time, on the device's clock, up to which the file has everything."""
        self.written_ms = read_time(self.file.head.created_at)

    def export(self, request: wire.ExportRequest) -> wire.ExportPage:
        """The page after `request.cursor`; a cursor that is not of this file asks for the first one.

        That is only repeated work, since rows are stored by change time. Pages are as large as they were written.
        """
        page = self._read(self._numbers.get(request.cursor or "", 0))
        if request.started_from is None and request.started_before is None:
            return page
        first, end = read_bound(request.started_from, 0), read_bound(request.started_before, 2**62)
        page.sessions = [raw for raw in page.sessions if is_within(raw, first, end)]
        return page

    def cover(self, request: wire.CoverageRequest) -> wire.CoverageAnswer:
        """What the file holds of each day, by the rules of `wire.CoverageRequest`."""
        zone, first, last = read_days(request)
        page = self._numbers.get(request.cursor or "")
        days = count_days(self._list_known(), zone, first, last, read_pages=page or 0)
        for day, seconds in run_days(self.file.tail.runs, zone, first, last):
            days.setdefault(day, empty_day(day)).ran_seconds = seconds
        return wire.CoverageAnswer(
            epoch=self.file.head.epoch,
            since=self.file.tail.since,
            timestamp=self.file.head.created_at,
            days=[days[day] for day in sorted(days)],
            reset=request.cursor is not None and page is None,
        )

    def close(self) -> None:
        """Closes the file."""
        self._pages, self._next = iter(()), -1

    def _read(self, number: int) -> wire.ExportPage:
        """Page `number`, from 0; after the last one an empty page."""
        if number >= len(self.file.cursors):
            return self._empty()
        if number != self._next:
            self._pages = self.file.pages(number)
        self._next = number + 1
        return next(self._pages)

    def _empty(self) -> wire.ExportPage:
        return wire.ExportPage(
            sessions=[],
            has_more=False,
            last_sync_time=self.file.last_sync_time,
            next_cursor=self.file.cursors[-1] if self.file.cursors else None,
            epoch=self.file.head.epoch,
        )

    def _list_known(self) -> dict[str, Known]:
        """Every session once, as the last page that has it tells it."""
        known: dict[str, Known] = {}
        for number, page in enumerate(self.file.pages()):
            for raw in page.sessions:
                told = read_counted(raw)
                if told is not None:
                    known[told[0]] = Known(*told[1:], number)
        return known


def read_counted(raw: msgspec.Raw | bytes) -> tuple[str, int, int, bool] | None:
    """`(id, changed, started, deleted)` of a session, times in ms; None for one that nobody can read."""
    try:
        told = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return told.id, read_ms(told.changed_at), read_ms(told.session_start_time), told.deleted


def is_within(raw: msgspec.Raw, first: int, end: int) -> bool:
    """Whether a session starts in `[first, end)`; one that nobody can read stays, so that it is set aside."""
    told = read_counted(raw)
    return told is None or first <= told[2] < end


def read_time(text: str) -> int:
    """A time in the file in ms. BadExportFile if it is none."""
    try:
        return wire.parse_ms(text)
    except (ValueError, OverflowError) as error:
        raise BadExportFile("The file does not say up to when it goes. Write it again on the machine.") from error


def read_bound(text: str | None, default: int) -> int:
    """A bound of the filter in ms."""
    return default if text is None else wire.parse_ms(text)


def read_days(request: wire.CoverageRequest) -> tuple[ZoneInfo, date, date]:
    """The zone and the days that are asked about. CollectorError if there are no such."""
    try:
        return read_zone(request.timezone), date.fromisoformat(request.first), date.fromisoformat(request.last)
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise CollectorError("bad_answer", f"These days cannot be looked up in a file: {error}.") from error


def count_days(
    known: dict[str, Known], zone: ZoneInfo, first: date, last: date, *, read_pages: int
) -> dict[date, wire.CoverageDay]:
    """The days of the sessions; what stands after the first `read_pages` pages is pending."""
    days: dict[date, wire.CoverageDay] = {}
    digests: dict[date, int] = {}
    begin, end = day_start(first, zone), day_start(last + ONE_DAY, zone)
    for session_id, one in known.items():
        if not begin <= one.started_ms < end:  # before its day is looked for: it may be in no calendar
            continue
        day = day_of(one.started_ms, zone)
        found = days.setdefault(day, empty_day(day))
        found.pending += one.page >= read_pages
        if not one.is_deleted:
            found.sessions += 1
            told = (session_id, one.changed_ms, one.started_ms)
            digests[day] = wire.sum_digests([told], digests.get(day, 0))
    for day, digest in digests.items():
        days[day].digest = f"{digest:032x}"
    return days


def run_days(runs: Iterable[spans.Span], zone: ZoneInfo, first: date, last: date) -> Iterator[tuple[date, int]]:
    """The days in which the collector ran, and for how many seconds."""
    found: dict[date, int] = {}
    begin, end = day_start(first, zone), day_start(last + ONE_DAY, zone)
    for start, stop in spans.clip(spans.union(runs), begin, end):
        for day in list_days(day_of(start, zone), day_of(stop - 1, zone)):
            found[day] = found.get(day, 0) + spans.measure(spans.clip([(start, stop)], *day_bounds(day, zone)))
    return ((day, ms // 1000) for day, ms in found.items())


def empty_day(day: date) -> wire.CoverageDay:
    """A day of which nothing is known yet."""
    return wire.CoverageDay(day=day.isoformat(), sessions=0, digest=wire.digest_sessions([]), pending=0, ran_seconds=0)
