"""The two lanes of the server: no poll waits for a thread or the database, and what is too much is turned away."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import requests
from flask import Flask

from tests.devices.factory import pair
from webapp import create_app
from webapp.blueprints.api import poll as short_road
from webapp.config import Config
from webapp.extensions import db
from webapp.features.accounts.service import create_account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.processes import lanes, serving

Ask = Callable[[], requests.Response]


class Gate:
    """Keeps whoever comes to it, and knows how many that are."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)
        self._opened = threading.Event()

    def pass_through(self) -> None:
        self.came.release()
        self._opened.wait(20)

    def open(self) -> None:
        self._opened.set()


@pytest.fixture
def config(config: Config) -> Config:
    """A hub on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return replace(config, port=probe.getsockname()[1])


@pytest.fixture
def gate() -> Iterator[Gate]:
    """While it is closed, requests for /stuck keep their threads."""
    made = Gate()
    yield made
    made.open()


@pytest.fixture
def app(config: Config, gate: Gate) -> Iterator[Flask]:
    """The hub with one more view."""
    app = create_app(config)

    @app.get("/stuck")
    def stuck() -> str:
        gate.pass_through()
        return ""

    stuck.audience = "public"  # type: ignore[attr-defined]
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def serve_while(app: Flask, config: Config, use: Callable[[], None]) -> None:
    """Runs the real server, and `use` in a thread beside it; what `use` raises goes up."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    server, errors = serving.Server(app, config), list[BaseException]()

    def run() -> None:
        try:
            with app.app_context():
                use()
        except BaseException as error:
            errors.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    user = threading.Thread(target=run)
    user.start()
    try:
        server.run()
        user.join()
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if errors:
        raise errors[0]


def poller(config: Config, account_id: int) -> tuple[str, Ask]:
    """`(device id, its poll)` of a machine that has the newest settings."""
    claim = pair(account_id)
    device = db.session.get_one(Device, claim.device_id)
    query = f"version={device.settings_version}&epoch={device.settings_epoch}"
    devices.find_link(claim.token)
    db.session.remove()
    headers = {"Authorization": f"Bearer {claim.token}"}
    address = f"{config.base_url}/api/collector/poll?{query}"
    return claim.device_id, lambda: requests.get(address, headers=headers, timeout=9)


def occupy(config: Config, gate: Gate) -> None:
    """Requests that keep every thread."""
    threads = serving.limits(config)["threads"]
    for _ in range(threads):
        get_stuck(config)
    assert all(gate.came.acquire(timeout=10) for _ in range(threads))


def get_stuck(config: Config) -> None:
    """A request that nobody waits for."""
    asking = socket.create_connection((config.host, config.port))
    asking.sendall(b"GET /stuck HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    asking.detach()  # stays open


def test_a_poll_is_answered_while_every_thread_is_busy(app: Flask, config: Config, gate: Gate) -> None:
    account = create_account("owner", "correct horse battery", is_admin=True)
    device_id, poll = poller(config, account.id)

    def use() -> None:
        occupy(config, gate)
        for _ in range(3):
            answer = poll()
            assert answer.status_code == 200
            assert answer.headers["Connection"] == "close"
            assert answer.json()["requests"] == []
            time.sleep(0.6)
        gate.open()

    serve_while(app, config, use)
    devices.flush_seen()
    assert db.session.get_one(Device, device_id).last_seen_at is not None


def test_a_revoked_token_is_dead_within_a_second(app: Flask, config: Config) -> None:
    account = create_account("owner", "correct horse battery", is_admin=True)
    account_id = account.id
    device_id, poll = poller(config, account_id)

    def use() -> None:
        assert poll().status_code == 200
        devices.unpair_device(account_id, device_id)
        time.sleep(short_road.KNOWN_SECONDS + 0.05)
        assert poll().status_code == 401

    serve_while(app, config, use)


def test_both_lanes_say_the_same(app: Flask, config: Config) -> None:
    account = create_account("owner", "correct horse battery", is_admin=True)
    _, poll = poller(config, account.id)

    def use() -> None:
        quick = poll()
        long = requests.get(quick.url, headers={**quick.request.headers, "X-Request-ID": "long-road-1"}, timeout=9)
        assert long.headers["X-Request-ID"] == "long-road-1"
        assert quick.content == long.content
        ignored = {"X-Request-Id", "Connection", "Date"}
        assert {name: value for name, value in quick.headers.items() if name not in ignored} == {
            name: value for name, value in long.headers.items() if name not in ignored
        }

    serve_while(app, config, use)


def test_what_is_too_much_is_turned_away(
    app: Flask, config: Config, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def use() -> None:
        occupy(config, gate)
        monkeypatch.setattr(lanes, "MOST_WAITING", 2)
        for _ in range(2):
            get_stuck(config)
        time.sleep(0.5)
        answer = requests.get(f"{config.base_url}/healthz", timeout=9)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert answer.json()["status"] == 503
        gate.open()

    serve_while(app, config, use)


def test_polls_wait_for_a_reading_and_then_give_up(app: Flask, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "LONGEST_PARKED_SECONDS", 0.5)
    account = create_account("owner", "correct horse battery", is_admin=True)
    _, poll = poller(config, account.id)
    read = short_road.read_live_links
    held = threading.Event()

    def read_late() -> object:
        held.wait(10)
        return read()

    monkeypatch.setattr(short_road, "read_live_links", read_late)

    def use() -> None:
        assert poll().status_code == 503
        held.set()
        time.sleep(0.3)
        assert poll().status_code == 200

    serve_while(app, config, use)
