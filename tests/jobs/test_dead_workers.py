"""What a dead worker ran goes on at once, what it left in Redis is swept, and Redis may go while a job runs."""

import dataclasses
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from flask import Flask
from rq.executions import Execution

from tests.faults.forgetful_valkey import ForgetfulValkey
from tests.jobs.factory import add
from tests.jobs.workforce import Start, horse_of, workforces
from webapp import queue
from webapp.config import Config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import janitor, service
from webapp.features.jobs.models import Job
from webapp.features.jobs.running import LEASE_SECONDS, running
from webapp.lib import clock

WRITE = "webapp.features.testing.tasks.write_line"


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


@pytest.mark.parametrize("victim", ["worker", "horse"])
def test_what_a_killed_process_ran_goes_on_long_before_its_lease_ends(
    app: Flask, owner: Account, worker: Start, tmp_path: Path, victim: str
) -> None:
    job = add_ringing(owner, tmp_path, seconds=60)
    worker(TEST_LEASES="production")
    until(lambda: find(owner, job).phase == "writing")
    horse, killed_at = horse_of(find(owner, job)), clock.utc_now()
    (horse.parent() if victim == "worker" else horse).kill()
    until(lambda: find(owner, job).attempt == 2)
    lost = find(owner, job).events[2]
    assert (lost.kind, lost.message) == ("lost", "Its worker was killed. Trying again: attempt 2 of 3.")
    assert (lost.at - killed_at).total_seconds() < LEASE_SECONDS
    until(lambda: find(owner, job).status == "succeeded")


def test_a_job_that_outlasts_the_stop_of_its_worker_goes_on_at_once_in_the_next(
    app: Flask, owner: Account, worker: Start, tmp_path: Path
) -> None:
    job = add_ringing(owner, tmp_path, seconds=60)
    first = worker()
    until(lambda: find(owner, job).phase == "writing")
    first.terminate()
    assert first.wait(20) == 0
    assert find(owner, job).status == "queued"
    assert find(owner, job).events[-1].message == "Its worker was stopped. Trying again: attempt 2 of 3."
    worker()
    until(lambda: find(owner, job).status == "succeeded")


def test_a_job_goes_on_while_redis_is_away(
    config: Config, app: Flask, owner: Account, worker: Start, tmp_path: Path
) -> None:
    with ForgetfulValkey() as valkey:
        app.extensions["muster-redis"] = queue.connect(dataclasses.replace(config, redis_url=valkey.url))
        job = add_ringing(owner, tmp_path, seconds=4)
        worker(REDIS_URL=valkey.url)
        until(lambda: find(owner, job).phase == "writing")
        valkey.kill()
        until(lambda: find(owner, job).is_finished)
        assert (find(owner, job).status, find(owner, job).attempt) == ("succeeded", 1)
        valkey.start()
        later = add_ringing(owner, tmp_path)
        until(lambda: find(owner, later).is_finished)


def test_whoever_registered_is_told_of_a_dead_worker(app: Flask) -> None:
    told: list[str] = []
    service.on_worker_death(told.append)
    try:
        janitor.bury_worker("host:1:jobs")
    finally:
        service.let_go_of.remove(told.append)
    assert told == ["host:1:jobs"]


def test_only_the_jobs_of_the_dead_worker_are_given_on(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = add(owner), add(owner)
    monkeypatch.setattr(service, "_worker", "host:1:jobs")
    with running(mine.id, 1):
        monkeypatch.setattr(service, "_worker", "host:2:jobs")
        with running(other.id, 1):
            assert [janitor.bury_worker("host:1:jobs") for _ in range(2)] == [1, 0]
            assert (find(owner, mine).status, find(owner, other).status) == ("queued", "running")
    assert (find(owner, mine).status, find(owner, other).status) == ("queued", "succeeded")


def test_a_ring_that_a_dead_worker_took_along_is_made_again(app: Flask, owner: Account, tmp_path: Path) -> None:
    job = add_ringing(owner, tmp_path)
    ring = service.ring_id(job.id, 1)
    take_along("jobs")
    assert queue.waiting("jobs") == set() and queue.noted("jobs") == {ring}
    assert janitor.sweep_rings() == 0, "its attempt is not over"
    assert janitor.ring_waiting() == 1
    assert queue.waiting("jobs") == {ring}


def test_rings_of_attempts_that_are_over_are_swept_wherever_they_are(
    app: Flask, owner: Account, tmp_path: Path
) -> None:
    waiting, taken, started, living = (add_ringing(owner, tmp_path) for _ in range(4))
    jobs = queue.open_queue(queue.connection(), "jobs")
    rings = jobs.job_ids
    jobs.remove(rings[1])
    queue.connection().rpush(jobs.intermediate_queue_key, rings[1], rings[1])
    jobs.remove(rings[2])
    with queue.connection().pipeline() as line:
        Execution.create(jobs.fetch_job(rings[2]), ttl=600, pipeline=line)
        line.execute()
    queue.enqueue(WRITE, "id", 1, job_id="pull-due", queue="jobs")
    for job in (waiting, taken, started):
        service.cancel_job(owner.id, job.id)
    assert janitor.sweep_rings() == 3
    assert queue.noted("jobs") == {service.ring_id(living.id, 1), "pull-due"}
    assert all(0 < queue.connection().ttl(f"rq:job:{ring}") <= queue.KEEP_SWEPT_SECONDS for ring in rings[:3])
    assert janitor.sweep_rings() == 0


def test_a_queue_full_of_stale_rings_keeps_nobody_waiting(
    app: Flask, owner: Account, worker: Start, tmp_path: Path
) -> None:
    for number in range(3000):
        assert queue.connection().rpush("rq:queue:jobs", f"00000000-0000-4000-8000-{number:012}-1")
    job = add_ringing(owner, tmp_path)
    worker()
    until(lambda: find(owner, job).status == "succeeded")
    until(lambda: queue.noted("jobs") == set())


def test_two_rings_for_one_attempt_do_not_disturb_each_other(
    app: Flask, owner: Account, worker: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    job = add_ringing(owner, tmp_path, seconds=1)
    take_along("jobs")
    assert janitor.ring_waiting() == 1
    opened = queue.open_queue(queue.connection(), "jobs")
    queue.connection().lmove(opened.intermediate_queue_key, opened.key)
    worker(TEST_QUEUES="jobs jobs")
    until(lambda: find(owner, job).is_finished)
    until(lambda: queue.noted("jobs") == set())
    assert (find(owner, job).status, find(owner, job).attempt) == ("succeeded", 1)
    assert "Traceback" not in capfd.readouterr().err


def test_a_ring_that_nobody_answers_does_not_stay_in_redis_for_ever(app: Flask, owner: Account, tmp_path: Path) -> None:
    job = add_ringing(owner, tmp_path)
    (key,) = queue.connection().keys(f"rq:job:{service.ring_id(job.id, 1)}__*")
    assert 0 < queue.connection().ttl(key) <= queue.KEEP_LOST_SECONDS


def test_a_stopped_worker_that_wakes_after_its_lease_has_no_effect(
    app: Flask, owner: Account, worker: Start, tmp_path: Path
) -> None:
    job = add_ringing(owner, tmp_path, seconds=0.5)
    worker()
    until(lambda: find(owner, job).phase == "writing")
    horse = horse_of(find(owner, job))
    stopped = (horse.parent(), horse)
    for process in stopped:
        process.send_signal(signal.SIGSTOP)
    worker()
    until(lambda: find(owner, job).is_finished)
    done = find(owner, job)
    assert (done.status, done.attempt) == ("succeeded", 2)
    assert done.events[2].message == "Its worker was lost. Trying again: attempt 2 of 3."
    for process in stopped:
        process.send_signal(signal.SIGCONT)
    until(lambda: not horse.is_running())
    later = find(owner, job)
    assert (later.finished_at, len(later.events)) == (done.finished_at, len(done.events))


def add_ringing(account: Account, folder: Path, seconds: float = 0) -> Job:
    """A job that lasts so long in its first attempt, rung for."""
    job = add(account, task=WRITE, args={"path": str(folder / "lines"), "first_seconds": seconds})
    service.ring(job)
    return job


def take_along(name: str) -> None:
    """What a worker does first with a ring; then it is killed."""
    opened = queue.open_queue(queue.connection(), name)
    queue.connection().lmove(opened.key, opened.intermediate_queue_key)


def find(account: Account, job: Job) -> Job:
    """The job as it is now."""
    db.session.rollback()
    return service.get_job(account.id, job.id)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Waits until `holds`; fails if it does not come."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
