"""What is held of each day: the same sessions as the export gives, counted by local day, in any time zone."""

import time
import uuid
from collections import defaultdict
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector import exports, wire
from collector.coverage import SELECT
from collector.runs import add_run
from collector.store import Store
from collector.timeline.changes import bury
from collector.timeline.materialise import materialise
from tests.collector.conftest import MONDAY_MS, make_observation

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
IDLE_MS = 600_000
EMPTY = wire.digest_sessions([])


def work(store: Store, name: str, hours: float) -> None:
    """A closed session of one minute, `hours` after Monday 09:00 UTC."""
    beats = [make_observation(f"/p/{name}.py", hours * 3600 + second, editor=name) for second in (0, 60)]
    store.add_observations(beats)
    materialise(store, MONDAY_MS + round(hours * HOUR_MS) + 60_000 + IDLE_MS)


def cover(store: Store, first: str = "2026-01-01", last: str = "2026-01-31", **rest: str) -> wire.CoverageAnswer:
    return store.cover(wire.CoverageRequest(**({"timezone": "UTC", "first": first, "last": last} | rest)))


def by_hand(store: Store, zone: str) -> dict[str, tuple[int, str]]:
    """Sessions and digest of each day, counted as the protocol says from what the export gives."""
    rows: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    for session in store.export(wire.ExportRequest(limit=5000))["sessions"]:
        if not session.get("deleted"):
            start_ms = wire.parse_ms(session["sessionStartTime"])
            day = datetime.fromtimestamp(start_ms / 1000, ZoneInfo(zone)).date().isoformat()
            rows[day].append((session["id"], wire.parse_ms(session["changedAt"]), start_ms))
    return {day: (len(found), wire.digest_sessions(found)) for day, found in rows.items()}


def counted(answer: wire.CoverageAnswer) -> dict[str, tuple[int, str]]:
    return {day.day: (day.sessions, day.digest) for day in answer.days if day.sessions}


def pending(answer: wire.CoverageAnswer) -> dict[str, int]:
    return {day.day: day.pending for day in answer.days if day.pending}


def read_cursor(store: Store) -> str:
    return store.export(wire.ExportRequest(limit=5000))["nextCursor"]


def test_an_empty_database_holds_no_day(store: Store) -> None:
    answer = cover(store)
    assert (answer.days, answer.reset, answer.epoch) == ([], False, store.identity.epoch)
    assert wire.parse_ms(answer.since) == store.since_ms
    assert abs(wire.parse_ms(answer.timestamp) - wire.now_ms()) < 60_000


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Kiritimati", "America/St_Johns"])
def test_days_are_those_of_the_exported_sessions(store: Store, zone: str) -> None:
    for n in range(60):
        work(store, f"f{n % 7}", n * 5.3)
    answer = cover(store, timezone=zone)
    assert counted(answer) == by_hand(store, zone)
    assert sum(day.sessions for day in answer.days) == 60
    assert [day.day for day in answer.days] == sorted(day.day for day in answer.days)


def test_only_the_days_that_are_asked_about(store: Store) -> None:
    for n in range(5):
        work(store, f"f{n}", n * 24)
    answer = cover(store, "2026-01-06", "2026-01-07")
    assert [day.day for day in answer.days] == ["2026-01-06", "2026-01-07"]
    assert [day.day for day in cover(store, "2026-01-06", "2026-01-06").days] == ["2026-01-06"]


def test_pending_is_what_changed_after_the_cursor(store: Store) -> None:
    work(store, "a", 0)
    work(store, "b", 24)
    assert pending(cover(store)) == {"2026-01-05": 1, "2026-01-06": 1}  # nothing was read yet
    cursor = read_cursor(store)
    assert pending(cover(store, cursor=cursor)) == {}
    work(store, "c", 25)
    assert pending(cover(store, cursor=cursor)) == {"2026-01-06": 1}
    assert pending(cover(store, cursor=read_cursor(store))) == {}


def test_a_tombstone_is_pending_and_no_session(store: Store) -> None:
    work(store, "a", 0)
    cursor = read_cursor(store)
    with store.write() as connection:
        (session_id,) = connection.execute("SELECT id FROM sessions").fetchone()
        bury(connection, session_id, None, MONDAY_MS + DAY_MS)
    (day,) = cover(store, cursor=cursor).days
    assert (day.day, day.sessions, day.digest, day.pending) == ("2026-01-05", 0, EMPTY, 1)
    assert cover(store, cursor=read_cursor(store)).days == []


def test_a_changed_session_changes_the_digest_of_its_day(store: Store) -> None:
    work(store, "a", 0)
    before = counted(cover(store))
    store.add_observations([make_observation("/p/a.py", 120, editor="a")])
    materialise(store, MONDAY_MS + HOUR_MS)
    after = counted(cover(store))
    assert before["2026-01-05"][0] == after["2026-01-05"][0] == 1
    assert before != after
    assert after == by_hand(store, "UTC")


def test_a_session_whose_start_moves_is_on_its_new_day(store: Store) -> None:
    """An editor that reports late takes the first minutes of what saves had suggested: from before midnight."""
    evening = 15 * 3600 - 300  # 23:55 UTC
    saves = [
        make_observation("/p/a.py", evening + s, source="filesystem", editor="", is_write=True) for s in (0, 300, 600)
    ]
    store.add_observations(saves)
    materialise(store, MONDAY_MS + DAY_MS)
    assert {day: count for day, (count, _) in counted(cover(store)).items()} == {"2026-01-05": 1}
    cursor = read_cursor(store)
    store.add_observations([make_observation("/p/b.py", evening + s) for s in (0, 240, 480)])
    materialise(store, MONDAY_MS + DAY_MS)
    answer = cover(store, cursor=cursor)
    assert counted(answer) == by_hand(store, "UTC")
    assert {day: count for day, (count, _) in counted(answer).items()} == {"2026-01-05": 1, "2026-01-06": 1}
    (moved,) = [s for s in store.export(wire.ExportRequest())["sessions"] if s["fileName"] == "a.py"]
    assert (moved["revision"], moved["sessionStartTime"][:10]) == (2, "2026-01-06")


def test_a_cursor_of_another_history_makes_everything_pending(store: Store) -> None:
    work(store, "a", 0)
    cursor = read_cursor(store)
    store.adopt_device_id("another")
    materialise(store, MONDAY_MS + HOUR_MS)
    answer = cover(store, cursor=cursor)
    assert answer.reset
    assert pending(answer) == {"2026-01-05": 1}
    with store.read() as connection:
        lost = exports.Position(99, MONDAY_MS)
        forged = exports.write_cursor(lost, store.identity.epoch, bytes.fromhex(store.get_meta("cursor_key") or ""))
        assert not exports.was_told(connection, lost)
    assert cover(store, cursor=forged).reset


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"timezone": "Europe/Atlantis"}, "timezone: an IANA name"),
        ({"timezone": "../../etc/passwd"}, "timezone: an IANA name"),
        ({"timezone": "/etc/localtime"}, "timezone: an IANA name"),
        ({"timezone": "Europe"}, "timezone: an IANA name"),
        ({"timezone": "a" * 64}, "timezone: an IANA name"),
        ({"first": "2026-02-30"}, "first: a day, e.g."),
        ({"first": "0000-01-01"}, "first: a day, e.g."),
        ({"first": "0001-01-01"}, "first: a day from 1900 to 9998"),
        ({"last": "9999-12-31"}, "last: a day from 1900 to 9998"),
        ({"last": "2025-12-31"}, "last: a day that is not before first"),
        ({"cursor": "nobody's"}, "cursor: "),
    ],
)
def test_what_cannot_be_answered_is_said(store: Store, change: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}"):
        cover(store, **change)


@pytest.mark.parametrize(("first", "last"), [("1900-01-01", "1900-01-02"), ("9998-12-30", "9998-12-31")])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Midway"])
def test_the_ends_of_the_calendar_are_answered(store: Store, first: str, last: str, zone: str) -> None:
    assert cover(store, first, last, timezone=zone).days == []


def test_running_time_is_cut_at_the_local_midnights(store: Store) -> None:
    midnight_ms = wire.parse_ms("2026-01-05T23:00:00Z")  # in Berlin
    with store.write() as connection:
        add_run(connection, midnight_ms - 90_000, midnight_ms + 60_500)
        add_run(connection, midnight_ms + HOUR_MS, midnight_ms + 2 * HOUR_MS)
        add_run(connection, midnight_ms + 5 * DAY_MS, midnight_ms + 7 * DAY_MS)
    answer = cover(store, timezone="Europe/Berlin")
    assert {day.day: day.ran_seconds for day in answer.days} == {
        "2026-01-05": 90,
        "2026-01-06": 3660,
        "2026-01-11": 86_400,
        "2026-01-12": 86_400,
    }
    assert all((day.sessions, day.pending, day.digest) == (0, 0, EMPTY) for day in answer.days)
    assert [day.ran_seconds for day in cover(store, "2026-01-06", "2026-01-06", timezone="Europe/Berlin").days] == [
        3660
    ]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/Sao_Paulo", "2017-10-15", 23),  # the clock skips midnight itself
        ("America/Havana", "2016-11-06", 25),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
    ],
)
def test_days_on_which_the_clock_is_moved_have_their_own_length(
    store: Store, zone: str, day: str, hours: float
) -> None:
    noon_ms = wire.parse_ms(f"{day}T12:00:00Z")
    with store.write() as connection:
        add_run(connection, noon_ms - 5 * DAY_MS, noon_ms + 5 * DAY_MS)
    (found,) = cover(store, day, day, timezone=zone).days
    assert found.ran_seconds == hours * 3600


ZONES = ["UTC", "America/St_Johns", "Africa/Monrovia", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia"]


@pytest.mark.parametrize(
    ("zone", "moments"),
    [
        # At 00:01 the clock went back to 23:01, so that the 29th began, stopped, and began again.
        ("America/St_Johns", ["2006-10-29T02:29:59Z", "2006-10-29T02:30:30Z", "2006-10-29T02:31:00Z"]),
        # 44 minutes and 30 seconds behind, until 1972.
        ("Africa/Monrovia", ["1971-05-01T00:44:29.999Z", "1971-05-01T00:44:30Z"]),
        # No 30th of December 2011.
        ("Pacific/Apia", ["2011-12-30T09:59:59.999Z", "2011-12-30T10:00:00Z"]),
    ],
)
def test_a_quarter_of_an_hour_in_which_the_day_changes(store: Store, zone: str, moments: list[str]) -> None:
    fill(store, [wire.parse_ms(moment) for moment in moments])
    answer = cover(store, "1971-01-01", "2030-01-01", timezone=zone)
    assert len(answer.days) == 2
    assert counted(answer) == by_hand(store, zone)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.sampled_from(ZONES),
    around=st.sampled_from(["1971-12-31", "1987-10-25", "2006-10-29", "2011-12-30", "2018-02-18", "2022-09-22"]),
    minutes=st.lists(st.integers(-2 * 1440, 2 * 1440), max_size=30),
)
def test_each_session_is_on_the_day_that_the_protocol_says(
    store: Store, zone: str, around: str, minutes: list[int]
) -> None:
    """Also where midnight comes twice, or never, and where clocks were moved in the middle of a quarter of an hour."""
    noon_ms = wire.parse_ms(f"{around}T12:00:00Z")
    fill(store, [noon_ms + minute * 60_000 + n % 60_000 for n, minute in enumerate(minutes)])
    answer = cover(store, "1971-01-01", "2030-01-01", timezone=zone)
    expected = by_hand(store, zone)
    assert counted(answer) == expected


def fill(store: Store, starts_ms: list[int]) -> None:
    """Sessions straight in the table, in place of all others."""
    with store.write() as connection:
        connection.execute("DELETE FROM sessions")
        rows = [
            (
                str(uuid.uuid4()), rev, MONDAY_MS + rev, "s", start, rev, start,
                f'{{"sessionStartTime":"{wire.format_ms(start)}","activeSegments":[]}}',
            )
            for rev, start in enumerate(starts_ms, start=1)
        ]  # fmt: skip
        connection.executemany(
            "INSERT INTO sessions (id, rev, changed_at_ms, revision, stream, first_ms, first_seq, last_ms, is_active,"
            " deleted, body) VALUES (?, ?, ?, 1, ?, ?, ?, ?, 0, 0, ?)",
            rows,
        )
        connection.execute("UPDATE change_clock SET rev = ?, changed_at_ms = ?", (len(rows), MONDAY_MS + len(rows)))


def test_many_sessions_are_counted_without_their_bodies(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, [MONDAY_MS - n * 300_000 for n in range(20_000)])
    began = time.process_time()
    answer = cover(store, "2020-01-01", "2026-12-31", timezone="Europe/Berlin")
    assert time.process_time() - began < 3
    assert sum(day.sessions for day in answer.days) == 20_000
    with store.read() as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {SELECT}", (0, 1)).fetchall()
    assert "COVERING INDEX" in plan[0][3]
    assert not any("TEMP" in step[3] for step in plan)
