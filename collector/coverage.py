"""What the collector holds of each local day: sessions, their digest, what the hub cannot have yet, running time."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from collector import wire
from collector.runs import list_runs
from collector.timeline.spans import Span

QUARTER_MS = 900_000
"""Clocks are nearly always moved at whole quarters of an hour, so sessions are sorted into days by these."""

YEARS = range(1900, 9999)

SELECT = (
    "SELECT id, start_ms, changed_at_ms, rev, deleted FROM sessions INDEXED BY sessions_by_start"
    " WHERE start_ms >= ? AND start_ms < ? ORDER BY start_ms"
)


Row = tuple[str, int, int, int, int]
"""Id, start, change time, change number, and whether it is deleted: 0 or 1."""


class Days(NamedTuple):
    """The days of a request, both included, in its time zone."""

    zone: ZoneInfo
    first: date
    last: date


def cover_days(connection: sqlite3.Connection, days: Days, read_rev: int) -> list[wire.CoverageDay]:
    """The days in which there is anything to tell, in order, read inside one transaction.

    `read_rev` is the change up to which the hub has read.
    """
    rows = sort_into_days(read_rows(connection, days), days)
    ran = measure_days(list_runs(connection, midnight_ms(days.first, days.zone), end_ms(days)), days.zone)
    told = [describe_day(day, rows.get(day, []), ran.get(day, 0), read_rev) for day in sorted(rows.keys() | ran.keys())]
    return [day for day in told if day.sessions or day.pending or day.ran_seconds]


def describe_day(day: str, rows: list[Row], ran_ms: int, read_rev: int) -> wire.CoverageDay:
    """One day of the answer."""
    held = [(session_id, changed_ms, start_ms) for session_id, start_ms, changed_ms, _, deleted in rows if not deleted]
    return wire.CoverageDay(
        day=day,
        sessions=len(held),
        digest=wire.digest_sessions(held),
        pending=sum(rev > read_rev for _, _, _, rev, _ in rows),
        ran_seconds=ran_ms // 1000,
    )


def read_days(request: wire.CoverageRequest) -> Days:
    """The days that are asked about. ValueError, `field: reason`, for a zone or a day that is none."""
    first, last = read_day("first", request.first), read_day("last", request.last)
    if first > last:
        raise ValueError("last: a day that is not before first")
    return Days(find_zone(request.timezone), first, last)


def read_day(field: str, text: str) -> date:
    """A day; ValueError if it is none."""
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{field}: a day, e.g. 2026-01-05") from error
    if day.year not in YEARS:
        raise ValueError(f"{field}: a day from {YEARS[0]} to {YEARS[-1]}")
    return day


def find_zone(name: str) -> ZoneInfo:
    """The time zone; ValueError if this machine knows none of this name."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # a name that leaves the folder, a folder, and an unknown one
        raise ValueError("timezone: an IANA name that this machine knows, e.g. Europe/Berlin") from error


def read_rows(connection: sqlite3.Connection, days: Days) -> Iterable[Row]:
    """The rows that may belong to the days: those of a day more on both sides, as no zone is further from UTC."""
    first_ms = (days.first - wire.EPOCH.date()).days * 86_400_000
    last_ms = (days.last - wire.EPOCH.date()).days * 86_400_000
    return connection.execute(SELECT, (first_ms - 86_400_000, last_ms + 2 * 86_400_000))


def sort_into_days(rows: Iterable[Row], days: Days) -> dict[str, list[Row]]:
    """The rows of each day that has any, without those of other days."""
    by_day: dict[str, list[Row]] = defaultdict(list)
    by_quarter: dict[int, list[Row] | None] = {}
    for row in rows:
        quarter = row[1] // QUARTER_MS
        if quarter not in by_quarter:
            day = day_of_quarter(quarter, days.zone)
            by_quarter[quarter] = None if day is None else by_day[day]
        same_day = by_quarter[quarter]
        if same_day is None:
            same_day = by_day[day_of(row[1], days.zone)]
        same_day.append(row)
    first, last = days.first.isoformat(), days.last.isoformat()
    return {day: found for day, found in by_day.items() if first <= day <= last}


def day_of_quarter(quarter: int, zone: ZoneInfo) -> str | None:
    """The day that holds a whole quarter of an hour, or None where the clock is moved or a day begins within it."""
    begin, end = local_time(quarter * QUARTER_MS, zone), local_time((quarter + 1) * QUARTER_MS - 1, zone)
    is_even = begin.utcoffset() == end.utcoffset() and begin.date() == end.date()
    return begin.date().isoformat() if is_even else None


def day_of(moment_ms: int, zone: ZoneInfo) -> str:
    """The local day that holds a moment."""
    return local_time(moment_ms, zone).date().isoformat()


def local_time(moment_ms: int, zone: ZoneInfo) -> datetime:
    """A moment on the clocks of `zone`; the same as `fromtimestamp`, which some systems refuse before 1970."""
    return (wire.EPOCH + timedelta(milliseconds=moment_ms)).astimezone(zone)


def measure_days(runs: Iterable[Span], zone: ZoneInfo) -> dict[str, int]:
    """Milliseconds of `runs` by local day."""
    ran: dict[str, int] = defaultdict(int)
    for start_ms, stop_ms in runs:
        day = local_time(start_ms, zone).date()
        while start_ms < stop_ms:
            next_day = day + timedelta(days=1)
            until_ms = min(stop_ms, midnight_ms(next_day, zone))
            if until_ms > start_ms:
                ran[day.isoformat()] += until_ms - start_ms
                start_ms = until_ms
            day = next_day
    return ran


def midnight_ms(day: date, zone: ZoneInfo) -> int:
    """When a local day begins; where the clock skips midnight, when it does so."""
    return wire.to_ms(datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC))


def end_ms(days: Days) -> int:
    """When the last of the days is over."""
    return midnight_ms(days.last + timedelta(days=1), days.zone)
