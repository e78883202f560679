"""F2 and F3: jobs while their workers are killed and Redis is wiped and killed, over and over.

F2 kills RQ workers and work-horses with SIGKILL, and stops one worker with SIGSTOP until long after its lease. F3 does
the same on a Valkey that writes nothing down, and wipes and kills that too. Each job has its effect once, each ends
once, none stands still for long, and no ring is left in Redis. Leases and the clock are the product's own; only the
pause before a dead worker is replaced is shorter.

100 jobs and 12 kills; 1,200 jobs and 150 kills with MUSTER_FAULTS=full. MUSTER_SEED replays a run.
"""

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import psutil
import pytest
import redis
from flask import Flask
from sqlalchemy import func, select

from tests.faults.forgetful_valkey import ForgetfulValkey
from tests.faults.ledger_watch import STUCK_SECONDS, Watch
from tests.jobs.factory import add
from tests.jobs.tasks import EFFECTS
from tests.jobs.workforce import horse_of, workforces
from webapp import queue
from webapp.config import Config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import janitor, service
from webapp.features.jobs.models import Job, JobEvent
from webapp.features.jobs.running import LEASE_SECONDS

pytestmark = pytest.mark.faults
IS_FULL = os.environ.get("MUSTER_FAULTS") == "full"
JOBS, KILLS, WIPES = (1200, 150, 20) if IS_FULL else (100, 12, 4)
DRAIN_SECONDS = 480 if IS_FULL else 90
WORKERS = 3
TASK = "webapp.features.testing.tasks.have_effect"


@pytest.fixture
def valkey_process() -> Iterator[ForgetfulValkey]:
    """A queue that forgets everything when it is killed."""
    with ForgetfulValkey() as started:
        yield started


@pytest.fixture
def config(config: Config, valkey_process: ForgetfulValkey) -> Config:
    """A hub with that queue."""
    return dataclasses.replace(config, redis_url=valkey_process.url)


@pytest.fixture
def workforce(config: Config, app: Flask) -> Iterator[psutil.Process]:
    """Three workers and their clock, with the leases of the product."""
    with transaction() as session:
        EFFECTS.create(session.connection())
    with workforces(config) as start:
        yield psutil.Process(start(TEST_LEASES="production", TEST_QUEUES=" ".join(["jobs"] * WORKERS)).pid)


def test_f2_every_job_has_one_effect_whoever_is_killed(
    owner: Account, workforce: psutil.Process, config: Config, valkey_process: ForgetfulValkey
) -> None:
    run_under_fire("F2", ["worker"] * (KILLS * 4 // 5) + ["horse"] * (KILLS // 5), owner, workforce, valkey_process)


def test_f3_every_job_has_one_effect_whatever_redis_forgets(
    owner: Account, workforce: psutil.Process, config: Config, valkey_process: ForgetfulValkey
) -> None:
    deeds = ["worker"] * KILLS + ["flush"] * (WIPES // 2) + ["redis"] * (WIPES // 2)
    run_under_fire("F3", deeds, owner, workforce, valkey_process)


def run_under_fire(
    name: str, deeds: list[str], owner: Account, workforce: psutil.Process, valkey: ForgetfulValkey
) -> None:
    """Adds jobs evenly while the deeds are done in random order, waits for the end, and checks everything."""
    seed = int(os.environ.get("MUSTER_SEED") or time.time_ns() % 2**32)
    dice, owner_id, began = random.Random(seed), owner.id, time.monotonic()
    nemesis = Nemesis(dice, workforce, valkey)
    watch = Watch(redis.Redis.from_url(valkey.url))
    dice.shuffle(deeds)
    wait_until(lambda: len(workforce.children()) == WORKERS)
    sleeper = add_ringing(owner, 1.5)
    nemesis.put_to_sleep(sleeper)
    for number, deed in enumerate(deeds):
        for _ in range(JOBS * number // len(deeds), JOBS * (number + 1) // len(deeds)):
            add_ringing(owner, dice.choice((0.01, 0.05, 0.1, 0.5)))
        watch.look()
        time.sleep(dice.uniform(0.05, 0.5))
        nemesis.do(deed)
    nemesis.wake_after(LEASE_SECONDS + 4, watch)
    watch.drain(DRAIN_SECONDS)
    print(
        f"\n{name} seed={seed} jobs={JOBS} kills={nemesis.kills} horses={nemesis.horses} flushes={nemesis.flushes}"
        f" redis_kills={nemesis.redis_kills} seconds={time.monotonic() - began:.0f}"
        f" attempts={total_attempts(owner_id)} stood still: {watch}"
    )
    check_effects(sleeper)
    assert watch.stuck_seconds <= STUCK_SECONDS
    assert nemesis.kills + nemesis.horses >= KILLS * 0.8, "kills found nobody"
    wait_until(lambda: janitor.sweep_rings() == 0)
    assert queue.noted("jobs") == set()


def check_effects(sleeper: Job) -> None:
    """Every job succeeded once and had one effect; the sleeper's late write was refused."""
    db.session.rollback()
    counted = db.session.execute(select(Job.status, func.count()).group_by(Job.status)).all()
    assert [tuple(row) for row in counted] == [("succeeded", JOBS + 1)]
    ended = select(JobEvent.job_id).where(JobEvent.kind == "succeeded")
    effects = db.session.execute(select(EFFECTS)).all()
    had = [row.job_id for row in effects if not row.is_late]
    jobs = {str(job_id) for job_id in db.session.scalars(select(Job.id))}
    assert len(had) == JOBS + 1 and set(had) == jobs
    assert sorted(map(str, db.session.scalars(ended))) == sorted(jobs)
    assert (str(sleeper.id), 1, True) in [tuple(row) for row in effects], "the stopped worker did not come back"


@dataclass
class Nemesis:
    """Does harm, and counts it."""

    dice: random.Random
    workforce: psutil.Process
    valkey: ForgetfulValkey
    kills: int = 0
    horses: int = 0
    flushes: int = 0
    redis_kills: int = 0
    asleep: list[psutil.Process] = field(default_factory=list)
    asleep_since: float = 0.0

    def do(self, deed: str) -> None:
        """One of `worker`, `horse`, `flush`, `redis`."""
        if deed == "flush":
            redis.Redis.from_url(self.valkey.url).flushall()
            self.flushes += 1
        elif deed == "redis":
            self.valkey.kill()
            time.sleep(self.dice.uniform(0, 1))
            self.valkey.start()
            self.redis_kills += 1
        else:
            with suppress(psutil.NoSuchProcess, ProcessLookupError, IndexError):  # it ended by itself meanwhile
                self._kill(deed)

    def put_to_sleep(self, job: Job) -> None:
        """Stops the worker that runs `job`, and its work-horse."""
        wait_until(lambda: refreshed(job).phase == "working")
        horse = horse_of(job)
        self.asleep = [horse.parent(), horse]
        for process in self.asleep:
            process.send_signal(signal.SIGSTOP)
        self.asleep_since = time.monotonic()

    def wake_after(self, seconds: float, watch: Watch) -> None:
        """Lets the stopped ones go on once they slept that long, and waits until the work-horse has ended."""
        while time.monotonic() < self.asleep_since + seconds:
            watch.look()
            time.sleep(0.2)
        for process in self.asleep:
            process.send_signal(signal.SIGCONT)
        wait_until(lambda: not self.asleep[1].is_running() or self.asleep[1].status() == psutil.STATUS_ZOMBIE)

    def _kill(self, deed: str) -> None:
        wait_until(lambda: self._awake() != [])
        worker = self.dice.choice(self._awake())
        if deed == "horse":
            wait_until(lambda: worker.children() != [])
            os.killpg(worker.children()[0].pid, signal.SIGKILL)
            self.horses += 1
        else:
            worker.kill()
            self.kills += 1

    def _awake(self) -> list[psutil.Process]:
        alive = [one for one in self.workforce.children() if one.status() != psutil.STATUS_ZOMBIE]
        return [worker for worker in alive if worker not in self.asleep]


def add_ringing(account: Account, seconds: float) -> Job:
    """A job that works so long before its effect."""
    job = add(account, task=TASK, max_attempts=50, args={"seconds": seconds})
    service.ring(job)
    return job


def refreshed(job: Job) -> Job:
    """The job as it is now."""
    db.session.rollback()
    db.session.refresh(job)
    return job


def total_attempts(account_id: int) -> int:
    """How many attempts all jobs together took."""
    return int(db.session.scalar(select(func.sum(Job.attempt)).where(Job.account_id == account_id)) or 0)


def wait_until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until `holds`; fails if it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
