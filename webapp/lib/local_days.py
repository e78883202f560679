"""Local days and hours of a time zone as bounds in milliseconds. A day may have 23 or 25 hours, or any other length."""

from bisect import bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

QUARTER_MS = 900_000
"""Since 1972 every zone is a whole number of quarter hours from UTC, so a quarter never spans two local days."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_DAY = timedelta(days=1)


@lru_cache(maxsize=128)
def read_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name."""
    return ZoneInfo(name)


@lru_cache(maxsize=65_536)
def _day_of_quarter(zone: ZoneInfo, quarter: int) -> date:
    return datetime.fromtimestamp(quarter * 900, zone).date()


def day_of(ms: int, zone: ZoneInfo) -> date:
    """The local day that holds an instant."""
    return _day_of_quarter(zone, ms // QUARTER_MS)


def day_start(day: date, zone: ZoneInfo) -> int:
    """The first instant of a local day. A day whose midnight was skipped begins at the first instant that exists."""
    naive = datetime.combine(day, time())
    first = _to_ms(naive.replace(tzinfo=zone))
    if day_of(first, zone) == day and day_of(first - 1, zone) != day:
        return first
    return _search_start(day, zone, first)


def day_bounds(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """`[first, last)` instant of a local day."""
    return day_start(day, zone), day_start(day + ONE_DAY, zone)


def list_days(first: date, last: date) -> list[date]:
    """Every day from `first` to `last`, both included."""
    return [first + timedelta(days=step) for step in range((last - first).days + 1)]


def hour_bounds(first: date, last: date, zone: ZoneInfo) -> tuple[list[int], list[tuple[date, int]]]:
    """Where each local hour of the days `first` to `last` begins, and `(day, hour)` of each.

    One bound more than hours: the end. A repeated hour has one entry for each time; a skipped one has none.
    """
    bounds: list[int] = []
    hours: list[tuple[date, int]] = []
    for day in list_days(first, last):
        start, end = day_bounds(day, zone)
        for begin, hour in _hours_of(start, end, zone):
            bounds.append(begin)
            hours.append((day, hour))
    bounds.append(day_start(last + ONE_DAY, zone))
    return bounds, hours


def _hours_of(start: int, end: int, zone: ZoneInfo) -> list[tuple[int, int]]:
    if _is_plain(start, end, zone):
        return [(start + 3_600_000 * hour, hour) for hour in range(24)]
    found: list[tuple[int, int]] = []
    for quarter in range(start // QUARTER_MS, -(-end // QUARTER_MS)):
        begin = max(start, quarter * QUARTER_MS)
        local = datetime.fromtimestamp(begin / 1000, zone)
        if not found or found[-1][1] != local.hour or local.minute == 0:
            found.append((begin, local.hour))
    return found


def _is_plain(start: int, end: int, zone: ZoneInfo) -> bool:
    """Whether the day has 24 hours and one offset (a zone changes it at most once a day)."""
    offsets = {datetime.fromtimestamp(ms / 1000, zone).utcoffset() for ms in (start, end - 1)}
    return end - start == 86_400_000 and len(offsets) == 1


def _search_start(day: date, zone: ZoneInfo, near: int) -> int:
    quarters = range(near // QUARTER_MS - 200, near // QUARTER_MS + 200)
    return (
        quarters[bisect_right(quarters, day - ONE_DAY, key=lambda quarter: _day_of_quarter(zone, quarter))] * QUARTER_MS
    )


def _to_ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)
