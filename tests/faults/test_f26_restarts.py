"""F26: the web server is told to stop again and again while twenty requests a second write.

Editors push sessions that grow, a collector sends heartbeats; half of them keep their connections open. What was
acknowledged is there afterwards, what was begun is answered, and in between connections are refused and nothing worse.

8 restarts; 50 with MUSTER_FAULTS=full. MUSTER_SEED replays the pauses.
"""

import dataclasses
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import requests
import urllib3.exceptions
from flask import Flask
from sqlalchemy import select

from tests.api.pushing import make_session
from tests.devices import factory
from tests.faults.ledger_hub import HubProcess, free_port, running_hub
from webapp.config import Config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import create_api_token
from webapp.features.devices.models import Device
from webapp.features.sessions.models import StoredSession

pytestmark = pytest.mark.faults
RESTARTS = 50 if os.environ.get("MUSTER_FAULTS") == "full" else 8
WRITERS = 5
PER_SECOND = 20


@pytest.fixture
def config(config: Config) -> Config:
    """A hub that can listen."""
    return dataclasses.replace(config, port=free_port())


@pytest.fixture
def hub(config: Config) -> Iterator[HubProcess]:
    """The running server."""
    with running_hub(config) as started:
        yield started


def test_restarts_under_load_lose_no_acknowledged_write(app: Flask, owner: Account, hub: HubProcess) -> None:
    seed = int(os.environ.get("MUSTER_SEED") or time.time_ns() % 2**32)
    dice = random.Random(seed)
    _, token = create_api_token(owner.id, "editor")
    link = factory.pair(owner.id)
    db.session.remove()
    writers: list[Writer] = [Editor(hub.url, token, number) for number in range(WRITERS - 1)]
    writers.append(Beater(hub.url, link.token, WRITERS - 1))
    for writer in writers:
        writer.thread.start()
    for _ in range(RESTARTS):
        wait_for_writes(writers)
        time.sleep(dice.uniform(0.0, 0.5))
        assert hub.stop() == 0
        hub.start()
    wait_for_writes(writers)
    for writer in writers:
        writer.is_over.set()
    for writer in writers:
        writer.thread.join(30)
    assert hub.stop() == 0  # heartbeats may wait in its memory for a moment: an orderly end writes them
    outcomes = sum((writer.outcomes for writer in writers), Counter())
    print(f"\nF26 seed={seed} restarts={RESTARTS} {dict(outcomes)}")
    assert set(outcomes) <= {"acknowledged", "refused", "503"}
    assert outcomes["acknowledged"] > RESTARTS * PER_SECOND
    check_sessions([writer for writer in writers if isinstance(writer, Editor)])
    device = db.session.get_one(Device, link.device_id)
    assert device.reported_status is not None
    assert device.reported_status["number"] >= writers[-1].acknowledged["beat"]


def wait_for_writes(writers: "list[Writer]") -> None:
    """Until the server that runs now has acknowledged a second's worth of writes."""
    before = sum(writer.outcomes["acknowledged"] for writer in writers)
    deadline = time.monotonic() + 120
    while sum(writer.outcomes["acknowledged"] for writer in writers) < before + PER_SECOND:
        assert time.monotonic() < deadline, "the hub does not answer"
        time.sleep(0.02)


def check_sessions(editors: "list[Editor]") -> None:
    """Every acknowledged session is there, at least as long as it was acknowledged."""
    stored = {row.id: row.duration_seconds for row in db.session.scalars(select(StoredSession))}
    told = {name: seconds for editor in editors for name, seconds in editor.acknowledged.items()}
    assert told
    assert [name for name, seconds in told.items() if stored.get(name, -1) < seconds] == []


@dataclass
class Writer:
    """Sends a write several times a second, and notes what became of each."""

    url: str
    token: str
    number: int
    outcomes: Counter[str] = field(default_factory=Counter)
    acknowledged: dict[str, int] = field(default_factory=dict)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._write_all, daemon=True)
        self._kept = requests.Session()

    def write(self, count: int) -> tuple[str, dict[str, object], str, int]:
        """`(path, body, name, value)` of the `count`-th write: `name` has `value` once it is acknowledged."""
        raise NotImplementedError

    def _write_all(self) -> None:
        count = 0
        while not self.is_over.wait(WRITERS / PER_SECOND):
            path, body, name, value = self.write(count)
            outcome = self._send(path, body)
            self.outcomes[outcome] += 1
            if outcome == "acknowledged":
                self.acknowledged[name] = value
            count += 1

    def _send(self, path: str, body: dict[str, object]) -> str:
        send = self._kept.post if self.number % 2 else requests.post
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            answer = send(f"{self.url}{path}", json=body, headers=headers, timeout=20)
        except requests.ConnectionError as error:
            return "refused" if is_refused(error) else f"broken off: {error}"
        return "acknowledged" if answer.ok else str(answer.status_code)


class Editor(Writer):
    """Pushes sessions that grow: ten writes each."""

    def write(self, count: int) -> tuple[str, dict[str, object], str, int]:
        name, seconds = f"s-{self.number}-{count // 10}", 10 + count % 10
        session = make_session(id=name, totalDuration=seconds)
        body = {"session": session, "systemInfo": {"editor": "vscode", "platform": "linux"}}
        return "/api/sessions", body, name, seconds


class Beater(Writer):
    """Sends heartbeats with a number that grows."""

    def write(self, count: int) -> tuple[str, dict[str, object], str, int]:
        body = {"status": {"number": count}, "appliedVersion": 1, "applyState": "applied"}
        return "/api/collector/heartbeat", body, "beat", count


def is_refused(error: requests.ConnectionError) -> bool:
    """Whether nobody listened, so that nothing was begun."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", cause)
    return isinstance(reason, urllib3.exceptions.NewConnectionError)
