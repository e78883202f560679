"""A long pull while the worker that does it is killed again and again. In the end the hub has what the collector has.

The job's story says each time what happened, as sentences, and the job's page shows it. 4,000 sessions and 5 kills;
20,000 and 15 kills with MUSTER_FAULTS=full. MUSTER_SEED replays the moments of the kills.
"""

import dataclasses
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from tests.collectors import ExactCollector, Json, make_session
from tests.devices import factory
from tests.jobs.workforce import is_alive, worker_pid, workforces
from tests.sessions.conftest import by_id, list_stored
from webapp.config import Config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import service
from webapp.features.jobs.models import Job
from webapp.features.sessions import service as sessions
from webapp.features.sessions.models import StoredSession

pytestmark = pytest.mark.faults
SESSIONS, KILLS = (20_000, 15) if os.environ.get("MUSTER_FAULTS") == "full" else (4_000, 5)
LIMIT_SECONDS = 600
STARTED = re.compile(r"Started by [^ ]+:\d+:jobs\.")


class SlowCollector(ExactCollector):
    """Small pages, and some time for each: a pull of them takes long enough to be killed on the way."""

    def export(self, asked: Json) -> Json:
        time.sleep(0.05)
        return super().export(asked)


@pytest.fixture
def config(config: Config, valkey: str) -> Config:
    """A hub with a queue."""
    redis.Redis.from_url(valkey).flushall()
    return dataclasses.replace(config, redis_url=valkey, is_discovery_enabled=False)


@pytest.fixture
def collector(app: Flask, owner: Account) -> Iterator[ExactCollector]:
    """A paired collector with a long history."""
    with SlowCollector() as made:
        made.most_per_page = SESSIONS // 100
        made.put(*(make_session(number) for number in range(SESSIONS)))
        answer = factory.pair(owner.id, device_id=made.device_id, port=made.port)
        made.pull_secret = answer.pull_secret
        yield made


def test_a_pull_is_complete_however_often_its_worker_is_killed(
    owner: Account, collector: ExactCollector, config: Config, client_of: Callable[[Account], FlaskClient]
) -> None:
    seed = int(os.environ.get("MUSTER_SEED") or time.time_ns() % 2**32)
    dice, owner_id, began = random.Random(seed), owner.id, time.monotonic()
    job = sessions.request_pull(owner_id, collector.device_id)
    with workforces(config) as start:
        start(TEST_LEASES="production", COLLECTOR_DISCOVERY_ENABLED="0")
        for kill in range(1, KILLS + 1):
            stored = count_stored(collector.device_id)
            wait_until(lambda seen=stored, attempt=kill: is_under_way(owner_id, job, attempt, seen))
            time.sleep(dice.uniform(0.0, 0.3))
            pid = worker_pid(find(owner_id, job))
            assert is_alive(pid)
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: find(owner_id, job).is_finished)
    ended = find(owner_id, job)
    print(
        f"\nlong pull seed={seed} sessions={SESSIONS} kills={KILLS} attempts={ended.attempt}"
        f" seconds={time.monotonic() - began:.0f}"
    )
    assert ended.status == "succeeded", ended.error
    assert list_stored(collector.device_id) == by_id(collector.sessions)
    story = [event.message for event in ended.events]
    check_story(story, ended.attempt)
    shown = client_of(owner).get(f"/jobs/{ended.id}").get_data(as_text=True)
    assert [message for message in story if message not in shown] == []


def check_story(story: list[str], attempts: int) -> None:
    """Waiting; started and killed, over and over; started and done. Nothing that is no sentence."""
    assert attempts == KILLS + 1
    assert (story[0], story[-1]) == ("Waiting for a worker.", "Done.")
    assert all(STARTED.fullmatch(message) for message in story[1::2])
    told = [
        re.fullmatch(r"Its worker was killed\. Trying again: attempt (\d+) of \d+\.", text) for text in story[2:-1:2]
    ]
    assert [found and int(found[1]) for found in told] == list(range(2, attempts + 1))


def is_under_way(account_id: int, job: Job, attempt: int, stored: int) -> bool:
    """Whether this attempt runs and has stored something."""
    now = find(account_id, job)
    assert not now.is_finished, f"it ended before all kills: {now.status}, {now.error}"
    device_id: Any = job.device_id
    return (now.status, now.attempt) == ("running", attempt) and now.progress > 0 and count_stored(device_id) > stored


def count_stored(device_id: str) -> int:
    """How many sessions of the device the hub has."""
    db.session.rollback()
    wanted = select(func.count()).select_from(StoredSession).where(StoredSession.device_id == device_id)
    return db.session.scalar(wanted) or 0


def find(account_id: int, job: Job) -> Job:
    """The job as it is now."""
    db.session.rollback()
    return service.get_job(account_id, job.id)


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits until `holds`; fails if it does not come."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
