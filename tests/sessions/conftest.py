"""What the tests of the pull share: paired collectors, a routine pull, and what the hub then has."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import msgspec
import pytest
from flask import Flask
from sqlalchemy import select

from tests.collector_server import Collector
from tests.collectors import Json
from tests.devices import factory
from webapp.adapters.collector_client import CollectorClient
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.sessions import leases, roads, rounds
from webapp.features.sessions.models import PullState, StoredSession
from webapp.features.sessions.pulling import pull_targets
from webapp.features.sessions.targets import Progress

Pair = Callable[..., str]


@pytest.fixture
def client() -> Iterator[CollectorClient]:
    """The real client, impatient."""
    made = CollectorClient(timeout_seconds=5, attempts=2)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a new machine that looks for questions nowhere."""
    monkeypatch.setattr(roads, "NEW_SECONDS", 0.5)


@pytest.fixture
def pair(app: Flask, owner: Account) -> Pair:
    """Pairs a running collector with the owner's account: `device_id = pair(collector)`."""
    app.extensions["muster"] = replace(app.extensions["muster"], is_discovery_enabled=False)

    def make(collector: Collector, account: Account | None = None) -> str:
        answer = factory.pair((account or owner).id, device_id=collector.device_id, port=collector.port)
        collector.device_id, collector.pull_secret = answer.device_id, answer.pull_secret
        return answer.device_id

    return make


def pull(client: CollectorClient, *device_ids: str) -> list[Progress]:
    """One pull of each device, whether due or not."""
    return pull_targets(rounds.ready(leases.claim(device_ids)), client)


def list_stored(device_id: str) -> list[Json]:
    """The records of the device that the hub has, as sent, by id."""
    rows = db.session.scalars(select(StoredSession).where(StoredSession.device_id == device_id)).all()
    db.session.expire_all()
    return sorted((msgspec.json.decode(row.record) for row in rows), key=lambda record: record["id"])


def by_id(sessions: list[Json]) -> list[Json]:
    """Sessions in the order of `list_stored`."""
    return sorted(sessions, key=lambda session: session["id"])


def read_state(device_id: str) -> PullState:
    """Where the device's pull stands now."""
    db.session.rollback()
    return db.session.get_one(PullState, device_id)
