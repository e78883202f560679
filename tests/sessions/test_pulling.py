"""Pulling real small collectors over HTTP: everything arrives once, whatever the collector does meanwhile."""

import pytest
from flask import Flask
from sqlalchemy import func, select, update

from collector import wire
from tests.collector_server import Reply
from tests.collectors import START_MS, ExactCollector, PlainCollector, grow, make_plain_session, make_session
from tests.devices import factory
from tests.fakes import FakeCollectorClient, FakeMachine
from tests.sessions.conftest import Pair, by_id, list_stored, pull, read_state
from webapp.adapters.collector_client import CollectorClient
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.sessions import fetching, pulling
from webapp.features.sessions.models import (
    CoverageState,
    CoveredDay,
    Pull,
    PullState,
    QuarantinedSession,
    StoredSession,
)
from webapp.features.sessions.page_parts import split
from webapp.features.sessions.parsing import Parsed
from webapp.features.sessions.targets import Position


def test_exact_collector_is_pulled_completely(pair: Pair, client: CollectorClient, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 40)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(250)))
        (progress,) = pull(client, device_id)
        assert (progress.problem, progress.pages, progress.rows, progress.changed_rows) == (None, 7, 250, 250)
        assert list_stored(device_id) == by_id(collector.sessions)
        collector.put(*(grow(make_session(number), 5) for number in range(10)))
        (progress,) = pull(client, device_id)
        assert (progress.pages, progress.rows, progress.changed_rows) == (1, 10, 10)
        assert list_stored(device_id) == by_id(collector.sessions)


def test_pulling_twice_changes_nothing(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(20)))
        pull(client, device_id)
        before = read_state(device_id).cursor
        (progress,) = pull(client, device_id)
        assert (progress.rows, progress.changed_rows) == (0, 0)
        assert read_state(device_id).cursor == before
        assert db.session.scalar(select(func.count(StoredSession.id))) == 20


def test_sessions_that_change_between_pages_arrive_in_their_newest_version(
    pair: Pair, client: CollectorClient, monkeypatch
) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 10)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(50)))
        plain_export = collector.export

        def export_and_change(asked):
            answer = plain_export(asked)
            if answer["hasMore"] and len(collector.exports()) < 20:
                collector.put(grow(make_session(len(collector.exports()) % 7), len(collector.exports())))
            return answer

        collector.export = export_and_change  # type: ignore[method-assign]
        pull(client, device_id)
        assert list_stored(device_id) == by_id(collector.sessions)


def test_change_storm_in_one_millisecond(pair: Pair, client: CollectorClient, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 100)
    with ExactCollector(now_ms=lambda: START_MS) as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(1000)))
        pull(client, device_id)
        assert list_stored(device_id) == by_id(collector.sessions)


def test_late_session_with_an_old_start_arrives(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(make_session(500))
        pull(client, device_id)
        collector.put(make_session(1, start_ms=START_MS - 5 * 86_400_000))
        pull(client, device_id)
        assert len(list_stored(device_id)) == 2


def test_clock_that_jumps_back_a_day_loses_nothing(pair: Pair, client: CollectorClient) -> None:
    now = [wire.now_ms()]
    with ExactCollector(now_ms=lambda: now[0]) as collector:
        device_id = pair(collector)
        collector.put(make_session(1))
        pull(client, device_id)
        now[0] -= 86_400_000
        collector.put(grow(make_session(1), 7), make_session(2))
        pull(client, device_id)
        assert list_stored(device_id) == by_id(collector.sessions)


def test_reinstalled_collector_keeps_the_history(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(5)))
        pull(client, device_id)
        collector.reinstall()
        collector.put(make_session(100), make_session(2, minutes=3))
        pull(client, device_id)
        stored = {session["id"]: session for session in list_stored(device_id)}
        assert len(stored) == 6
        assert stored[make_session(2)["id"]]["totalDuration"] == 180
        assert read_state(device_id).epoch == collector.epoch


def test_restored_backup_overwrites_what_is_newer_by_the_clock(
    pair: Pair, client: CollectorClient, monkeypatch
) -> None:
    """Also when the pull of the restart is interrupted after its first page."""
    monkeypatch.setattr(fetching, "PAGE_ROWS", 3)
    now = [START_MS]
    with ExactCollector(now_ms=lambda: now[0]) as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(5)))
        backup = collector.back_up()
        collector.put(*(grow(make_session(number), 30) for number in range(5)))
        pull(client, device_id)
        collector.restore(backup)
        monkeypatch.setattr(fetching, "MAX_PAGES", 1)
        pull(client, device_id)
        assert read_state(device_id).is_resetting
        pull(client, device_id)
        assert list_stored(device_id) == by_id(collector.sessions)
        assert not read_state(device_id).is_resetting


def test_plain_collector_is_pulled_completely(pair: Pair, client: CollectorClient) -> None:
    with PlainCollector(most_per_page=100) as collector:
        device_id = pair(collector)
        for number in range(250):  # four a second: ties across the edges of pages
            collector.put(START_MS + number * 250, make_plain_session(number))
        (progress,) = pull(client, device_id)
        assert progress.problem is None
        assert list_stored(device_id) == by_id(collector.sessions)
        assert db.session.scalar(select(func.count(StoredSession.id))) == 250
        for number in range(0, 250, 3):
            collector.put(START_MS + 10**6, grow(make_plain_session(number), 4))
        (progress,) = pull(client, device_id)
        assert progress.changed_rows == 84
        assert list_stored(device_id) == by_id(collector.sessions)
        (progress,) = pull(client, device_id)
        assert progress.changed_rows == 0


@pytest.mark.parametrize("is_exclusive", [True, False])
@pytest.mark.parametrize("page", [100, 450])
def test_plain_page_that_is_one_tie(pair: Pair, client: CollectorClient, page: int, is_exclusive: bool) -> None:
    with PlainCollector(most_per_page=5000, is_since_exclusive=is_exclusive) as collector:
        device_id = pair(collector)
        tied = [make_plain_session(number) for number in range(page)]
        collector.put(START_MS, *tied)
        collector.put(START_MS + 60_000, *(make_plain_session(number) for number in range(page, 2 * page)))
        fetching_page, fetching.PAGE_ROWS = fetching.PAGE_ROWS, 60
        try:
            (progress,) = pull(client, device_id)
        finally:
            fetching.PAGE_ROWS = fetching_page
        assert progress.problem is None
        assert list_stored(device_id) == by_id(collector.sessions)


def test_plain_collector_without_segments_counts_from_its_start(pair: Pair, client: CollectorClient) -> None:
    with PlainCollector() as collector:
        device_id = pair(collector)
        collector.put(START_MS, make_plain_session(0, minutes=10) | {"totalDuration": 240})
        pull(client, device_id)
        row = db.session.scalars(select(StoredSession)).one()
        assert (row.duration_seconds, row.ended_ms - row.started_ms) == (240, 600_000)


def test_collector_that_repeats_itself_is_told_on(pair: Pair, client: CollectorClient) -> None:
    with PlainCollector() as collector:
        device_id = pair(collector)
        page = {"sessions": [make_plain_session(1)], "hasMore": True, "lastSyncTime": "2026-01-05T09:00:00Z"}
        collector.export = lambda _: page  # type: ignore[method-assign]
        (progress,) = pull(client, device_id)
        assert (progress.problem, progress.pages < 20) == ("bad_answer", True)
        assert "same page again" in (progress.detail or "")
        assert len(list_stored(device_id)) == 1


def test_cursor_that_does_not_advance_is_told_on(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(make_session(1))
        stuck = {**collector.export({}), "hasMore": True}
        collector.export = lambda _: stuck  # type: ignore[method-assign]
        (progress,) = pull(client, device_id)
        assert progress.problem == "bad_answer"
        assert len(collector.exports()) < 5
        state = read_state(device_id)
        assert (state.problem, state.failures) == ("bad_answer", 1)
        assert state.due_at > state.last_tried_at


def test_promise_of_more_that_brings_nothing_is_told_on(pair: Pair, client: CollectorClient, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "MAX_PAGES", 3)
    with ExactCollector() as collector:
        device_id = pair(collector)
        empty = collector.export({})
        cursors = iter(range(100))
        endless = lambda _: {**empty, "hasMore": True, "nextCursor": f"c{next(cursors)}"}  # noqa: E731
        collector.export = endless  # type: ignore[method-assign]
        (progress,) = pull(client, device_id)
        assert (progress.problem, progress.detail) == (
            "bad_answer",
            "It says that there is more, but 3 pages brought nothing new.",
        )
        state = read_state(device_id)
        assert state.due_at > state.last_tried_at


def test_cursor_that_the_collector_refuses_is_given_up(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(make_session(1))
        pull(client, device_id)
        collector.put(make_session(2))
        collector.failures = [Reply({"title": "cursor: made by another version"}, 400)] * 1
        pull(client, device_id)
        # the first call of a connection is health, so the refusal may hit it; a second pull is always enough
        pull(client, device_id)
        assert list_stored(device_id) == by_id(collector.sessions)


def test_busy_collector_goes_on_in_the_next_pull(pair: Pair, client: CollectorClient, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 10)
    monkeypatch.setattr(fetching, "MAX_PAGES", 3)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(45)))
        (progress,) = pull(client, device_id)
        assert (progress.is_more, progress.rows) == (True, 30)
        state = read_state(device_id)
        assert state.due_at <= state.last_pulled_at
        pull(client, device_id)
        assert list_stored(device_id) == by_id(collector.sessions)


def test_bad_sessions_go_to_quarantine_and_leave_it_when_they_are_cured(pair: Pair, client: CollectorClient) -> None:
    bad = {
        "1601": make_session(1, sessionStartTime="1601-01-01T00:00:00Z"),
        "9999": make_session(2, sessionEndTime="9999-12-31T00:00:00Z"),
        "backwards": make_session(3, sessionEndTime="2026-01-01T00:00:00Z"),
        "too large": make_session(4, fileName="x" * 1000, note="y" * 70_000),
        "no number": make_session(5, linesAdded="three"),
        "nul": make_session(6, projectName="a\0b"),
    }
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*bad.values(), *(make_session(number) for number in range(10, 110)))
        pull(client, device_id)
        assert len(list_stored(device_id)) == 100
        held = {row.session_id: row.reason for row in db.session.scalars(select(QuarantinedSession))}
        assert set(held) == {session["id"] for session in bad.values()}
        assert "1601" in held[bad["1601"]["id"]]
        assert "64 KiB" in held[bad["too large"]["id"]]
        assert "NUL" in held[bad["nul"]["id"]]
        collector.put(make_session(1))
        pull(client, device_id)
        assert len(list_stored(device_id)) == 101
        assert db.session.scalar(select(func.count(QuarantinedSession.id))) == 5


def test_tombstone_hides_a_session(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(make_session(1), make_session(2))
        pull(client, device_id)
        collector.put(make_session(1, deleted=True))
        pull(client, device_id)
        shown = select(StoredSession.id).where(StoredSession.is_deleted.is_(False))
        assert db.session.scalars(shown).all() == [make_session(2)["id"]]


def test_wrong_device_id_in_a_session_is_ignored(pair: Pair, client: CollectorClient) -> None:
    with PlainCollector() as collector:
        device_id = pair(collector)
        collector.put(START_MS, make_plain_session(1) | {"deviceId": "somebody-else"})
        pull(client, device_id)
        assert len(list_stored(device_id)) == 1


def test_unreachable_collector_backs_off_and_its_endpoint_is_forgotten(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        pull(client, device_id)
        assert db.session.get_one(Device, device_id).endpoint_url == collector.url
    waits = []
    for _ in range(3):
        pull(client, device_id)
        state = read_state(device_id)
        waits.append((state.due_at - state.last_tried_at).total_seconds())
    assert (state.problem, state.failures) == ("unreachable", 3)
    assert waits[2] > waits[0]
    assert state.last_pulled_at < state.problem_since_at
    assert db.session.get_one(Device, device_id).endpoint_url is None
    with collector:
        pull(client, device_id)
        assert (read_state(device_id).problem, read_state(device_id).failures) == (None, 0)


def test_many_devices_share_transactions(pair: Pair, client: CollectorClient) -> None:
    collectors = [ExactCollector() for _ in range(8)]
    try:
        device_ids = []
        for number, collector in enumerate(collectors):
            collector.start()
            device_ids.append(pair(collector))
            collector.put(*(make_session(number * 100 + step) for step in range(number)))
        done = pull(client, *device_ids)
        assert sorted(progress.rows for progress in done) == list(range(8))
        for collector in collectors:
            assert list_stored(collector.device_id) == by_id(collector.sessions)
        assert db.session.scalar(select(func.count(Pull.id)).where(Pull.status == "succeeded")) == 8
    finally:
        for collector in collectors:
            collector.stop()


def test_large_page_is_stored_in_parts_and_a_kill_between_them_costs_nothing(
    pair: Pair, client: CollectorClient, monkeypatch
) -> None:
    with PlainCollector(most_per_page=5000) as collector:
        device_id = pair(collector)
        collector.put(START_MS, *(make_plain_session(number) for number in range(5000)))
        monkeypatch.setattr(fetching, "PAGE_ROWS", 5000)
        stored: list[int] = []
        store = pulling.store

        def count_and_store(arrived, keep_leases) -> None:
            rows = sum(len(one.page.parsed.rows) for one in arrived if one.page is not None)
            if rows and len(stored) == 1:
                stored.append(0)
                raise KeyboardInterrupt
            stored.append(rows)
            store(arrived, keep_leases)

        monkeypatch.setattr(pulling, "store", count_and_store)
        with pytest.raises(KeyboardInterrupt):
            pull(client, device_id)
        assert db.session.scalar(select(func.count(StoredSession.id))) == stored[0] == 1000
        assert read_state(device_id).last_sync_time is None
        with transaction() as session:
            session.execute(update(PullState).values(lease_expires_at=None))
        pull(client, device_id)
        assert max(stored) <= 1000
        assert list_stored(device_id) == by_id(collector.sessions)


def test_heavy_rows_count_as_several() -> None:
    row = {"record": b"x" * 40_960}
    parsed = Parsed(rows=[row] * 250)
    parts = list(split(fetching.FetchedPage(parsed, Position("c"), True, True, "restored")))
    assert [len(part.parsed.rows) for part, _ in parts] == [50, 50, 50, 50, 50]
    assert [part.is_part for part, _ in parts] == [True, True, True, True, False]
    assert [part.restart for part, _ in parts] == ["restored", None, None, None, None]


def test_check_of_the_days_that_fails_does_not_fail_the_pull(app: Flask, owner: Account) -> None:
    machine = FakeMachine(factory.pair(owner.id, port=8123).device_id)
    page = {"sessions": [], "hasMore": False, "lastSyncTime": "x", "nextCursor": "c", "epoch": "e"}
    machine.pages = [{**page, "sessions": [make_session(1)]}]
    (progress,) = pull(FakeCollectorClient({"http://127.0.0.1:8123": machine}), machine.device_id)
    assert (progress.problem, len(machine.covered)) == (None, 1)
    state = db.session.get_one(CoverageState, machine.device_id)
    assert state.problem == "unsupported"


def test_days_are_checked_after_the_first_and_after_the_last_page(
    pair: Pair, client: CollectorClient, monkeypatch
) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 10)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(35)))
        pull(client, device_id)
        paths = [one.path.rpartition("/")[2] for one in collector.received if one.method == "POST"]
        assert paths == ["export", "coverage", "export", "export", "export", "coverage"]
        days = db.session.scalars(select(CoveredDay).where(CoveredDay.sessions > 0)).all()
        assert {day.status for day in days} == {"complete"}
        assert sum(day.held for day in days) == 35
