"""Two web servers, three worker programs (so three clocks too), one database, one Valkey, twenty growing collectors.

Editors push and people ask for pulls through both servers; a worker is killed on the way, and later a whole worker
program. In the end the hub's sessions are the collectors', every job ended once, no day counts anything twice, and
nothing stood still. On PostgreSQL and on SQLite. 30 rounds of load; 400 with MUSTER_FAULTS=full; MUSTER_SEED.
"""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import redis
import requests
from flask import Flask
from sqlalchemy import func, select

from tests import databases
from tests.api.pushing import make_session as make_pushed
from tests.collectors import ExactCollector, grow, make_session
from tests.devices import factory
from tests.faults.ledger_hub import HubProcess, free_port, running_hub
from tests.faults.ledger_watch import Watch
from tests.jobs.workforce import ROOT, environment, stop
from tests.sessions.conftest import by_id, list_stored
from webapp.config import Config, read_config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import create_api_token
from webapp.features.jobs.models import FINISHED, Job, JobEvent
from webapp.features.sessions import recounting
from webapp.features.sessions.models import DayTotal, StaleDay, StoredSession
from webapp.processes.lifeline import Lifeline

pytestmark = pytest.mark.faults
ROUNDS = 400 if os.environ.get("MUSTER_FAULTS") == "full" else 30
COLLECTORS, HUBS, WORKERS = 20, 2, 3
SETTLE_SECONDS = 120
STUCK_SECONDS = 20  # the killed program's leases end after 12 s, and the machine is busy
QUICK = {"PULL_INTERVAL": "2", "COLLECTOR_TIMEOUT": "10", "COLLECTOR_DISCOVERY_ENABLED": "0"}


@pytest.fixture(params=["postgresql", "sqlite"])
def config(
    request: pytest.FixtureRequest, tmp_path: Path, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Config]:
    """A hub on either database, with a queue."""
    monkeypatch.setenv("TEST_DATABASE", request.param)
    redis.Redis.from_url(valkey).flushall()
    with databases.make_template(tmp_path) as template, template.copy(tmp_path) as url:
        made = read_config({"MUSTER_DATA_DIR": str(tmp_path / "hub"), "DATABASE_URL": url, "REDIS_URL": valkey} | QUICK)
        yield dataclasses.replace(made, is_testing=True)


@pytest.fixture
def collectors(app: Flask, owner: Account) -> Iterator[list[ExactCollector]]:
    """Paired collectors with some history each."""
    with ExitStack() as stack:
        started = [stack.enter_context(ExactCollector()) for _ in range(COLLECTORS)]
        for collector in started:
            collector.put(*(make_session(number) for number in range(30)))
            answer = factory.pair(owner.id, device_id=collector.device_id, port=collector.port)
            collector.device_id, collector.pull_secret = answer.device_id, answer.pull_secret
        yield started


@pytest.fixture
def hubs(config: Config, app: Flask) -> Iterator[list[HubProcess]]:
    """The web servers."""
    with ExitStack() as stack:
        ports = [free_port() for _ in range(HUBS)]
        yield [stack.enter_context(running_hub(dataclasses.replace(config, port=port))) for port in ports]


@pytest.fixture
def workers(config: Config, app: Flask) -> Iterator["list[subprocess.Popen[bytes]]"]:
    """The worker programs."""
    line = Lifeline()
    env = environment(config) | line.env | QUICK
    command = [sys.executable, "worker.py"]
    started = [subprocess.Popen(command, env=env, pass_fds=[line.fd], cwd=ROOT) for _ in range(WORKERS)]
    yield started
    stop([process for process in started if process.poll() is None])


def test_many_processes_make_one_hub(
    owner: Account,
    collectors: list[ExactCollector],
    hubs: list[HubProcess],
    workers: "list[subprocess.Popen[bytes]]",
    config: Config,
) -> None:
    seed = int(os.environ.get("MUSTER_SEED") or time.time_ns() % 2**32)
    owner_id = owner.id
    load = Load(random.Random(seed), hubs, collectors, create_api_token(owner_id, "script")[1])
    watch = Watch(redis.Redis.from_url(config.redis_url))
    deeds: list[Callable[[], None]] = [lambda: kill_a_worker(workers[0]), workers[1].kill]
    for number in range(1, ROUNDS + 1):
        load.go_on()
        watch.look()
        if number in (ROUNDS // 3, ROUNDS * 2 // 3):
            deeds.pop(0)()
        time.sleep(0.1)
    began = time.monotonic()
    settle(watch, collectors)
    db.session.rollback()
    print(
        f"\nmany processes {db.engine.dialect.name} seed={seed} {dict(load.done)} settled after"
        f" {time.monotonic() - began:.0f} s, stood still: {watch}"
    )
    assert not deeds
    for collector in collectors:
        assert list_stored(collector.device_id) == by_id(collector.sessions)
    check_pushed(load.pushed)
    check_jobs()
    assert watch.stuck_seconds < STUCK_SECONDS
    assert workers[0].poll() is None and workers[2].poll() is None
    counted = read_totals()
    recounting.mark_all(owner_id)
    recounting.refresh_account(owner_id)
    assert counted == read_totals()


class Load:
    """What collectors, editors and people do meanwhile."""

    def __init__(
        self, dice: random.Random, hubs: list[HubProcess], collectors: list[ExactCollector], token: str
    ) -> None:
        self.done: Counter[str] = Counter()
        self.pushed: dict[str, int] = {}
        self._dice = dice
        self._hubs = hubs
        self._collectors = collectors
        self._headers = {"Authorization": f"Bearer {token}"}

    def go_on(self) -> None:
        """Some of everything."""
        number = sum(self.done.values())
        for collector in self._dice.sample(self._collectors, 5):
            old = make_session(self._dice.randrange(30))
            collector.put(make_session(1000 + number), grow(old, self._dice.randrange(1, 5)))
            self.done["saved"] += 2
        pushes = self.done["/api/sessions"]
        name, seconds = f"pushed-{pushes % 20}", 10 + pushes // 2  # it grows, and stays shorter than its span
        session = make_pushed(id=name, totalDuration=seconds)
        body = {"session": session, "systemInfo": {"editor": "vscode", "platform": "linux"}}
        self._post("/api/sessions", body)
        self.pushed[name] = seconds
        for _ in range(2):
            device_id = self._dice.choice(self._collectors).device_id
            self._post(f"/api/sessions/sync?device={device_id}", None)

    def _post(self, path: str, body: object) -> None:
        hub = self._dice.choice(self._hubs)
        answer = requests.post(f"{hub.url}{path}", json=body or {}, headers=self._headers, timeout=30)
        assert answer.ok, answer.text
        self.done[path.partition("?")[0]] += 1


def kill_a_worker(program: "subprocess.Popen[bytes]") -> None:
    """SIGKILL for every RQ worker of one program, in the middle of whatever they do."""
    for worker in psutil.Process(program.pid).children():
        worker.send_signal(signal.SIGKILL)


def settle(watch: Watch, collectors: list[ExactCollector]) -> None:
    """Until every job has ended, everything is pulled, and every day is counted; fails when it takes long."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while watch.look() or not is_pulled(collectors) or db.session.scalar(select(func.count()).select_from(StaleDay)):
        assert time.monotonic() < deadline, f"it did not settle: {watch}"
        time.sleep(0.3)


def is_pulled(collectors: list[ExactCollector]) -> bool:
    """Whether the hub has the newest change of every collector."""
    db.session.rollback()
    newest = select(StoredSession.device_id, func.max(StoredSession.changed_ms)).group_by(StoredSession.device_id)
    found = {device_id: changed_ms for device_id, changed_ms in db.session.execute(newest)}  # noqa: C416
    return all(found.get(one.device_id) == max(row.changed_ms for row in list(one.rows.values())) for one in collectors)


def check_pushed(pushed: dict[str, int]) -> None:
    """Each pushed session is there once, as it was pushed last."""
    wanted = select(StoredSession.id, StoredSession.duration_seconds).where(StoredSession.id.like("pushed-%"))
    assert sorted(tuple(row) for row in db.session.execute(wanted)) == sorted(pushed.items())


def check_jobs() -> None:
    """Every job succeeded, and ended once."""
    assert set(db.session.scalars(select(Job.status))) == {"succeeded"}
    ends = select(func.count()).where(JobEvent.kind.in_(FINISHED)).group_by(JobEvent.job_id)
    assert set(db.session.scalars(ends)) == {1}


def read_totals() -> list[tuple[object, ...]]:
    """Every counted day."""
    db.session.rollback()
    wanted = select(DayTotal.device_id, DayTotal.day, DayTotal.ms, DayTotal.agent_ms, DayTotal.detail)
    return [tuple(row) for row in db.session.execute(wanted.order_by(DayTotal.device_id, DayTotal.day))]
