"""Collectors that begin again: reinstalled, restored, interrupted. Nothing is deleted, and the difference is told."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from collector import wire
from tests.collectors import START_MS, ExactCollector, grow, make_session
from tests.sessions.conftest import Pair, by_id, list_stored, pull, read_state
from webapp.adapters.collector_client import CollectorClient
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.sessions import fetching, leases, pulling, restarts, rounds
from webapp.features.sessions.models import PullState, Restart, StoredSession
from webapp.lib import clock

DAY_MS = 86_400_000


def list_restarts(account: Account, device_id: str) -> list[Restart]:
    """Oldest first."""
    db.session.rollback()
    return list(reversed(restarts.list_restarts(account.id, device_id)))


def count_by_generation(device_id: str) -> dict[int, int]:
    db.session.rollback()
    counted = select(StoredSession.generation, func.count()).where(StoredSession.device_id == device_id)
    return {row[0]: row[1] for row in db.session.execute(counted.group_by(StoredSession.generation))}


def test_reinstalled_collector_opens_a_generation_and_the_difference_is_told(
    pair: Pair, client: CollectorClient, owner: Account, stranger: Account
) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(5)))
        pull(client, device_id)
        assert list_restarts(owner, device_id) == []
        collector.reinstall()
        collector.put(make_session(100), make_session(2, minutes=3))
        (progress,) = pull(client, device_id)
        assert progress.restart == "reinstalled"
        (restart,) = list_restarts(owner, device_id)
        told = (restart.kind, restart.generation, restart.held, restart.received, restart.kept)
        assert told == ("reinstalled", 1, 5, 2, 4)
        assert restart.ended_at is not None
        assert count_by_generation(device_id) == {0: 4, 1: 2}
        assert len(list_stored(device_id)) == 6
        assert restarts.list_restarts(stranger.id, device_id) == []
        collector.put(make_session(101))
        pull(client, device_id)
        assert count_by_generation(device_id) == {0: 4, 1: 3}
        assert len(list_restarts(owner, device_id)) == 1


def test_restored_backup_renews_also_what_is_the_same(pair: Pair, client: CollectorClient, owner: Account) -> None:
    now = [START_MS]
    with ExactCollector(now_ms=lambda: now[0]) as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(5)))
        backup = collector.back_up()
        collector.put(grow(make_session(0), 30), make_session(50))
        pull(client, device_id)
        collector.restore(backup)
        (progress,) = pull(client, device_id)
        assert (progress.restart, progress.changed_rows) == ("restored", 1)
        (restart,) = list_restarts(owner, device_id)
        assert (restart.kind, restart.held, restart.received, restart.kept) == ("restored", 6, 5, 1)
        assert count_by_generation(device_id) == {0: 1, 1: 5}
        assert len(list_stored(device_id)) == 6


def test_backup_that_grew_past_the_cursor_loses_nothing(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(5)))
        backup = collector.back_up()
        collector.put(*(make_session(number) for number in range(5, 10)))
        pull(client, device_id)
        collector.restore(backup)
        collector.put(*(make_session(number) for number in range(20, 40)))
        pull(client, device_id)
        stored = {session["id"]: session for session in list_stored(device_id)}
        assert {session["id"] for session in collector.sessions} <= set(stored)
        assert all(stored[session["id"]] == session for session in collector.sessions)
        assert len(stored) == 30


def test_interrupted_restart_is_one_restart(pair: Pair, client: CollectorClient, owner: Account, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 3)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(10)))
        pull(client, device_id)
        collector.reinstall()
        collector.put(*(make_session(number) for number in range(5, 15)))
        monkeypatch.setattr(fetching, "MAX_PAGES", 1)
        for ends in (False, False, False, True):
            pull(client, device_id)
            (restart,) = list_restarts(owner, device_id)
            assert (restart.ended_at is not None, read_state(device_id).is_behind) == (ends, not ends)
        assert (restart.held, restart.received, restart.kept) == (10, 10, 5)


def test_restart_in_the_middle_of_a_restart(pair: Pair, client: CollectorClient, owner: Account, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 3)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(4)))
        pull(client, device_id)
        for first in (10, 20):
            collector.reinstall()
            collector.put(*(make_session(number) for number in range(first, first + 5)))
            monkeypatch.setattr(fetching, "MAX_PAGES", 1)
            pull(client, device_id)
        monkeypatch.setattr(fetching, "MAX_PAGES", 100)
        pull(client, device_id)
        told = [(one.generation, one.held, one.received, one.kept) for one in list_restarts(owner, device_id)]
        assert told == [(1, 4, 3, 4), (2, 7, 5, 7)]
        assert all(one.ended_at for one in list_restarts(owner, device_id))
        assert read_state(device_id).generation == 2


def test_restart_whose_first_page_is_cut_in_parts_goes_on_where_it_was_killed(
    pair: Pair, client: CollectorClient, owner: Account, monkeypatch
) -> None:
    """The first part is stored, then the worker dies: the next pull brings the rest of the same restart."""
    monkeypatch.setattr("webapp.features.sessions.page_parts.PART_ROWS", 4)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(3)))
        pull(client, device_id)
        collector.reinstall()
        collector.put(*(make_session(number) for number in range(100, 110)))
        store, stored = pulling.store, []

        def store_one(arrived, keep_leases) -> None:
            if stored:
                raise KeyboardInterrupt
            stored.append(arrived)
            store(arrived, keep_leases)

        monkeypatch.setattr(pulling, "ROWS_PER_COMMIT", 1)
        monkeypatch.setattr(pulling, "store", store_one)
        with pytest.raises(KeyboardInterrupt):
            pull(client, device_id)
        state = read_state(device_id)
        assert (state.cursor, state.epoch, state.is_resetting, state.is_behind) == (None, collector.epoch, True, True)
        assert len(list_stored(device_id)) == 7
        monkeypatch.setattr(pulling, "store", store)
        expire_lease(device_id)
        pull(client, device_id)
        (restart,) = list_restarts(owner, device_id)
        assert (restart.generation, restart.held, restart.received, restart.kept) == (1, 3, 10, 3)


def test_clock_that_was_ten_years_ahead_loses_nothing(pair: Pair, client: CollectorClient) -> None:
    now = [wire.now_ms() + 3652 * DAY_MS]
    with ExactCollector(now_ms=lambda: now[0]) as collector:
        device_id = pair(collector)
        collector.put(make_session(1), make_session(2))
        pull(client, device_id)
        now[0] -= 3652 * DAY_MS
        collector.put(grow(make_session(1), 7), make_session(3))
        pull(client, device_id)
        collector.put(grow(make_session(3), 7))
        pull(client, device_id)
        assert list_stored(device_id) == by_id(collector.sessions)


def test_only_tombstones_delete(pair: Pair, client: CollectorClient) -> None:
    """Neither an empty database, nor an old one, nor a pull of a window that brings nothing."""
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(5)))
        backup = collector.back_up()
        pull(client, device_id)
        collector.reinstall()
        pull(client, device_id)
        collector.restore((0, {}))
        pull(client, device_id)
        pull_window(client, device_id, START_MS - DAY_MS, START_MS + DAY_MS)
        assert count_live(device_id) == 5
        collector.restore(backup)
        collector.put(make_session(1, deleted=True))
        pull(client, device_id)
        assert count_live(device_id) == 4


def test_pull_of_a_window_replaces_and_tells_what_is_only_here(pair: Pair, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        days = [START_MS + day * DAY_MS for day in range(3)]
        collector.put(*(make_session(number, start_ms=days[number % 3]) for number in range(9)))
        pull(client, device_id)
        before = read_state(device_id).cursor
        gone, changed = make_session(1)["id"], make_session(4)["id"]
        del collector.rows[gone]  # as a row that came in an earlier life, or was lost there
        with transaction() as session:
            session.get_one(StoredSession, (device_id, changed)).record = b"{}"
            session.delete(session.get_one(StoredSession, (device_id, make_session(7)["id"])))
        progress = pull_window(client, device_id, days[1], days[2])
        assert (progress.problem, progress.rows, progress.changed_rows) == (None, 2, 2)
        assert {row["id"] for row in list_stored(device_id)} == {make_session(number)["id"] for number in range(9)}
        assert count_by_generation(device_id) == {-1: 1, 0: 8}
        assert read_state(device_id).cursor == before


def test_window_that_breaks_off_accuses_nothing(pair: Pair, client: CollectorClient, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 2)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(5)))
        pull(client, device_id)
        export = collector.export

        def break_off(asked):
            if asked.get("cursor"):
                collector.drop_connections()
                return None
            return export(asked)

        collector.export = break_off  # type: ignore[method-assign]
        progress = pull_window(client, device_id, START_MS, START_MS + DAY_MS)
        assert progress.problem is not None
        assert count_by_generation(device_id) == {0: 5}


def test_position_tells_how_far_it_is(pair: Pair, client: CollectorClient, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 10)
    monkeypatch.setattr(fetching, "MAX_PAGES", 3)
    now = [START_MS]
    with ExactCollector(now_ms=lambda: now[0]) as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(45)))
        pull(client, device_id)
        state = read_state(device_id)
        assert (state.reached_ms, state.is_behind) == (START_MS + 29, True)
        pull(client, device_id)
        state = read_state(device_id)
        assert (state.reached_ms, state.is_behind) == (START_MS + 44, False)
        pull(client, device_id)
        assert read_state(device_id).reached_ms == START_MS + 44


def test_pull_that_breaks_off_stays_behind_until_it_is_through(
    pair: Pair, client: CollectorClient, monkeypatch
) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", 10)
    collector = ExactCollector()
    with collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(25)))
        export = collector.export

        def refuse_the_second(asked):
            if asked.get("cursor"):
                raise OSError
            return export(asked)

        collector.export = refuse_the_second  # type: ignore[method-assign]
        pull(client, device_id)
        assert (read_state(device_id).is_behind, read_state(device_id).problem) == (True, "unreachable")
        pull(client, device_id)
        assert read_state(device_id).is_behind
        collector.export = export  # type: ignore[method-assign]
        pull(client, device_id)
        assert not read_state(device_id).is_behind
        assert list_stored(device_id) == by_id(collector.sessions)


def pull_window(client: CollectorClient, device_id: str, first: int, end: int):
    """A pull of what starts in `[first, end)`."""
    (progress,) = pulling.pull_targets(rounds.ready(leases.claim([device_id]), window=(first, end)), client)
    return progress


def count_live(device_id: str) -> int:
    db.session.rollback()
    live = (StoredSession.device_id == device_id, StoredSession.is_deleted.is_(False))
    return db.session.scalars(select(func.count()).select_from(StoredSession).where(*live)).one()


def expire_lease(device_id: str) -> None:
    """As if the time of a dead puller's lease had passed."""
    past = clock.utc_now() - timedelta(seconds=1)
    with transaction() as session:
        session.execute(update(PullState).where(PullState.device_id == device_id).values(lease_expires_at=past))
