"""Machines that take a connection and never answer: they delay no other machine's pull, and no page.

The real product with a short pull interval; the black holes and the good machines are paired straight into its
database, because the pairing door lets only a few in a minute.
"""

import os
import re
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from tests.collectors import ExactCollector, make_session
from tests.devices import factory
from tests.e2e import muster
from tests.e2e.api import Api, make_owner
from tests.e2e.muster import Muster
from webapp import create_app
from webapp.config import read_config
from webapp.extensions import db

pytestmark = pytest.mark.faults

IS_FULL = os.environ.get("MUSTER_FAULTS") == "full"
BLACK_HOLES = 100 if IS_FULL else 50
GOOD = 10
INTERVAL_SECONDS = 2
DELAY_SECONDS = 5.0
WATCH_SECONDS = 60 if IS_FULL else 12
PAGE_SECONDS = 2.0
"""What a page may take on a loaded machine; a page that waits for a black hole takes half a minute."""


def test_black_holes_delay_nobody(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with ExitStack() as stack:
        hub = stack.enter_context(muster.running(home, PULL_INTERVAL=str(INTERVAL_SECONDS)))
        api = make_owner(hub)
        good = [stack.enter_context(ExactCollector()) for _ in range(GOOD)]
        pair_straight(hub, good)
        pages = Pages(hub)
        before, _ = watch(api, pages, good, seconds=4, first=0)
        pair_holes(hub, stack.enter_context(black_hole()))
        delays, page_seconds = watch(api, pages, good, seconds=WATCH_SECONDS, first=1000)
        print(
            f"\nblack holes: {BLACK_HOLES}; {len(delays)} sessions of {GOOD} good machines: median "
            f"{statistics.median(delays):.2f} s, slowest {max(delays):.2f} s (without: {max(before):.2f} s); "
            f"{len(page_seconds)} pages: slowest {max(page_seconds):.2f} s"
        )
        assert max(delays) <= INTERVAL_SECONDS + DELAY_SECONDS
        assert max(page_seconds) < PAGE_SECONDS


class Pages:
    """A signed-in browser's requests."""

    def __init__(self, hub: Muster) -> None:
        self.url = hub.url
        self.session = requests.Session()
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', self.session.get(f"{hub.url}/login").text)
        assert token
        answer = self.session.post(
            f"{hub.url}/login", data={"name": "ada", "password": "correct horse battery", "csrf_token": token.group(1)}
        )
        assert answer.ok
        assert "/login" not in answer.url

    def load(self, path: str) -> float:
        """Seconds that a page took."""
        began = time.monotonic()
        assert self.session.get(self.url + path, timeout=30).ok
        return time.monotonic() - began


def watch(
    api: Api, pages: Pages, good: list[ExactCollector], *, seconds: float, first: int
) -> tuple[list[float], list[float]]:
    """`(how long each new session took to arrive, how long each page took)`, one new session at a time per machine."""
    waiting: dict[str, tuple[str, float]] = {}
    delays: list[float] = []
    page_seconds: list[float] = []
    end, number = time.monotonic() + seconds, first
    while time.monotonic() < end or waiting:
        for collector in good:
            if collector.device_id not in waiting and time.monotonic() < end:
                number += 1
                session = make_session(number)
                collector.put(session)
                waiting[collector.device_id] = (session["id"], time.monotonic())
        page_seconds += [pages.load("/"), pages.load("/devices")]
        stored = api.get("/api/sessions?sync_from_collector=false&limit=500").json()["sessions"]
        ids = {session["id"] for session in stored}
        for device_id, (session_id, since) in list(waiting.items()):
            if session_id in ids:
                delays.append(time.monotonic() - since)
                del waiting[device_id]
            assert time.monotonic() - since < 30, "a session of a good machine did not arrive"
        time.sleep(0.1)
    return delays, page_seconds


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        yield listening.getsockname()[1]


def pair_straight(hub: Muster, collectors: list[ExactCollector]) -> None:
    """Pairs running collectors with the first account."""
    with database_of(hub):
        for collector in collectors:
            answer = factory.pair(1, device_id=collector.device_id, port=collector.port, name=collector.name)
            collector.pull_secret = answer.pull_secret


def pair_holes(hub: Muster, port: int) -> None:
    """Pairs machines that are all the same black hole."""
    with database_of(hub):
        for number in range(BLACK_HOLES):
            factory.pair(1, port=port, name=f"hole {number}")


@contextmanager
def database_of(hub: Muster) -> Iterator[None]:
    """The app on the database of a running hub."""
    app = create_app(read_config(muster.environment(hub.home, hub.port, hub.collector_port)))
    with app.app_context():
        yield
        db.session.remove()
        db.engine.dispose()
