"""Local days and hours where clocks are changed, midnights are skipped and whole days are missing."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.lib import local_days
from webapp.lib.local_days import day_bounds, day_of, hour_bounds

ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe"),
    *("America/Sao_Paulo", "Pacific/Apia", "America/Havana", "Africa/Cairo", "Asia/Beirut", "America/St_Johns"),
]
HOUR_MS = 3_600_000
zones = st.sampled_from(ZONES).map(ZoneInfo)
days = st.dates(date(1991, 1, 1), date(2037, 12, 30))


@given(zones, days)
def test_days_follow_each_other_without_a_gap(zone: ZoneInfo, day: date) -> None:
    start, end = day_bounds(day, zone)
    assert end == day_bounds(day + timedelta(days=1), zone)[0]
    if start < end:
        assert day_of(start, zone) == day_of(end - 1, zone) == day
    assert day_of(start - 1, zone) < day


@given(zones, days)
def test_hours_fill_the_day_and_are_what_the_clock_shows(zone: ZoneInfo, day: date) -> None:
    bounds, hours = hour_bounds(day, day, zone)
    start, end = day_bounds(day, zone)
    assert bounds == sorted(set(bounds))
    assert bounds[-1] == end
    assert bounds[0] == start
    for begin, (of_day, hour) in zip(bounds, hours, strict=False):
        local = datetime.fromtimestamp(begin / 1000, UTC).astimezone(zone)
        assert (local.date(), local.hour) == (of_day, hour)


@pytest.mark.parametrize(
    ("zone", "day", "count"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 23),
        ("Europe/Berlin", date(2026, 10, 25), 25),
        ("Europe/Berlin", date(2026, 7, 1), 24),
        ("America/Sao_Paulo", date(2018, 11, 4), 23),  # midnight was skipped
        ("Pacific/Apia", date(2011, 12, 30), 0),  # the day was skipped
    ],
)
def test_number_of_hours(zone: str, day: date, count: int) -> None:
    bounds, _ = hour_bounds(day, day, ZoneInfo(zone))
    assert (bounds[-1] - bounds[0]) // HOUR_MS == count


def test_skipped_midnight_begins_with_the_first_hour_that_exists() -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    start = local_days.day_start(date(2018, 11, 4), zone)
    assert datetime.fromtimestamp(start / 1000, zone).hour == 1


def test_list_days_holds_both_ends() -> None:
    assert local_days.list_days(date(2026, 2, 27), date(2026, 3, 1)) == [
        date(2026, 2, 27),
        date(2026, 2, 28),
        date(2026, 3, 1),
    ]
