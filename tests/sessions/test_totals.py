"""Stored totals against brute force: every minute of every day asked who holds it, after random changes."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from collector import wire
from tests.collectors import Json, make_session
from tests.devices import factory
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import set_timezone
from webapp.features.devices import service as devices
from webapp.features.sessions import recounting, stale_days, timeline
from webapp.features.sessions import service as sessions
from webapp.features.sessions.ingest import store_parsed
from webapp.features.sessions.models import CountedZone, DayTotal, KnownName, StaleDay, StoredSession
from webapp.features.sessions.parsing import LAST_RANK, RANKS, parse_page
from webapp.features.sessions.totals import Totals, read_totals

GRID_MS = 15 * 60_000
START_MS = wire.parse_ms("2026-03-27T20:00:00Z")  # two days before clocks change in Berlin
FIRST, LAST = date(2026, 3, 26), date(2026, 4, 2)
ZONES = ("Europe/Berlin", "Asia/Kathmandu")
DEVICES = ("machine-0", "machine-1")

segments = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), min_size=0, max_size=3)
changes = st.fixed_dictionaries(
    {
        "device": st.sampled_from(DEVICES),
        "number": st.integers(0, 2),
        "first": st.integers(0, 300),
        "segments": segments,
        "project": st.sampled_from(["", "tide", "harbour"]),
        "language": st.sampled_from(["Python", "Rust"]),
        "source": st.sampled_from(["native", "wakatime", "git", "agent"]),
        "deleted": st.booleans(),
    }
)


@pytest.fixture
def account(app: Flask, owner: Account) -> Account:
    """The owner of two machines, in Berlin."""
    for device_id in DEVICES:
        factory.pair(owner.id, device_id=device_id)
    set_timezone(owner.id, ZONES[0])
    return owner


def make(change: dict[str, Any], changed: int) -> Json:
    """The session that a drawn change means."""
    cursor = START_MS + change["first"] * GRID_MS
    parts = []
    for gap, length in change["segments"]:
        parts.append([cursor + gap * GRID_MS, cursor + (gap + length) * GRID_MS])
        cursor = parts[-1][1]
    start = START_MS + change["first"] * GRID_MS
    return make_session(change["number"], start_ms=start) | {
        "sessionEndTime": wire.format_ms(max(cursor, start)),
        "activeSegments": parts,
        "projectName": change["project"],
        "language": change["language"],
        "sources": [change["source"]],
        "deleted": change["deleted"],
        "changedAt": wire.format_ms(START_MS + changed),
    }


def store(account_id: int, zone: str, device_id: str, *told: Json) -> None:
    """What a pull of `told` writes."""
    parsed = parse_page([msgspec.json.encode(one) for one in told], wire.now_ms())
    assert not parsed.rejected
    with transaction() as session:
        store_parsed(session, parsed, device_id=device_id, account_id=account_id, zone=ZoneInfo(zone), pull_id=None)


def holders(latest: dict[tuple[str, str], Json], kind: str, device_id: str | None) -> Iterator[tuple[int, Json, str]]:
    """Every grid step with the session that holds it."""
    claims: dict[int, list[tuple[int, int, str, str, str, Json]]] = {}
    for (device, _), told in latest.items():
        is_agent = told["sources"] == ["agent"]
        if told["deleted"] or is_agent != (kind == "agent") or device_id not in (None, device):
            continue
        rank = RANKS.get(told["sources"][0], LAST_RANK)
        started = wire.parse_ms(told["sessionStartTime"])
        for first, last in told["activeSegments"]:
            for at in range(first, last, GRID_MS):
                entry = (rank, -started, told["projectName"], told["language"], device, told)
                claims.setdefault(at, []).append(entry)
    for at, entries in claims.items():
        *_, device, told = min(entries, key=lambda entry: entry[:5])
        yield at, told, device


def expect(latest: dict[tuple[str, str], Json], zone: ZoneInfo, device_id: str | None) -> dict[str, Any]:
    """The totals by brute force."""
    days, projects, languages, hours, own, agents = (Counter() for _ in range(6))
    for at, told, _ in holders(latest, "human", device_id):
        local = datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)
        days[local.date()] += GRID_MS
        projects[told["projectName"]] += GRID_MS
        languages[told["language"]] += GRID_MS
        hours[local.weekday(), local.hour] += GRID_MS
    for at, _, _ in holders(latest, "agent", device_id):
        agents[datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date()] += GRID_MS
    for device in DEVICES if device_id is None else (device_id,):
        own[device] = sum(GRID_MS for _ in holders(latest, "human", device))
    return {
        "days": +days,
        "projects": projects,
        "languages": languages,
        "hours": hours,
        "devices": +own,
        "agents": agents,
    }


def describe(totals: Totals) -> dict[str, Any]:
    """Totals in the shape of `expect`."""
    hours = {(day, hour): ms for day, row in enumerate(totals.hours) for hour, ms in enumerate(row) if ms}
    return {
        "days": Counter({day.day: day.ms for day in totals.days if day.ms}),
        "projects": Counter({share.name: share.ms for share in totals.projects}),
        "languages": Counter({share.name: share.ms for share in totals.languages}),
        "hours": Counter(hours),
        "devices": Counter({share.name: share.ms for share in totals.devices if share.ms}),
        "agents": Counter({day.day: day.agent_ms for day in totals.days if day.agent_ms}),
    }


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(st.lists(changes, min_size=1, max_size=5), min_size=1, max_size=4), moves=st.booleans())
def test_totals_equal_brute_force(account: Account, rounds: list[list[dict[str, Any]]], moves: bool) -> None:
    account_id, zone = account.id, ZONES[0]
    wipe(account_id)
    latest: dict[tuple[str, str], Json] = {}
    changed = 0
    for drawn in rounds:
        for change in drawn:
            changed += 1
            told = make(change, changed)
            latest[change["device"], told["id"]] = told
            store(account_id, zone, change["device"], told)
        recounting.refresh_stale_days(account_id)
    if moves:
        zone = ZONES[1]
        set_timezone(account_id, zone)
        recounting.refresh_stale_days(account_id)
    for device_id in (None, *DEVICES):
        found = describe(read_totals(account_id, FIRST, LAST, device_id=device_id))
        assert found == expect(latest, ZoneInfo(zone), device_id)
    check_timeline(account_id, latest, ZoneInfo(zone))


def check_timeline(account_id: int, latest: dict[tuple[str, str], Json], zone: ZoneInfo) -> None:
    """A day drawn as lanes says what its totals say, filtered or not."""
    day = FIRST + timedelta(days=2)
    totals = read_totals(account_id, day, day)
    drawn = timeline.read_day(account_id, day, zone)
    assert drawn.total_ms == totals.total_ms
    of_project = timeline.read_day(account_id, day, zone, project="tide")
    assert of_project.total_ms == sum(share.ms for share in totals.projects if share.name == "tide")
    for lane in drawn.lanes:
        people = sum(block.end_ms - block.start_ms for block in lane.blocks if block.kind == "human")
        assert people == sum(share.ms for share in totals.devices if share.name == lane.device.id)


def wipe(account_id: int) -> None:
    """Nothing was ever stored."""
    with transaction() as session:
        for model in (StoredSession, DayTotal, StaleDay, CountedZone, KnownName):
            session.execute(delete(model))
    set_timezone(account_id, ZONES[0])


def test_day_that_was_marked_while_it_was_counted_stays_stale(account: Account, monkeypatch) -> None:
    store(account.id, ZONES[0], DEVICES[0], make_session(1))
    reads = recounting.read_sessions
    again: list[int] = []

    def read_and_change(*args):
        rows = list(reads(*args))
        if not again:
            again.append(1)
            store(account.id, ZONES[0], DEVICES[0], make_session(2, start_ms=wire.parse_ms("2026-01-05T12:00:00Z")))
        return rows

    monkeypatch.setattr(recounting, "read_sessions", read_and_change)
    recounting.refresh_stale_days(account.id)
    assert [day for day, _ in stale_days.list_stale(account.id, 9)] == [date(2026, 1, 5)]
    recounting.refresh_stale_days(account.id)
    assert read_totals(account.id, date(2026, 1, 5), date(2026, 1, 5)).total_ms == 2 * 600_000


def test_long_session_is_found_days_after_its_start(account: Account) -> None:
    start = wire.parse_ms("2026-01-05T12:00:00Z")
    ends = start + 5 * 86_400_000
    parts = [[start, start + 60_000], [ends - 120_000, ends]]
    long = make_session(1, start_ms=start) | {"sessionEndTime": wire.format_ms(ends), "activeSegments": parts}
    store(account.id, ZONES[0], DEVICES[0], long)
    recounting.refresh_stale_days(account.id)
    totals = read_totals(account.id, date(2026, 1, 5), date(2026, 1, 10))
    assert [day.ms for day in totals.days] == [60_000, 0, 0, 0, 0, 120_000]


def test_session_that_moves_leaves_its_old_day(account: Account) -> None:
    days = [date(2026, 1, 5), date(2026, 1, 7)]
    for step, start in enumerate(("2026-01-05T12:00:00Z", "2026-01-07T12:00:00Z")):
        moved = make_session(1, start_ms=wire.parse_ms(start), changedAt=wire.format_ms(START_MS + step))
        store(account.id, ZONES[0], DEVICES[0], moved)
        recounting.refresh_stale_days()
        assert read_totals(account.id, days[step], days[step]).total_ms == 600_000
    assert read_totals(account.id, days[0], days[0]).total_ms == 0


def test_deleted_machine_leaves_the_totals(account: Account) -> None:
    store(account.id, ZONES[0], DEVICES[0], make_session(1))
    store(account.id, ZONES[0], DEVICES[1], make_session(2, minutes=20))
    recounting.refresh_stale_days()
    devices.delete_device(account.id, DEVICES[1])
    recounting.refresh_stale_days()
    totals = read_totals(account.id, date(2026, 1, 5), date(2026, 1, 5))
    assert (totals.total_ms, [share.name for share in totals.devices]) == (600_000, [DEVICES[0]])
    assert db.session.scalars(select(DayTotal.device_id).distinct()).all() == ["", DEVICES[0]]


def test_totals_of_one_account_hold_nothing_of_another(account: Account, stranger: Account) -> None:
    store(account.id, ZONES[0], DEVICES[0], make_session(1))
    recounting.refresh_stale_days()
    for device_id in (None, DEVICES[0]):
        totals = read_totals(stranger.id, date(2026, 1, 5), date(2026, 1, 5), device_id=device_id)
        assert (totals.total_ms, list(totals.projects)) == (0, [])


def test_names_keep_the_order_in_which_they_came(account: Account) -> None:
    for number, project in enumerate(("zebra", "ant", "zebra", "moth")):
        store(account.id, ZONES[0], DEVICES[0], make_session(number, projectName=project))
        recounting.refresh_stale_days()
    assert sessions.list_filters(account.id).projects == ["zebra", "ant", "moth"]
    assert sessions.list_filters(account.id).languages == ["Python"]
