"""Looking around: when, what is offered for pairing, and how a machine that moved is found again."""

import os
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import select

from tests.collectors import ExactCollector
from tests.devices.factory import add_device, make_claim, pair
from tests.fakes import FakeCollectorClient, FakeMachine
from tests.squatters import Squatter
from webapp import queue
from webapp.adapters.collector_client import CollectorClient, CollectorError, Sighted
from webapp.config import Config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import discovery, endpoints, tasks
from webapp.features.devices import service as devices
from webapp.features.devices.models import Sighting
from webapp.lib import clock

URL = "http://127.0.0.1:8001"
OTHER = "http://127.0.0.1:8002"


@pytest.fixture
def rings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that were rung for, on a clock that has not looked around yet."""
    rung: list[str] = []
    monkeypatch.setattr(queue, "enqueue", lambda task, *args, **options: rung.append(task) or True)
    monkeypatch.setattr(tasks, "_looked_at", float("-inf"))
    return rung


def configure(app, **changes) -> None:
    app.extensions["muster"] = Config(**(app.extensions["muster"].__dict__ | changes))


def sighted(url: str = URL, device_id: str = "machine-1", **changes) -> Sighted:
    return Sighted(**({"url": url, "device_id": device_id, "name": "x", "version": "1", "is_paired": False} | changes))


def test_nothing_rings_unless_somebody_asked(app, rings: list[str]) -> None:
    tasks.ring_discovery()
    assert rings == []
    devices.request_discovery()
    tasks.ring_discovery()
    assert rings == [tasks.TASK]


def test_asking_again_and_again_rings_every_five_seconds(app, rings: list[str]) -> None:
    with time_machine.travel("2026-03-02T12:00:00Z", tick=False) as traveller:
        for second in range(20):
            devices.request_discovery()
            now = clock.utc_now().timestamp()
            os.utime(discovery._wish_path(), (now, now))
            tasks.ring_discovery()
            traveller.shift(1)
            assert len(rings) == second // 5 + 1


def test_clock_that_could_not_ring_rings_again(app, rings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    devices.request_discovery()
    monkeypatch.setattr(queue, "enqueue", lambda *args, **options: False)
    tasks.ring_discovery()
    monkeypatch.setattr(queue, "enqueue", lambda task, *args, **options: rings.append(task) or True)
    tasks.ring_discovery()
    assert rings == [tasks.TASK]


def test_old_wish_is_forgotten(app, rings: list[str]) -> None:
    devices.request_discovery()
    with time_machine.travel(clock.utc_now() + timedelta(seconds=61)):
        tasks.ring_discovery()
    assert rings == []


def test_lost_machine_is_searched_for_every_minute(owner: Account, rings: list[str]) -> None:
    device = add_device(owner.id)
    tasks.ring_discovery()
    tasks.ring_discovery()
    assert len(rings) == 1
    with time_machine.travel(clock.utc_now() + timedelta(seconds=61)):
        tasks.ring_discovery()
    assert len(rings) == 2
    devices.record_endpoint(device.id, URL, clock.utc_now())
    with time_machine.travel(clock.utc_now() + timedelta(seconds=130)):
        tasks.ring_discovery()
    assert len(rings) == 2


def test_discovery_can_be_turned_off(app, owner: Account, rings: list[str]) -> None:
    configure(app, is_discovery_enabled=False)
    device = add_device(owner.id)
    devices.request_discovery()
    tasks.ring_discovery()
    assert rings == []
    assert endpoints.list_candidates(device) == [URL]


def test_asking_writes_nothing_into_the_database(app) -> None:
    db.session.execute(select(Sighting)).all()
    devices.request_discovery()
    assert discovery._wish_path().stat().st_mode & 0o777 == 0o600


def test_sightings_are_what_the_last_look_found(owner: Account) -> None:
    devices.record_sightings([sighted(), sighted(OTHER, "machine-2", name="\u202estudio")])
    assert [seen.name for seen in devices.list_sightings(owner.id)] == ["studio", "x"]
    devices.record_sightings([sighted()])
    assert [seen.device_id for seen in devices.list_sightings(owner.id)] == ["machine-1"]


def test_sightings_are_shown_for_a_minute(owner: Account) -> None:
    devices.record_sightings([sighted()])
    with time_machine.travel(clock.utc_now() + timedelta(seconds=61)):
        assert devices.list_sightings(owner.id) == []


def test_machine_seen_at_two_addresses_is_offered_once(owner: Account) -> None:
    devices.record_sightings([sighted(URL), sighted(OTHER)])
    assert len(devices.list_sightings(owner.id)) == 1


def test_machine_of_this_hub_is_not_offered(owner: Account, stranger: Account) -> None:
    pair(stranger.id, device_id="machine-1")
    devices.record_sightings([sighted()])
    assert devices.list_sightings(owner.id) == []
    devices.unpair_device(stranger.id, "machine-1")
    assert len(devices.list_sightings(owner.id)) == 1


def test_candidates_begin_with_the_proven_endpoint(app, owner: Account) -> None:
    configure(app, discovery_hosts=("localhost", "127.0.0.1"), discovery_ports=(8001, 8002))
    device = add_device(owner.id, address="192.168.1.7", port=8003)
    claimed, local = "http://192.168.1.7:8003", "http://127.0.0.1:8003"
    assert endpoints.list_candidates(device) == [claimed, local, URL, OTHER]
    devices.record_endpoint(device.id, OTHER, clock.utc_now())
    assert endpoints.list_candidates(devices.get_device(owner.id, device.id)) == [OTHER, claimed, local, URL]
    devices.write_endpoints({device.id: {"endpoint_url": None, "endpoint_proven_at": None}})
    assert endpoints.list_candidates(devices.get_device(owner.id, device.id))[0] == claimed


def test_proof_is_written_when_it_is_news(owner: Account) -> None:
    device_id, start = add_device(owner.id).id, clock.utc_now()

    def proven_at(url: str, minutes: int):
        devices.record_endpoint(device_id, url, start + timedelta(minutes=minutes), clock_skew_ms=minutes)
        device = devices.get_device(owner.id, device_id)
        return round((device.endpoint_proven_at - start).total_seconds() / 60), device.clock_skew_ms

    assert proven_at(URL, 0) == (0, 0)
    assert proven_at(URL, 1) == (0, 0)
    assert proven_at(URL, 10) == (10, 10)
    assert proven_at(OTHER, 11) == (11, 11)
    devices.mark_identity(device_id, True)
    assert proven_at(OTHER, 12) == (12, 12)
    assert not devices.get_device(owner.id, device_id).is_identity_doubtful


def test_look_around_finds_a_machine_that_moved(app, owner: Account) -> None:
    _, code = devices.create_code(owner.id)
    with ExactCollector() as collector:
        answer = devices.claim_code(make_claim(code, device_id=collector.device_id, port=8001), address="127.0.0.1")
        collector.pull_secret = answer.pull_secret
        configure(app, discovery_hosts=("localhost",), discovery_ports=(collector.port,))
        client = CollectorClient(timeout_seconds=5)
        tasks.discover(client)
        client.close()
    device = devices.get_device(owner.id, collector.device_id)
    assert device.endpoint_url == collector.url
    assert device.endpoint_proven_at is not None


def test_look_around_tells_of_a_squatter(app, owner: Account) -> None:
    device = add_device(owner.id)
    with Squatter(device_id=device.id) as squatter:
        configure(app, discovery_hosts=("localhost",), discovery_ports=(squatter.port,))
        client = CollectorClient(timeout_seconds=5)
        tasks.discover(client)
        client.close()
    device = devices.get_device(owner.id, device.id)
    assert device.is_identity_doubtful
    assert device.endpoint_url is None


def test_look_around_outlives_a_machine_that_fails(app, owner: Account) -> None:
    first, second = add_device(owner.id, device_id="a"), add_device(owner.id, device_id="b")
    machines = {URL: FakeMachine("a"), OTHER: FakeMachine("b")}
    client = FakeCollectorClient(machines)
    configure(app, discovery_hosts=("localhost",), discovery_ports=(8001, 8002))
    failing = client.check_health

    def check_health(url, *rest):
        if url == URL:
            raise CollectorError("timeout", "slow")
        return failing(url, *rest)

    client.check_health = check_health  # type: ignore[method-assign]
    tasks.discover(client)  # type: ignore[arg-type]
    assert devices.get_device(owner.id, first.id).endpoint_url is None
    assert devices.get_device(owner.id, second.id).endpoint_url == OTHER
