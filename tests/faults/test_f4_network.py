"""F4: the network between hub and collector breaks again and again while the collector grows; then it heals.

Every 100 ms a fault is picked: delay, reset, black hole, half-open, a cut at any byte of question or answer, refusal.
Afterwards the hub's set must be the collector's within ten seconds, and no call may have outlived its time limit.
MUSTER_FAULTS=full: 200 faults and 5,000 revisions.
"""

import os
import random
import secrets
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.collectors import ExactCollector, grow, make_session
from tests.devices import factory
from tests.faults.proxy import FAULTS, FaultProxy
from tests.sessions.conftest import by_id, list_stored, pull
from webapp.adapters import collector_client
from webapp.adapters.collector_client import CollectorClient
from webapp.database import transaction
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.lib import clock

pytestmark = pytest.mark.faults
IS_FULL = os.environ.get("MUSTER_FAULTS") == "full"
FAULT_COUNT, REVISIONS = (200, 5000) if IS_FULL else (40, 1000)
SEED = int(os.environ.get("MUSTER_SEED") or secrets.randbelow(1 << 32))
STRIKE_SECONDS = 0.1
TIMEOUT_SECONDS = 2.0
HEAL_SECONDS = 10.0
PROXY, HIDDEN = "127.0.0.2", "127.0.0.3"


class TimedClient(CollectorClient):
    """The real client; remembers how long each call took."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.took: list[float] = []  # shared with the hurried copies

    def _until_done(self, attempt: Any) -> Any:
        began = time.monotonic()
        try:
            return super()._until_done(attempt)
        finally:
            self.took.append(time.monotonic() - began)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[TimedClient]:
    """Gives up after TIMEOUT_SECONDS."""
    monkeypatch.setattr(collector_client, "FIRST_PAUSE_SECONDS", 0.05)
    made = TimedClient(timeout_seconds=TIMEOUT_SECONDS, attempts=3)
    yield made
    made.close()


def test_sets_are_equal_soon_after_the_network_healed(app: Flask, owner: Account, client: TimedClient) -> None:
    dice = random.Random(SEED)
    with ExactCollector(host=HIDDEN) as collector, FaultProxy(PROXY, HIDDEN, collector.port, dice) as proxy:
        collector.most_per_page = 40
        answer = factory.pair(owner.id, address=PROXY, device_id=collector.device_id, port=collector.port)
        collector.pull_secret = answer.pull_secret
        forget_pairing(answer.device_id)
        threads = [
            threading.Thread(target=grow_on, args=(collector, random.Random(SEED + 1))),
            threading.Thread(target=strike_on, args=(proxy, random.Random(SEED + 2))),
        ]
        for thread in threads:
            thread.start()
        pulls = failed = 0
        while any(thread.is_alive() for thread in threads):
            failed += sum(progress.problem is not None for progress in pull(client, collector.device_id))
            pulls += 1
        proxy.strike(None)
        healed_at = time.monotonic()
        while (seconds := time.monotonic() - healed_at) < HEAL_SECONDS:
            pull(client, collector.device_id)
            if list_stored(collector.device_id) == by_id(collector.sessions):
                break
        print(
            f"\nF4: seed {SEED}: {sum(proxy.met.values())} faults {dict(proxy.met)}, {REVISIONS} revisions, "
            f"{pulls} pulls, {failed} failed, equal {seconds:.2f} s after healing; "
            f"{len(client.took)} calls, slowest {max(client.took):.2f} s (limit {TIMEOUT_SECONDS:g} s)"
        )
        assert list_stored(collector.device_id) == by_id(collector.sessions)
    assert failed > 0
    assert sum(proxy.met.values()) == FAULT_COUNT
    assert pulls >= FAULT_COUNT / 10
    assert max(client.took) < TIMEOUT_SECONDS + 1


def forget_pairing(device_id: str) -> None:
    """A machine that was paired just now would get the relay; this one has only the direct road."""
    with transaction() as session:
        session.get_one(Device, device_id).paired_at = clock.utc_now() - timedelta(hours=1)


def grow_on(collector: ExactCollector, dice: random.Random) -> None:
    """New sessions and changes of old ones, evenly over the time of the faults."""
    sessions = []
    for _ in range(REVISIONS):
        if sessions and dice.random() < 0.4:
            place = dice.randrange(len(sessions))
            sessions[place] = grow(sessions[place], 1)
            collector.put(sessions[place])
        else:
            sessions.append(make_session(len(sessions)))
            collector.put(sessions[-1])
        time.sleep(FAULT_COUNT * STRIKE_SECONDS / REVISIONS)


def strike_on(proxy: FaultProxy, dice: random.Random) -> None:
    """A fault every STRIKE_SECONDS; each kind comes."""
    faults = [FAULTS[number % len(FAULTS)] for number in range(FAULT_COUNT)]
    dice.shuffle(faults)
    for fault in faults:
        proxy.strike(fault)
        time.sleep(STRIKE_SECONDS)
