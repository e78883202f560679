"""When devices are pulled, by whom, and what people's requests become."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import select, update

from collector import wire
from tests.collectors import START_MS, ExactCollector, make_session
from tests.devices import factory
from tests.fakes import FakeCollectorClient, FakeMachine
from tests.sessions.conftest import Pair, list_stored, pull, read_state
from webapp import queue
from webapp.adapters.collector_client import CollectorClient, CollectorError
from webapp.database import transaction
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import set_timezone
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job
from webapp.features.sessions import leases, pruning, pulling, rounds, tasks
from webapp.features.sessions import service as sessions
from webapp.features.sessions.models import Pull, PullState, StoredSession
from webapp.features.sessions.totals import read_totals
from webapp.lib import clock

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def page(*told: dict[str, Any], cursor: str = "c1", **more: Any) -> dict[str, Any]:
    changed = [{**one, "changedAt": wire.format_ms(START_MS + number)} for number, one in enumerate(told)]
    return {"sessions": changed, "hasMore": False, "lastSyncTime": "x", "nextCursor": cursor, "epoch": "e"} | more


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """`(task, RQ id)` of every ring."""
    heard: list[tuple[str, str]] = []

    def ring(task: str, *_: Any, job_id: str, **__: Any) -> bool:
        heard.append((task.rpartition(".")[2], job_id))
        return True

    monkeypatch.setattr(queue, "enqueue", ring)
    return heard


@pytest.fixture
def machine(app: Flask, owner: Account) -> FakeMachine:
    """A paired machine in memory, at the address that it was paired from."""
    return FakeMachine(factory.pair(owner.id, port=8123).device_id)


@pytest.fixture
def fake(machine: FakeMachine) -> FakeCollectorClient:
    """The client that reaches it."""
    return FakeCollectorClient({"http://127.0.0.1:8123": machine})


@pytest.fixture
def worker(fake: FakeCollectorClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tasks reach the machine in memory."""
    monkeypatch.setattr(tasks, "make_client", lambda _: fake)
    return


def run(job: Job) -> Job:
    """Does the job as a worker would."""
    task = getattr(tasks, job.task.rpartition(".")[2])
    task(str(job.id), job.attempt)
    db.session.rollback()
    return jobs.get_job(job.account_id, job.id)


def test_new_device_is_due_until_it_was_pulled(machine: FakeMachine, fake: FakeCollectorClient) -> None:
    assert list(leases.find_due(9)) == [machine.device_id]
    assert rounds.pull_due(fake) == 1
    assert not rounds.has_due()
    assert rounds.pull_due(fake) == 0


def test_due_again_after_the_interval(machine: FakeMachine, fake: FakeCollectorClient) -> None:
    with time_machine.travel(NOON, tick=False) as travel:
        rounds.pull_due(fake)
        travel.shift(timedelta(seconds=45))
        assert not rounds.has_due()
        travel.shift(timedelta(seconds=15))
        assert rounds.has_due()


def test_unpaired_device_is_not_pulled(machine: FakeMachine, fake: FakeCollectorClient, owner: Account) -> None:
    devices.unpair_device(owner.id, machine.device_id)
    assert not rounds.has_due()


def test_lease_keeps_others_away_until_it_ends(machine: FakeMachine) -> None:
    with time_machine.travel(NOON, tick=False) as travel:
        (held,) = leases.claim([machine.device_id])
        assert leases.claim([machine.device_id]) == []
        assert not rounds.has_due()
        travel.shift(leases.LEASE - timedelta(seconds=10))
        leases.renew([held])
        travel.shift(leases.LEASE - timedelta(seconds=10))
        assert leases.claim([machine.device_id]) == []
        travel.shift(timedelta(seconds=11))
        (next_held,) = leases.claim([machine.device_id])
        assert next_held.attempt == held.attempt + 1


@pytest.mark.parametrize("pages", [[], [page(make_session(1), cursor="late")]])
def test_puller_that_lost_its_lease_writes_nothing(
    machine: FakeMachine, fake: FakeCollectorClient, pages: list[dict[str, Any]]
) -> None:
    machine.pages = pages
    slow = rounds.ready(leases.claim([machine.device_id]))
    with transaction() as session:
        session.execute(update(PullState).values(lease_expires_at=clock.utc_now() - timedelta(seconds=1)))
    (other,) = leases.claim([machine.device_id])
    pulling.pull_targets(slow, fake)
    assert slow[0].is_lost
    assert list_stored(machine.device_id) == []
    state = read_state(machine.device_id)
    assert (state.attempt, state.cursor, state.last_pulled_at) == (other.attempt, None, None)
    assert state.lease_expires_at is not None
    assert db.session.scalars(select(Pull.id)).all() == []


def test_puller_that_lost_its_lease_does_not_end_the_pull_of_the_next(
    machine: FakeMachine, fake: FakeCollectorClient
) -> None:
    """Also when it brought nothing, so that only its end is left to write."""
    machine.pages = [page(), page()]
    rounds.pull_due(fake)
    first_pulled_at = read_state(machine.device_id).last_pulled_at
    slow = rounds.ready(leases.claim([machine.device_id]))
    with transaction() as session:
        session.execute(update(PullState).values(lease_expires_at=clock.utc_now() - timedelta(seconds=1)))
    leases.claim([machine.device_id])
    pulling.pull_targets(slow, fake)
    assert slow[0].is_lost
    state = read_state(machine.device_id)
    assert (state.last_pulled_at, state.lease_expires_at is None) == (first_pulled_at, False)
    assert len(db.session.scalars(select(Pull.id)).all()) == 1


def test_lost_worker_leaves_its_pull_closed(machine: FakeMachine, fake: FakeCollectorClient) -> None:
    (_held,) = leases.claim([machine.device_id])
    with transaction() as session:
        session.add(Pull(device_id=machine.device_id, started_at=clock.utc_now()))
        session.execute(update(PullState).values(lease_expires_at=clock.utc_now() - timedelta(seconds=1)))
    rounds.pull_due(fake)
    statuses = db.session.execute(select(Pull.status, Pull.problem).order_by(Pull.id)).all()
    assert [tuple(row) for row in statuses] == [("failed", "lost"), ("succeeded", None)]


def test_back_off_grows_to_a_quarter_of_an_hour(app: Flask) -> None:
    waits = [
        (leases.next_due(failures, is_more=False, now=NOON) - NOON).total_seconds() for failures in (1, 2, 5, 9, 400)
    ]
    for wait, longest in zip(waits, (15, 30, 240, 900, 900), strict=True):
        assert longest / 2 <= wait <= longest


def test_machine_that_is_heard_of_again_is_pulled_before_its_back_off_ends(
    machine: FakeMachine, fake: FakeCollectorClient
) -> None:
    machine.problem = CollectorError("unreachable", "Nothing answers.")
    with time_machine.travel(NOON, tick=False) as travel:
        for _ in range(8):
            pulling.pull_targets(rounds.ready(leases.claim([machine.device_id])), fake)
        travel.shift(timedelta(seconds=70))
        assert not rounds.has_due()
        with transaction() as session:
            session.execute(update(Device).values(last_seen_at=clock.utc_now()))
        assert rounds.has_due()


def test_slow_machine_delays_no_other(machine: FakeMachine, fake: FakeCollectorClient, owner: Account) -> None:
    """A device that comes due while another is still being pulled is taken in by the same round."""
    machine.answer_seconds = 0.8
    quick = FakeMachine(factory.pair(owner.id, port=8124).device_id)
    fake.machines["http://127.0.0.1:8124"] = quick
    leases.claim([quick.device_id])
    later = clock.utc_now() + timedelta(seconds=0.5)
    with transaction() as session:
        session.execute(
            update(PullState).where(PullState.device_id == quick.device_id).values(lease_expires_at=None, due_at=later)
        )
    assert rounds.pull_due(fake) == 2
    assert read_state(quick.device_id).last_pulled_at < read_state(machine.device_id).last_pulled_at


def test_answer_that_breaks_the_hub_is_that_machines_problem_only(
    machine: FakeMachine, fake: FakeCollectorClient, owner: Account, monkeypatch
) -> None:
    other = FakeMachine(factory.pair(owner.id, port=8124).device_id, pages=[page(make_session(2))])
    fake.machines["http://127.0.0.1:8124"] = other
    export = fake.export_page

    def break_one(url, *rest):
        if url.endswith("8123"):
            raise RuntimeError("unforeseen")
        return export(url, *rest)

    monkeypatch.setattr(fake, "export_page", break_one)
    rounds.pull_due(fake)
    assert read_state(machine.device_id).problem == "error"
    assert len(list_stored(other.device_id)) == 1


def test_identity_that_is_not_proven_is_marked_and_cleared(machine: FakeMachine, fake: FakeCollectorClient) -> None:
    machine.problem = CollectorError("identity", "It cannot prove its key.")
    pulling.pull_targets(rounds.ready(leases.claim([machine.device_id])), fake)
    db.session.rollback()
    assert db.session.get_one(Device, machine.device_id).is_identity_doubtful
    machine.problem = None
    pulling.pull_targets(rounds.ready(leases.claim([machine.device_id])), fake)
    db.session.rollback()
    assert not db.session.get_one(Device, machine.device_id).is_identity_doubtful


def test_pull_now_is_one_job_however_often_it_is_asked_for(
    machine: FakeMachine, owner: Account, worker: None, rung: list[tuple[str, str]]
) -> None:
    machine.pages = [page(make_session(1))]
    job = sessions.request_pull(owner.id, machine.device_id)
    assert sessions.request_pull(owner.id, machine.device_id).id == job.id
    assert rung == [("pull_device", f"{job.id}-1")]
    done = run(job)
    assert (done.status, done.result["changed_rows"]) == ("succeeded", 1)
    (pulled,) = sessions.list_pulls(owner.id, machine.device_id)
    assert (pulled.status, pulled.rows, pulled.job_id) == ("succeeded", 1, str(job.id))
    day = datetime.fromtimestamp(START_MS / 1000, UTC).date()
    assert read_totals(owner.id, day, day).total_ms == 600_000
    assert sessions.request_pull(owner.id, machine.device_id).id != job.id


def test_pull_that_fails_says_why(machine: FakeMachine, owner: Account, worker: None, rung: list) -> None:
    machine.problem = CollectorError("unreachable", "Nothing answers at http://127.0.0.1:8123.")
    done = run(sessions.request_pull(owner.id, machine.device_id))
    assert (done.status, done.error) == ("failed", "Nothing answers at http://127.0.0.1:8123.")


def test_cancelled_pull_gives_its_lease_back(
    machine: FakeMachine, owner: Account, worker: None, rung: list, monkeypatch
) -> None:
    machine.pages = [page(make_session(number), cursor=f"c{number}", hasMore=True) for number in range(50)]
    job = sessions.request_pull(owner.id, machine.device_id)
    store = pulling.store

    def store_and_cancel(arrived, keep_leases) -> None:
        store(arrived, keep_leases)
        if not jobs.get_job(owner.id, job.id).is_cancel_asked:
            jobs.cancel_job(owner.id, job.id)

    monkeypatch.setattr(pulling, "ROWS_PER_COMMIT", 1)
    monkeypatch.setattr(pulling, "store", store_and_cancel)
    monkeypatch.setattr("webapp.features.jobs.running.REPORT_EVERY_SECONDS", 0)
    assert run(job).status == "cancelled"
    assert read_state(machine.device_id).lease_expires_at is None
    assert {row.status for row in sessions.list_pulls(owner.id, machine.device_id)} <= {"failed"}


def test_pull_of_an_unpaired_or_foreign_machine_is_refused(
    machine: FakeMachine, owner: Account, stranger: Account
) -> None:
    with pytest.raises(NotFound):
        sessions.request_pull(stranger.id, machine.device_id)
    devices.unpair_device(owner.id, machine.device_id)
    with pytest.raises(Conflict):
        sessions.request_pull(owner.id, machine.device_id)


def test_pull_of_everything_since_a_time_keeps_the_cursor(
    pair: Pair, client: CollectorClient, owner: Account, rung: list, monkeypatch
) -> None:
    monkeypatch.setattr(tasks, "make_client", lambda _: client)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(make_session(1), make_session(2))
        pull(client, device_id)
        cursor = read_state(device_id).cursor
        with transaction() as session:  # as if a backup had been restored here
            for row in session.scalars(select(StoredSession)):
                session.delete(row)
        pull(client, device_id)
        assert list_stored(device_id) == []
        done = run(sessions.request_pull_all(owner.id, since=datetime(2020, 1, 1, tzinfo=UTC)))
        assert (done.status, len(list_stored(device_id))) == ("succeeded", 2)
        assert read_state(device_id).cursor == cursor


def test_clock_rings_once_for_due_pulls_and_for_a_moved_zone(
    machine: FakeMachine, fake: FakeCollectorClient, owner: Account, worker: None, rung: list[tuple[str, str]]
) -> None:
    machine.pages = [page(make_session(1))]
    tasks.ring_due_pulls()
    assert rung == [("pull_due", "pull-due")]
    tasks.pull_due()
    rung.clear()
    tasks.ring_due_pulls()
    assert rung == []
    set_timezone(owner.id, "Pacific/Auckland")
    tasks.ring_due_pulls()
    tasks.ring_due_pulls()
    assert [task for task, _ in rung] == ["rebuild_totals"]
    (job,) = jobs.list_unfinished(owner.id)
    assert run(job).status == "succeeded"
    rung.clear()
    tasks.ring_due_pulls()
    assert rung == []
    first = datetime.fromtimestamp(START_MS / 1000, UTC).date()
    hours = read_totals(owner.id, first, first).hours[first.weekday()]
    assert hours[22] == 600_000


def test_totals_that_a_lost_worker_left_are_counted(
    machine: FakeMachine, fake: FakeCollectorClient, worker: None, rung: list[tuple[str, str]], monkeypatch
) -> None:
    machine.pages = [page(make_session(1))]
    monkeypatch.setattr(pulling, "refresh_account", lambda *_: None)
    rounds.pull_due(fake)
    tasks.ring_due_pulls()
    assert rung == [("refresh_totals", "refresh-totals")]
    tasks.refresh_totals()
    assert rounds.list_forgotten_accounts() == []


def test_idle_pulls_are_forgotten_first(machine: FakeMachine) -> None:
    now = clock.utc_now()
    with transaction() as session:
        for days, rows in ((0.5, 0), (2, 0), (2, 5), (15, 5)):
            started = now - timedelta(days=days)
            session.add(Pull(device_id=machine.device_id, started_at=started, status="succeeded", rows=rows))
    assert pruning.prune_pulls() == 2
    assert sorted(db.session.scalars(select(Pull.rows))) == [0, 5]
