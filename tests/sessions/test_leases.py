"""Who may pull a device: leases that are short, kept up, taken from the dead, and ended with the link."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select

from tests.collectors import ExactCollector, make_session
from tests.devices import factory
from tests.fakes import FakeCollectorClient, FakeMachine
from tests.sessions.conftest import Pair, list_stored, pull, read_state
from webapp.adapters.collector_client import CollectorClient
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.jobs import janitor
from webapp.features.jobs import service as jobs
from webapp.features.sessions import fetching, leases, pulling, rounds
from webapp.features.sessions.models import Pull
from webapp.lib import clock


def pull_during(
    app: Flask, client: CollectorClient, collector: ExactCollector, act: Callable[[], None], monkeypatch
) -> None:
    """A pull in pages of ten; `act` happens while the machine answers the third question."""
    monkeypatch.setattr(fetching, "PAGE_ROWS", 10)
    monkeypatch.setattr(pulling, "ROWS_PER_COMMIT", 1)
    export = collector.export
    reached = threading.Event()
    done = threading.Event()

    def wait_in_the_third(asked):
        if len(collector.exports()) == 3:
            reached.set()
            done.wait(10)
        return export(asked)

    def pull_there() -> None:
        with app.app_context():
            pulling.pull_targets(rounds.ready(leases.claim([collector.device_id])), client)
            db.session.remove()

    collector.export = wait_in_the_third  # type: ignore[method-assign]
    thread = threading.Thread(target=pull_there)
    thread.start()
    assert reached.wait(10)
    time.sleep(0.5)  # the pages before it are stored
    act()
    done.set()
    thread.join(20)
    assert not thread.is_alive()


def list_pulls(device_id: str) -> list[tuple[str, str | None]]:
    db.session.rollback()
    wanted = select(Pull.status, Pull.problem).where(Pull.device_id == device_id).order_by(Pull.id)
    return [tuple(row) for row in db.session.execute(wanted)]


def test_lease_names_its_worker_and_lasts_twelve_seconds(app: Flask, owner: Account) -> None:
    device_id = factory.pair(owner.id).device_id
    leases.claim([device_id])
    state = read_state(device_id)
    assert state.leased_by == jobs.current_worker()
    assert timedelta(seconds=10) < state.lease_expires_at - clock.utc_now() <= timedelta(seconds=12)


def test_dead_worker_gives_its_leases_back_at_once(app: Flask, owner: Account) -> None:
    mine, other = factory.pair(owner.id).device_id, factory.pair(owner.id).device_id
    (held,) = leases.claim([mine])
    assert leases.release_of("somebody else") == 0
    assert leases.claim([mine]) == []
    assert leases.release_of(jobs.current_worker()) == 1
    (next_held,) = leases.claim([mine])
    assert next_held.attempt > held.attempt + 1
    assert leases.release_of(jobs.current_worker()) == 1
    assert read_state(mine).lease_expires_at is None
    leases.claim([other])
    janitor.bury_worker(jobs.current_worker())  # what the workforce calls when it finds a worker dead
    assert read_state(other).lease_expires_at is None


def test_worker_that_was_thought_dead_writes_nothing(
    app: Flask, pair: Pair, client: CollectorClient, monkeypatch
) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(50)))
        pull_during(app, client, collector, lambda: leases.release_of(jobs.current_worker()), monkeypatch)
        assert len(list_stored(device_id)) == 20
        assert list_pulls(device_id) == [("failed", "lost")]
        pull(client, device_id)
        assert len(list_stored(device_id)) == 50


def test_unpairing_ends_the_running_pull(
    app: Flask, pair: Pair, client: CollectorClient, owner: Account, monkeypatch
) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(50)))
        account_id = owner.id
        pull_during(app, client, collector, lambda: devices.unpair_device(account_id, device_id), monkeypatch)
        assert len(list_stored(device_id)) == 20
        assert list_pulls(device_id) == [("failed", "cancelled")]


def test_deleting_ends_the_running_pull(
    app: Flask, pair: Pair, client: CollectorClient, owner: Account, monkeypatch
) -> None:
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(50)))
        account_id = owner.id
        pull_during(app, client, collector, lambda: devices.delete_device(account_id, device_id), monkeypatch)
        assert list_stored(device_id) == []
        assert list_pulls(device_id) == []


def test_pull_over_an_old_link_does_not_speak_for_the_new_one(
    app: Flask, pair: Pair, client: CollectorClient, monkeypatch
) -> None:
    """A machine that is paired again while it is pulled refuses the old key; that is no problem of the new link."""
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(50)))

        def pair_again() -> None:
            assert pair(collector) == device_id

        pull_during(app, client, collector, pair_again, monkeypatch)
        assert read_state(device_id).problem is None
        pull(client, device_id)
        assert len(list_stored(device_id)) == 50


def test_lease_is_kept_while_a_machine_is_slow(app: Flask, owner: Account, monkeypatch) -> None:
    monkeypatch.setattr(leases, "LEASE", timedelta(seconds=1.5))
    monkeypatch.setattr(pulling, "RENEW_SECONDS", 0.4)
    machine = FakeMachine(factory.pair(owner.id, port=8123).device_id, answer_seconds=1.2)
    targets = rounds.ready(leases.claim([machine.device_id]))
    pulling.pull_targets(targets, FakeCollectorClient({"http://127.0.0.1:8123": machine}))
    assert (targets[0].is_lost, targets[0].progress.problem) == (False, None)
    assert targets[0].progress.milliseconds > 1500


@pytest.mark.parametrize("count", [1, 3])
def test_leases_are_renewed_together(app: Flask, owner: Account, count: int) -> None:
    ids = [factory.pair(owner.id).device_id for _ in range(count)]
    held = leases.claim(ids)
    before = [read_state(device_id).lease_expires_at for device_id in ids]
    leases.release(held[1:], "given back")
    leases.claim(ids[1:])  # by somebody else
    time.sleep(0.05)
    leases.renew(held)
    after = [read_state(device_id).lease_expires_at for device_id in ids]
    assert after[0] > before[0]
