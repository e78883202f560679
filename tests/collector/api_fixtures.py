"""A collector's parts without its threads, its web app, and the credentials of those who may call it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from collector import wire
from collector.api import create_app
from collector.config import Config
from collector.deriver import Deriver
from collector.history import HistoryImport
from collector.link.poller import Poller
from collector.running import Running
from collector.sources.filesystem import FilesystemSource
from collector.store import Link, Store
from collector.timeline.observation import Observation

PORT = 8001
HOST = f"127.0.0.1:{PORT}"
ORIGIN = f"http://{HOST}"
SECRET = "a secret that only the hub and the collector know, long enough for every algorithm"

Authorize = Callable[[str], dict[str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty database."""
    store = Store(tmp_path / "collector" / "collector.db")
    yield store
    store.close()


@pytest.fixture
def running(store: Store) -> Running:
    """The parts of a collector; none of their threads runs."""
    deriver = Deriver(store)
    return Running(
        config=Config(directory=store.path.parent),
        store=store,
        port=PORT,
        deriver=deriver,
        filesystem=FilesystemSource(store, store.list_paths(), deriver.wake),
        poller=Poller(store, dict, deriver.wake),
        history=HistoryImport(store, deriver.wake),
    )


@pytest.fixture
def app(running: Running) -> Flask:
    """The collector's web app."""
    return create_app(running)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Somebody who calls the collector by its right name."""
    app.test_client_class = Caller
    return app.test_client()


class Caller(FlaskClient):
    """A client whose requests go to the collector's own address."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        return super().open(*args, **({"base_url": ORIGIN, "buffered": True} | kwargs))


@pytest.fixture
def link(store: Store) -> Link:
    """The collector is paired."""
    made = make_link(store)
    store.save_link(made)
    return made


@pytest.fixture
def as_hub(link: Link) -> Authorize:
    """The paired hub's header for one call of a path."""
    return lambda path: {"Authorization": f"Bearer {wire.sign_call(link.pull_secret, link.device_id, path)}"}


@pytest.fixture
def as_user(store: Store) -> dict[str, str]:
    """The header of this machine's own user."""
    return {"Authorization": f"Bearer {store.local_token()}"}


def make_link(store: Store, hub_url: str = "http://127.0.0.1:8000") -> Link:
    """A link as pairing makes it."""
    return Link(
        hub_url=hub_url,
        device_id=store.identity.device_id,
        token="the device token",
        pull_secret=SECRET,
        poll_interval=5,
        hub_name="Home",
        paired_at_ms=wire.now_ms(),
    )


def make_observation(entity: str = "/home/ada/code/muster/a.py", time_ms: int = 1_767_618_000_000) -> Observation:
    """A heartbeat of an editor."""
    return Observation(
        source="wakatime", editor="vim", entity=entity, time_ms=time_ms, received_ms=time_ms, is_write=True
    )
