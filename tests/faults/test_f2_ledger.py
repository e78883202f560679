"""F2 and F3: jobs while their workers are killed and Redis is wiped, over and over. Each ends once; none is left.

MUSTER_FAULTS=full runs 1,200 jobs, 150 kills and 20 wipes.
"""

import dataclasses
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis
from flask import Flask
from sqlalchemy import func, select

from tests.jobs.factory import add
from webapp.config import Config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import service
from webapp.features.jobs.models import Job, JobEvent
from webapp.processes.lifeline import Lifeline

pytestmark = pytest.mark.faults
IS_FULL = os.environ.get("MUSTER_FAULTS") == "full"
JOBS, KILLS, WIPES = (1200, 150, 20) if IS_FULL else (100, 12, 3)
LIMIT_SECONDS = 600 if IS_FULL else 90


@pytest.fixture
def config(config: Config, valkey: str) -> Config:
    """A hub with a queue."""
    return dataclasses.replace(config, redis_url=valkey)


@pytest.fixture
def workforce(config: Config) -> Iterator[psutil.Process]:
    """A workforce process with short leases."""
    line = Lifeline()
    env = {
        **os.environ,
        **line.env,
        "MUSTER_DATA_DIR": str(config.data_dir),
        "DATABASE_URL": config.database_url,
        "REDIS_URL": config.redis_url,
    }
    command = [sys.executable, "-m", "tests.jobs.worker_process"]
    process = subprocess.Popen(command, env=env, pass_fds=[line.fd], cwd=Path(__file__).parent.parent.parent)
    yield psutil.Process(process.pid)
    process.terminate()
    process.wait(20)


def test_every_job_ends_once_whatever_is_killed_or_wiped(
    app: Flask, owner: Account, workforce: psutil.Process, config: Config, tmp_path: Path
) -> None:
    seed = int(os.environ.get("MUSTER_SEED", time.time()))
    print(f"seed {seed}")
    dice = random.Random(seed)
    lines = str(tmp_path / "lines")
    for number in range(JOBS):
        service.ring(add(owner, task="webapp.features.testing.tasks.write_line", max_attempts=50,
                         args={"path": lines, "name": f"{number}-", "first_seconds": 0.02}))  # fmt: skip
    db.session.rollback()
    nemesis(dice, workforce, config)
    deadline = time.monotonic() + LIMIT_SECONDS
    while unfinished() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert statuses() == {"succeeded": JOBS}
    ended = select(JobEvent.job_id, func.count()).where(JobEvent.kind == "succeeded").group_by(JobEvent.job_id)
    assert {count for _, count in db.session.execute(ended)} == {1}
    assert {line.partition("-")[0] for line in Path(lines).read_text().split()} == {str(n) for n in range(JOBS)}


def nemesis(dice: random.Random, workforce: psutil.Process, config: Config) -> None:
    """Kills RQ workers and wipes Redis in between, as the dice fall."""
    deeds = ["kill"] * KILLS + ["wipe"] * WIPES
    dice.shuffle(deeds)
    client = redis.Redis.from_url(config.redis_url)
    for deed in deeds:
        time.sleep(dice.uniform(0.05, 0.6))
        if deed == "wipe":
            client.flushall()
            continue
        with suppress(psutil.NoSuchProcess):
            for worker in workforce.children():
                worker.kill()


def statuses() -> dict[str, int]:
    """How many jobs are in which state."""
    db.session.rollback()
    counted = db.session.execute(select(Job.status, func.count()).group_by(Job.status))
    return {status: count for status, count in counted}  # noqa: C416  (a Result is no mapping)


def unfinished() -> int:
    """How many jobs wait or run."""
    return sum(count for status, count in statuses().items() if status in ("queued", "running"))
