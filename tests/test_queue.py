"""The queue on a real Valkey with real workers: what is killed or wiped is done all the same, and once."""

import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from flask import Flask
from rq.timeouts import HorseMonitorTimeoutException, JobTimeoutException

from tests.jobs.factory import add
from tests.jobs.workforce import Start, horse_of, workforces
from webapp import create_app, embedded_queue, queue
from webapp.config import Config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import janitor, service
from webapp.features.jobs.models import Job
from webapp.processes.rq_worker import TimeLimit, TookTooLong

TASK = "webapp.features.testing.tasks.write_line"


@pytest.fixture
def config(config: Config, valkey: str) -> Config:
    """The hub's configuration, with a real queue that is empty."""
    redis.Redis.from_url(valkey).flushall()
    return dataclasses.replace(config, redis_url=valkey)


@pytest.fixture
def worker(config: Config) -> Iterator[Start]:
    """Starts a worker process for the hub under test; it is gone after the test."""
    with workforces(config) as start:
        yield start


def test_the_same_ring_waits_once(app: Flask) -> None:
    for _ in range(3):
        assert queue.enqueue(TASK, "id", 1, job_id="pull-due", queue="pulls")
    assert queue.waiting("pulls") == {"pull-due"}
    assert queue.waiting("jobs") == set()


def test_a_message_holds_ids_as_json_and_nothing_else(app: Flask, owner: Account) -> None:
    job = add(owner, task=TASK, args={"path": "/secret-canary"})
    service.ring(job)
    (key,) = queue.connection().keys(f"rq:job:{job.id}-1__*")
    stored = queue.connection().hgetall(key)
    assert b"secret-canary" not in b"".join(stored.values())
    assert stored[b"description"].decode() == f"write_line {job.id}-1"
    assert not any(value.startswith(b"\x80") for value in stored.values()), "a pickle"


def test_without_redis_a_ring_fails_at_once(config: Config) -> None:
    app = create_app(dataclasses.replace(config, redis_url="unix:///nowhere.sock"))
    with app.app_context():
        began = time.monotonic()
        assert not queue.enqueue(TASK, "id", 1, job_id="one")
        assert time.monotonic() - began < 1
        db.engine.dispose()


def test_the_janitor_rings_again_for_what_no_queue_holds(app: Flask, owner: Account) -> None:
    job = add(owner, task=TASK)
    assert janitor.ring_waiting() == 1
    assert janitor.ring_waiting() == 0
    queue.connection().flushall()
    assert janitor.ring_waiting() == 1
    assert queue.waiting("jobs") == {service.ring_id(job.id, 1)}


def test_a_job_is_done_and_leaves_nothing_in_redis(
    app: Flask, owner: Account, worker: Callable[[], object], tmp_path: Path
) -> None:
    job = add(owner, task=TASK, args={"path": str(tmp_path / "lines")})
    service.ring(job)
    worker()
    assert ended(owner, job).status == "succeeded"
    assert (tmp_path / "lines").read_text() == "1\n"
    until(lambda: queue.connection().keys("rq:job:*") == [])


def test_an_unexpected_error_ends_the_job_and_not_the_worker(
    app: Flask, owner: Account, worker: Callable[[], object], tmp_path: Path
) -> None:
    worker()
    bad = add(owner, task="webapp.features.testing.tasks.fail_unexpectedly")
    good = add(owner, task=TASK, args={"path": str(tmp_path / "lines")})
    assert ended(owner, bad).status == "failed"
    assert ended(owner, good).status == "succeeded"


def test_only_tasks_of_the_hub_run(app: Flask, worker: Callable[[], object], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    queue.enqueue("os.mkdir", str(canary), job_id="evil")
    worker()
    until(lambda: queue.waiting("jobs") == set())
    (key,) = queue.connection().keys("rq:job:evil__*")
    until(lambda: queue.connection().hget(key, "status") == b"failed")
    assert not canary.exists()


def test_a_worker_killed_in_the_middle_is_told_and_the_effect_happens_once(
    app: Flask, owner: Account, worker: Callable[[], object], tmp_path: Path
) -> None:
    job = add(owner, task=TASK, args={"path": str(tmp_path / "lines"), "first_seconds": 3})
    service.ring(job)
    worker()
    until(lambda: find(owner, job).phase == "writing")
    horse = horse_of(find(owner, job))
    horse.parent().send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs([horse], timeout=2)
    assert not alive, "the work-horse outlived its worker"
    done = ended(owner, job)
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert [event.kind for event in done.events] == ["queued", "started", "lost", "started", "succeeded"]
    time.sleep(2)
    assert (tmp_path / "lines").read_text() == "2\n"


def test_a_stopped_worker_that_comes_back_writes_nothing(
    app: Flask, owner: Account, worker: Callable[[], object], tmp_path: Path
) -> None:
    job = add(owner, task=TASK, args={"path": str(tmp_path / "lines"), "first_seconds": 0.5})
    service.ring(job)
    worker()
    until(lambda: find(owner, job).phase == "writing")
    horse = horse_of(find(owner, job))
    horse.suspend()
    worker()
    done = ended(owner, job)
    horse.resume()
    psutil.wait_procs([horse], timeout=10)
    assert (done.status, done.attempt) == ("succeeded", 2)
    later = find(owner, job)
    assert (later.finished_at, [event.attempt for event in later.events]) == (done.finished_at, [1, 1, 1, 2, 2])


def test_wiping_redis_loses_no_job(app: Flask, owner: Account, worker: Callable[[], object], tmp_path: Path) -> None:
    jobs = [add(owner, task=TASK, args={"path": str(tmp_path / "lines"), "name": f"{n}-"}) for n in range(8)]
    for job in jobs:
        service.ring(job)
    queue.connection().flushall()
    worker()
    until(lambda: find(owner, jobs[0]).status == "succeeded")
    queue.connection().flushall()
    assert {ended(owner, job).status for job in jobs} == {"succeeded"}
    assert sorted((tmp_path / "lines").read_text().split()) == sorted(f"{n}-1" for n in range(8))


def test_a_worker_that_is_told_to_stop_leaves_no_process_and_no_sign_of_life(
    app: Flask, worker: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = worker()
    until(lambda: roles() == {"worker", "scheduler"})
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.terminate()
    assert process.wait(10) == 0
    assert not any(child.is_running() and child.status() != "zombie" for child in children)
    assert roles() == set()


def test_a_live_socket_is_adopted_and_a_stale_one_replaced(tmp_path: Path) -> None:
    first = embedded_queue.start(tmp_path)
    assert first is not None
    assert embedded_queue.start(tmp_path) is None
    first.kill()
    first.wait()
    assert embedded_queue.socket_path(tmp_path).exists(), "kill -9 leaves the socket"
    second = embedded_queue.start(tmp_path)
    assert second is not None
    assert embedded_queue.socket_path(tmp_path).stat().st_mode & 0o077 == 0
    second.terminate()
    second.wait()


def test_what_it_cannot_read_it_forgets(tmp_path: Path) -> None:
    folder = tmp_path / "queue" / "appendonlydir"
    folder.mkdir(parents=True)
    (tmp_path / "queue").chmod(0o700)
    (folder / "appendonly.aof.manifest").write_text("not a manifest\n")
    process = embedded_queue.start(tmp_path)
    assert process is not None
    process.terminate()
    process.wait()


def test_a_data_directory_with_a_long_path_has_its_socket_elsewhere(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 90) / "data"
    path = embedded_queue.socket_path(deep)
    assert len(os.fsencode(path)) < 104 and deep not in path.parents
    process = embedded_queue.start(deep)
    assert process is not None
    assert path.parent.stat().st_mode & 0o077 == 0
    process.terminate()
    process.wait()
    path.parent.chmod(0o755)
    with pytest.raises(embedded_queue.QueueError, match="chmod 700"):
        embedded_queue.start(deep)
    path.parent.rmdir()


def find(account: Account, job: Job) -> Job:
    """The job as it is now."""
    db.session.rollback()
    return service.get_job(account.id, job.id)


def ended(account: Account, job: Job, seconds: float = 60) -> Job:
    """The job once it has finished; fails if it does not."""
    until(lambda: find(account, job).is_finished, seconds)
    return find(account, job)


def roles() -> set[str]:
    """What kinds of process live."""
    db.session.rollback()
    return {beat.role for beat in service.list_processes()}


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until `holds`; fails if it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)


def test_looking_after_a_long_job_is_not_mistaken_for_its_time_limit() -> None:
    with pytest.raises(HorseMonitorTimeoutException), TimeLimit(1, HorseMonitorTimeoutException):
        time.sleep(1.5)
    with pytest.raises(TookTooLong), TimeLimit(1, JobTimeoutException):
        time.sleep(1.5)
