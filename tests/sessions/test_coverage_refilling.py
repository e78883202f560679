"""Holes are filled: by the job that the clock or a person asks for, ever later while it does not help."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import select

from tests.sessions.conftest import Pair, list_stored, pull
from tests.sessions.covered import (
    NOW,
    Machine,
    SetClock,
    at,
    back,
    check_everything,
    clock_setter,
    ledger,
    read_state,
    statuses,
)
from webapp.adapters.collector_client import CollectorClient
from webapp.database import transaction
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs.models import Job
from webapp.features.jobs.running import running
from webapp.features.sessions import refilling, rounds
from webapp.features.sessions.models import PullState, StoredSession


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The hub's clock stands at noon; `noon(moment)` moves it."""
    return clock_setter(monkeypatch)


def lose(device_id: str, *session_ids: str) -> None:
    """Sessions vanish from the hub, as no software should let them."""
    with transaction() as session:
        for session_id in session_ids:
            session.delete(session.get_one(StoredSession, (device_id, session_id)))


def jobs() -> Sequence[Job]:
    """The refills so far, oldest first."""
    db.session.rollback()
    return db.session.scalars(select(Job).where(Job.type == "sessions.refill").order_by(Job.created_at)).all()


def facts(device_id: str) -> tuple[object, ...]:
    """What the device's page says of its pulls."""
    db.session.rollback()
    state = db.session.get_one(PullState, device_id, populate_existing=True)
    return state.problem, state.failures, state.due_at, state.last_pulled_at, state.lease_expires_at


def run(client: CollectorClient, job: Job) -> None:
    """What the worker does with the job."""
    with running(job.id, job.attempt) as attempt:
        refilling.refill(attempt, client)


def test_the_clock_fills_holes_by_itself(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        first, second, *_ = machine.work(4, 3)
        lost, *_ = machine.work(1, 2)
        machine.work(0, 1)
        pull(client, device_id)
        lose(device_id, first["id"], second["id"], lost["id"])
        check_everything(client, machine, device_id)
        assert (statuses(device_id)[back(4)], statuses(device_id)[back(1)]) == ("hole", "hole")
        position = db.session.get_one(PullState, device_id).cursor
        refilling.ring_refills()
        refilling.ring_refills()
        (job,) = jobs()
        assert (job.title, job.device_id) == ("Fill 2 days of studio", device_id)
        run(client, job)
        days = ledger(device_id)
        assert (days[back(4)].status, days[back(1)].status) == ("complete", "complete")
        assert (days[back(4)].refills, days[back(4)].refill_due_at, days[back(4)].reason) == (0, None, None)
        assert [one["id"] for one in list_stored(device_id)] == sorted(one["id"] for one in machine.sessions)
        assert db.session.get_one(PullState, device_id).cursor == position
        windows = {(one["from"], one["to"]) for one in machine.exports() if "from" in one}
        assert windows == {(f"{back(n)}T00:00:00.000Z", f"{back(n - 1)}T00:00:00.000Z") for n in (4, 1)}
        (done,) = jobs()
        assert (done.status, done.result and done.result["holes"]) == ("succeeded", 0)
        refilling.ring_refills()
        assert len(jobs()) == 1


def test_what_the_collector_forgot_is_kept_and_no_hole_any_more(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        gone, *_ = machine.work(1, 3)
        pull(client, device_id)
        del machine.rows[gone["id"]]
        check_everything(client, machine, device_id)
        assert ledger(device_id)[back(1)].reason == "3 sessions are here, and the machine has 2 of that day."
        refilling.ring_refills()
        run(client, jobs()[0])
        row = ledger(device_id)[back(1)]
        assert (row.status, row.sessions, row.held, row.kept) == ("complete", 2, 2, 1)
        assert len(list_stored(device_id)) == 3


def test_a_hole_that_stays_is_tried_ever_later(pair: Pair, client: CollectorClient, noon: SetClock) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 2)
        machine.work(0, 1)
        pull(client, device_id)
        real = machine.cover

        def overstate(asked: dict[str, object]) -> dict[str, object]:
            told = real(asked)
            for day in told["days"]:
                day["sessions"] += day["day"] == back(1)
            return told

        machine.cover = overstate  # type: ignore[assignment, method-assign]
        check_everything(client, machine, device_id)
        now, pauses = NOW, []
        for _ in range(4):
            refilling.ring_refills()
            run(client, jobs()[-1])
            row = ledger(device_id)[back(1)]
            assert row.refill_due_at is not None
            assert (row.status, read_state(device_id).refill_due_at) == ("hole", row.refill_due_at)
            refilling.ring_refills()
            pauses.append((row.refill_due_at - now).total_seconds() / 60)
            now = row.refill_due_at
            noon(now)
        assert len(jobs()) == 4
        assert pauses == [5, 30, 360, 1440]
        assert ledger(device_id)[back(1)].hole_since_at == NOW


def test_a_machine_that_is_away_is_not_asked(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        first, *_ = machine.work(1, 2)
        pull(client, device_id)
        lose(device_id, first["id"])
        check_everything(client, machine, device_id)
    assert pull(client, device_id)[0].problem is not None
    refilling.ring_refills()
    assert not jobs()


def test_a_refill_that_does_not_reach_the_machine_says_so(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        first, *_ = machine.work(1, 2)
        pull(client, device_id)
        lose(device_id, first["id"])
        check_everything(client, machine, device_id)
        refilling.ring_refills()
        before = facts(device_id)
    run(client, jobs()[0])
    (job,) = jobs()
    assert job.status == "failed"
    assert job.error and "answers at" in job.error
    row = ledger(device_id)[back(1)]
    assert (row.status, row.refills, row.refill_due_at) == ("hole", 1, NOW + timedelta(minutes=5))
    assert facts(device_id) == before, "when it was pulled last, and when it is due, is for the routine pull to say"


def test_a_person_asks_for_a_refill(pair: Pair, client: CollectorClient, owner: Account, stranger: Account) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        owner_id, stranger_id = owner.id, stranger.id
        first, *_ = machine.work(1, 2)
        pull(client, device_id)
        with pytest.raises(Conflict, match="no hole"):
            refilling.request_refill(owner_id, device_id)
        lose(device_id, first["id"])
        check_everything(client, machine, device_id)
        with pytest.raises(NotFound):
            refilling.request_refill(stranger_id, device_id)
        with pytest.raises(NotFound):
            refilling.request_check(stranger_id, device_id)
        assert refilling.request_refill(owner_id, device_id).type == "sessions.refill"


def test_holes_of_a_broken_pull_are_filled_by_a_pull(pair: Pair, client: CollectorClient, owner: Account) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        owner_id = owner.id
        machine.most_per_page, machine.break_after = 1, 1
        machine.work(1, 3)
        pull(client, device_id)
        assert statuses(device_id)[back(1)] == "hole"
        refilling.ring_refills()
        assert not jobs()
        assert refilling.request_refill(owner_id, device_id).type == "sessions.pull_device"


def test_check_now_compares_every_day(pair: Pair, client: CollectorClient, owner: Account) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1)
        pull(client, device_id)
        job = refilling.request_check(owner.id, device_id)
        assert job.type == "sessions.pull_device"
        with running(job.id, job.attempt) as attempt:
            rounds.pull_asked(attempt, client)
        asked = [one["first"] for one in machine.questions()]
        assert asked == ["1970-01-01", "1970-01-01"]
        assert read_state(device_id).due_at is None


def test_a_refill_across_a_change_of_clocks_asks_for_the_whole_day(
    pair: Pair, client: CollectorClient, owner: Account, noon: SetClock
) -> None:
    with transaction() as session:
        session.get_one(Account, owner.id).timezone = "Europe/Berlin"
    noon(NOW + timedelta(days=20))  # 30 March; clocks went forward on the 29th
    with Machine() as machine:
        device_id = pair(machine)
        machine.since_ms = at(5)
        first, *_ = machine.work(-19, 2)
        pull(client, device_id)
        lose(device_id, first["id"])
        check_everything(client, machine, device_id, "Europe/Berlin")
        refilling.ring_refills()
        run(client, jobs()[0])
        window = next((one["from"], one["to"]) for one in machine.exports() if "from" in one)
        assert window == ("2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z")
        assert ledger(device_id)["2026-03-29"].status == "complete"
