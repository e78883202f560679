"""F27: workers are forked from a parent whose database connections are open and busy. No connection is shared.

Two connections on one PostgreSQL socket read each other's answers; two on one SQLite file lose their locks. So the
parent keeps its connections open, with a transaction in one, while work-horses run 60 jobs (500 with
MUSTER_FAULTS=full), and writes and reads in between. Also on PostgreSQL: TEST_DATABASE=postgresql.
"""

import dataclasses
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from flask import Flask
from sqlalchemy import func, select, text

from tests.faults.ledger_watch import Watch
from tests.jobs import tasks
from tests.jobs.factory import add
from webapp.config import Config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import service
from webapp.features.jobs.models import Job
from webapp.processes import rq_worker

pytestmark = pytest.mark.faults
JOBS = 500 if os.environ.get("MUSTER_FAULTS") == "full" else 60
WORKERS = 2
TASK = "webapp.features.testing.tasks.have_effect"
TROUBLE = ("Error", "Traceback", "decryption", "malformed")


@pytest.fixture
def config(config: Config, valkey: str) -> Config:
    """A hub with a queue."""
    redis.Redis.from_url(valkey).flushall()
    return dataclasses.replace(config, redis_url=valkey)


@pytest.fixture
def workers(app: Flask, owner: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Workers that were forked while this process has open connections; what they say goes to `worker.log`."""
    monkeypatch.setitem(sys.modules, "webapp.features.testing.tasks", tasks)
    with transaction() as session:
        tasks.EFFECTS.create(session.connection())
    db.session.execute(text("SELECT 1"))  # a connection that is checked out, with an open read transaction
    db.engine.connect().close()  # and one that waits in the pool, for whoever asks first
    assert db.engine.pool.checkedout() == 1  # type: ignore[attr-defined]
    pids = [fork_worker(app, tmp_path / "worker.log") for _ in range(WORKERS)]
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    for pid in pids:
        os.waitpid(pid, 0)


def test_f27_forks_share_no_connection(owner: Account, workers: list[int], config: Config, tmp_path: Path) -> None:
    began = time.monotonic()
    for number in range(JOBS):
        service.ring(add(owner, task=TASK, args={"seconds": 0}, title=f"job {number}"))
    watch = Watch(redis.Redis.from_url(config.redis_url or ""))
    while watch.look():
        write_and_read(owner.id)
        assert time.monotonic() < began + 20 + JOBS, f"jobs are left: {watch}"
    db.session.rollback()
    print(f"\nF27 {db.engine.dialect.name} jobs={JOBS} seconds={time.monotonic() - began:.0f}")
    counted = select(Job.status, Job.attempt, func.count()).group_by(Job.status, Job.attempt)
    assert [tuple(row) for row in db.session.execute(counted)] == [("succeeded", 1, JOBS)]
    assert db.session.scalar(select(func.count(tasks.EFFECTS.c.job_id.distinct()))) == JOBS
    assert all(psutil.pid_exists(pid) for pid in workers)
    said = (tmp_path / "worker.log").read_text()
    assert not [line for line in said.splitlines() if any(word in line for word in TROUBLE)], said


def write_and_read(account_id: int) -> None:
    """The parent uses its connections while the children use theirs."""
    with transaction() as session:
        session.execute(text("UPDATE accounts SET timezone = timezone WHERE id = :id"), {"id": account_id})
    assert db.session.scalar(select(Account.id).where(Account.id == account_id)) == account_id
    time.sleep(0.02)


def fork_worker(app: Flask, log: Path) -> int:
    """Forks as the workforce does, but without letting go of anything first."""
    pid = os.fork()
    if pid:
        return pid
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
        logging.basicConfig(force=True)
        rq_worker.run_queue(app, "jobs")
    finally:
        os._exit(0)
