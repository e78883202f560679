"""Which road a pull takes: direct, the machine's own connection when that fails, and back; and who waits for whom."""

import json
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import select, update

from tests.collectors import ExactCollector, make_session
from tests.devices import factory
from tests.fakes import FakeCollectorClient, FakeMachine
from tests.sessions.conftest import Pair, by_id, list_stored, pull, read_state
from webapp.adapters.collector_client import CollectorClient, CollectorError
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.sessions import crew, fetching, leases, pulling, roads, rounds
from webapp.features.sessions.models import Pull, PullState
from webapp.features.sessions.roads import DirectRoad
from webapp.lib import clock

Answering = Callable[..., threading.Thread]


@pytest.fixture
def answering(app: Flask) -> Iterator[Answering]:
    """`answering(collector)`: the machine polls the hub and answers what it is asked, in a thread of its own."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def answer(collector: ExactCollector, seconds: float) -> None:
        while not over.wait(seconds):
            with app.app_context():
                for request in devices.list_waiting(collector.device_id):
                    collector.relayed.append(request)
                    body = json.dumps(collector.export(request.args)).encode()
                    db.session.rollback()
                    devices.record_answer(collector.device_id, uuid.UUID(request.id), body)
                db.session.remove()

    def begin(collector: ExactCollector, seconds: float = 0.1) -> threading.Thread:
        collector.relayed = []  # type: ignore[attr-defined]
        hear_of(collector.device_id)
        threads.append(threading.Thread(target=answer, args=(collector, seconds), daemon=True))
        threads[-1].start()
        return threads[-1]

    yield begin
    over.set()
    for thread in threads:
        thread.join(10)


def hidden() -> ExactCollector:
    """A collector at a port where nothing listens until it is started."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return ExactCollector(port=free.getsockname()[1])


def hear_of(*device_ids: str) -> None:
    """As if these machines had just polled."""
    with transaction() as session:
        session.execute(update(Device).where(Device.id.in_(device_ids)).values(last_seen_at=clock.utc_now()))


def change_state(device_id: str, **values: object) -> None:
    with transaction() as session:
        session.execute(update(PullState).where(PullState.device_id == device_id).values(**values))


def list_pulls(device_id: str) -> list[Pull]:
    db.session.rollback()
    return list(db.session.scalars(select(Pull).where(Pull.device_id == device_id).order_by(Pull.id)))


def test_machine_that_cannot_be_reached_is_pulled_by_the_relay(
    pair: Pair, client: CollectorClient, answering: Answering
) -> None:
    collector = hidden()
    device_id = pair(collector)
    collector.put(*(make_session(number) for number in range(300)))
    answering(collector)
    began = time.monotonic()
    (progress,) = pull(client, device_id)
    print(f"\nrelay: {progress.rows} of 300 sessions after {time.monotonic() - began:.2f} s")
    assert (progress.problem, progress.road) == (None, "relay")
    assert list_stored(device_id) == by_id(collector.sessions)
    (row,) = list_pulls(device_id)
    assert (row.road, row.status) == ("relay", "succeeded")
    assert "answers at" in (row.direct_detail or "")
    state = read_state(device_id)
    assert (state.road, state.direct_problem, state.direct_failures, state.problem) == ("relay", "unreachable", 1, None)
    assert 55 < (state.direct_due_at - clock.utc_now()).total_seconds() <= 60
    assert collector.relayed[0].args["limit"] == roads.RELAY_PAGE_ROWS


def test_machine_on_the_relay_stays_there_until_the_direct_road_is_due(
    pair: Pair, client: CollectorClient, answering: Answering
) -> None:
    collector = hidden()
    device_id = pair(collector)
    answering(collector)
    pull(client, device_id)
    since_at = read_state(device_id).direct_since_at
    with collector:  # it can be reached now, but nobody knows
        collector.put(make_session(1))
        pull(client, device_id)
        assert [row.road for row in list_pulls(device_id)] == ["relay", "relay"]
        assert "answers at" in (list_pulls(device_id)[1].direct_detail or "")
        assert collector.exports() == []
        change_state(device_id, direct_due_at=clock.utc_now())
        collector.put(make_session(2))
        pull(client, device_id)
        assert list_pulls(device_id)[2].road == "direct"
        state = read_state(device_id)
        assert (state.road, state.direct_due_at, state.direct_failures, state.direct_detail) == (
            "direct",
            None,
            0,
            None,
        )
    collector.put(make_session(3))
    hear_of(device_id)
    pull(client, device_id)
    assert list_pulls(device_id)[3].road == "relay"
    assert read_state(device_id).direct_since_at > since_at
    assert list_stored(device_id) == by_id(collector.sessions)


def test_retries_of_the_direct_road_grow_rare(pair: Pair, client: CollectorClient, answering: Answering) -> None:
    collector = hidden()
    device_id = pair(collector)
    answering(collector)
    waits = []
    for _ in range(6):
        pull(client, device_id)
        state = read_state(device_id)
        waits.append((state.direct_due_at - clock.utc_now()).total_seconds())
        change_state(device_id, direct_due_at=clock.utc_now())
    assert [round(wait / 60) for wait in waits] == [1, 2, 4, 8, 15, 15]
    assert read_state(device_id).failures == 0


def test_machine_that_was_found_is_tried_directly_at_once(
    pair: Pair, client: CollectorClient, answering: Answering
) -> None:
    collector = hidden()
    device_id = pair(collector)
    answering(collector)
    pull(client, device_id)
    with collector:
        devices.record_endpoint(device_id, collector.url, clock.utc_now())
        pull(client, device_id)
        assert list_pulls(device_id)[-1].road == "direct"


def test_pull_that_breaks_off_goes_on_by_the_relay(
    pair: Pair, client: CollectorClient, answering: Answering, monkeypatch
) -> None:
    """With the very next page: what came directly is not asked for again."""
    monkeypatch.setattr(fetching, "PAGE_ROWS", 10)
    with ExactCollector() as collector:
        device_id = pair(collector)
        collector.put(*(make_session(number) for number in range(45)))
        answering(collector)
        export = collector.export

        def die_in_the_second(asked):
            if len(collector.exports()) == 2:
                collector.export = export
                collector.stop()
            return export(asked)

        collector.export = die_in_the_second  # type: ignore[method-assign]
        (progress,) = pull(client, device_id)
        assert (progress.problem, progress.road, progress.rows) == (None, "relay", 45)
        assert collector.relayed[0].args["cursor"]
        assert list_stored(device_id) == by_id(collector.sessions)
        assert read_state(device_id).road == "relay"


def test_machine_whose_place_was_taken_is_pulled_by_the_relay_and_stays_doubtful(
    pair: Pair, client: CollectorClient, answering: Answering
) -> None:
    with ExactCollector() as squatter:
        collector = ExactCollector(device_id=squatter.device_id, port=squatter.port)
        device_id = pair(collector)
        collector.put(make_session(1))
        answering(collector)
        (progress,) = pull(client, device_id)
        assert (progress.problem, progress.road, progress.direct_problem) == (None, "relay", "identity")
        assert list_stored(device_id) == by_id(collector.sessions)
        assert db.session.get_one(Device, device_id).is_identity_doubtful
        assert squatter.exports() == []


def test_machine_that_was_not_heard_of_is_not_relayed(pair: Pair, client: CollectorClient) -> None:
    device_id = pair(hidden())
    (progress,) = pull(client, device_id)
    assert (progress.problem, progress.road) == ("unreachable", "direct")
    state = read_state(device_id)
    assert (state.road, state.direct_due_at, state.failures) == ("direct", None, 1)


def test_machine_that_answers_on_neither_road_fails(pair: Pair, client: CollectorClient, monkeypatch) -> None:
    monkeypatch.setattr(roads, "RELAY_SECONDS", 0.5)
    device_id = pair(hidden())
    hear_of(device_id)
    (progress,) = pull(client, device_id)
    assert (progress.problem, progress.road, progress.direct_problem) == ("timeout", "relay", "unreachable")
    assert read_state(device_id).failures == 1
    (row,) = list_pulls(device_id)
    assert "own connection" in (row.error or "")
    assert "answers at" in (row.direct_detail or "")


def test_routine_pull_is_one_export_and_no_more(app: Flask, owner: Account) -> None:
    machine = FakeMachine(factory.pair(owner.id, port=8123).device_id)
    fake = FakeCollectorClient({"http://127.0.0.1:8123": machine})
    pull(fake, machine.device_id)
    fake.calls.clear()
    pull(fake, machine.device_id)
    assert fake.calls == [("export_page", "http://127.0.0.1:8123")]


def test_program_in_the_place_of_a_collector_that_moved_does_not_restart_it(app: Flask, owner: Account) -> None:
    """Its 404 is no refused cursor: the collector goes on elsewhere from where it was."""
    machine = FakeMachine(factory.pair(owner.id, port=8123).device_id)
    fake = FakeCollectorClient({"http://127.0.0.1:8123": machine})
    pages = [{"sessions": [], "hasMore": False, "lastSyncTime": "x", "nextCursor": "c", "epoch": "e"}]
    machine.pages = pages
    pull(fake, machine.device_id)
    stranger = FakeMachine(machine.device_id, problem=CollectorError("bad_answer", "status 404"))
    fake.machines = {"http://127.0.0.1:8123": stranger, "http://127.0.0.1:8124": machine}
    (target,) = rounds.ready(leases.claim([machine.device_id]))
    target.candidates = [*target.candidates, "http://127.0.0.1:8124"]
    (progress,) = pulling.pull_targets([target], fake)
    assert (progress.problem, machine.asked[-1].cursor) == (None, "c")
    assert not read_state(machine.device_id).is_resetting


@contextmanager
def black_hole(*, accepts: bool) -> Iterator[int]:
    """A port that takes connections and says nothing, or one that does not even take them."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096 if accepts else 0))
        port = listening.getsockname()[1]
        for _ in range(0 if accepts else 3):  # its queue is full after these
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def pair_holes(owner: Account, port: int, count: int) -> list[str]:
    """Machines that were there a moment ago and are a black hole now."""
    ids = [factory.pair(owner.id, port=port).device_id for _ in range(count)]
    for device_id in ids:
        devices.record_endpoint(device_id, f"http://127.0.0.1:{port}", clock.utc_now())
    db.session.rollback()
    return ids


def test_black_holes_delay_no_other_machine(pair: Pair, owner: Account, app: Flask) -> None:
    """100 of them stand in front of 20 good ones in one round; *Pull now* of another machine does not notice either."""
    client = CollectorClient(timeout_seconds=8, attempts=1)
    with ExitStack() as stack:
        holes = pair_holes(owner, stack.enter_context(black_hole(accepts=True)), 50)
        holes += pair_holes(owner, stack.enter_context(black_hole(accepts=False)), 50)
        good = [stack.enter_context(ExactCollector()) for _ in range(21)]
        ids = [pair(collector) for collector in good]
        asked = ids.pop()
        began, began_at = time.monotonic(), clock.utc_now()

        def pull_round() -> None:
            with app.app_context():
                targets = [*rounds.ready(leases.claim(holes)), *rounds.ready(leases.claim(ids))]
                pulling.pull_targets(targets, client)
                db.session.remove()

        thread = threading.Thread(target=pull_round)
        thread.start()
        time.sleep(1)
        (progress,) = pull(client, asked)
        asked_seconds = time.monotonic() - began - 1
        assert thread.is_alive()
        thread.join(60)
        took = [(read_state(device_id).last_pulled_at - began_at).total_seconds() for device_id in ids]
        failed = [read_state(device_id).problem for device_id in holes]
    client.close()
    print(f"\n100 black holes: 20 others pulled within {max(took):.2f} s, *Pull now* in {asked_seconds:.2f} s")
    assert max(took) <= 5
    assert (progress.problem, asked_seconds < 5) == (None, True)
    assert set(failed) == {"timeout"}


def test_machines_that_failed_before_stand_behind_the_others(app: Flask, owner: Account) -> None:
    ids = [factory.pair(owner.id, port=8123).device_id for _ in range(4)]
    leases.claim(ids)
    for number, device_id in enumerate(ids):
        change_state(device_id, lease_expires_at=None, failures=int(number < 2))
    ordered = pulling.order(rounds.ready(leases.claim(ids)))
    assert {target.device_id for target in ordered[2:]} == set(ids[:2])


def test_round_that_is_held_up_goes_on_with_the_others(app: Flask, owner: Account, monkeypatch) -> None:
    """A device that comes due while the round waits for a silent machine only is pulled at once."""
    monkeypatch.setattr(rounds, "TAKE_MORE_SECONDS", 0.0)
    monkeypatch.setattr(crew, "STILL_SECONDS", 0.3)
    slow = FakeMachine(factory.pair(owner.id, port=8123).device_id, answer_seconds=2.0)
    quick = FakeMachine(factory.pair(owner.id, port=8124).device_id)
    fake = FakeCollectorClient({"http://127.0.0.1:8123": slow, "http://127.0.0.1:8124": quick})
    leases.claim([quick.device_id])
    later = clock.utc_now() + timedelta(seconds=1)
    change_state(quick.device_id, lease_expires_at=None, due_at=later)
    assert rounds.pull_due(fake) == 2
    assert read_state(quick.device_id).last_pulled_at < read_state(slow.device_id).last_pulled_at


def test_direct_road_that_is_hurried_gives_a_silent_machine_little_time(owner: Account, app: Flask) -> None:
    """One that reports in is not waited for half a minute before the relay has its turn."""
    client = CollectorClient(timeout_seconds=30, attempts=3)
    with black_hole(accepts=True) as port:
        (device_id,) = pair_holes(owner, port, 1)
        hear_of(device_id)
        (target,) = rounds.ready(leases.claim([device_id]))
        began = time.monotonic()
        with pytest.raises(CollectorError) as caught:
            DirectRoad(client, target).export(fetching.ask_from(target))
    client.close()
    assert caught.value.problem == "timeout"
    assert time.monotonic() - began < roads.FIRST_SECONDS + roads.KNOCK_SECONDS + 2
