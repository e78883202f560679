"""F12: the machine's clock jumps a day ahead, and back. Nothing stalls, runs twice, or is shown with an age below zero.

Leases and due times are written as times of day. What was written by a clock that has since been set back lies in the
future; a time further ahead than any that this program writes is therefore one of those, and counts as over.
"""

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
import time_machine
from flask import Flask
from sqlalchemy import select

from tests.collectors import ExactCollector, make_session
from tests.devices import factory
from tests.e2e import muster
from tests.e2e.api import Api, make_owner
from tests.e2e.muster import Muster
from tests.jobs.factory import add
from tests.sessions.conftest import read_state
from webapp.adapters.collector_client import CollectorClient
from webapp.blueprints import formatting
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import janitor
from webapp.features.jobs.models import Job
from webapp.features.jobs.running import running
from webapp.features.sessions import leases, rounds
from webapp.lib import clock

pytestmark = pytest.mark.faults

DAY = 86_400
SHIFTED = Path(__file__).parent / "shifted"
ARRIVES_SECONDS = 30


@pytest.fixture
def client() -> Iterator[CollectorClient]:
    """The real client."""
    made = CollectorClient(timeout_seconds=5)
    yield made
    made.close()


@pytest.fixture
def collector(app: Flask, owner: Account) -> Iterator[ExactCollector]:
    """A paired collector with one session."""
    with ExactCollector() as started:
        started.put(make_session(0))
        answer = factory.pair(owner.id, device_id=started.device_id, port=started.port)
        started.pull_secret = answer.pull_secret
        yield started


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_pulls_go_on_after_a_jump(client: CollectorClient, collector: ExactCollector, jump: int) -> None:
    assert rounds.pull_due(client) == 1
    collector.put(make_session(1))
    with time_machine.travel(clock.utc_now() + timedelta(seconds=jump + 120)):
        assert rounds.pull_due(client) == 1
        assert read_state(collector.device_id).problem is None
        assert rounds.pull_due(client) == 0, "it is not due twice"


def test_lease_of_a_clock_that_was_set_back_is_free(client: CollectorClient, collector: ExactCollector) -> None:
    with time_machine.travel(clock.utc_now() + timedelta(days=1)):
        assert leases.claim([collector.device_id])
    assert rounds.pull_due(client) == 1


def test_lease_is_not_free_for_two_minutes_of_skew(collector: ExactCollector) -> None:
    with time_machine.travel(clock.utc_now() + timedelta(seconds=100)):
        assert leases.claim([collector.device_id])
    assert leases.claim([collector.device_id]) == []


def test_job_of_a_clock_that_was_set_back_is_given_on(owner: Account) -> None:
    with time_machine.travel(clock.utc_now() + timedelta(days=1)):
        job = add(owner)
        try:
            with running(job.id, 1):
                raise KeyboardInterrupt  # as good as killed: nothing is written any more
        except KeyboardInterrupt:
            db.session.rollback()
    janitor.requeue_lost()
    assert db.session.scalars(select(Job.attempt).where(Job.id == job.id)).one() == 2


def test_no_age_is_below_zero(app: Flask) -> None:
    with app.test_request_context():
        for ahead in (timedelta(seconds=1), timedelta(hours=5), timedelta(days=1)):
            text = str(formatting.ago(clock.utc_now() + ahead))
            assert "-" not in text.partition(">")[2]
            assert "just now" in text


def test_restarts_with_other_clocks(tmp_path: Path) -> None:
    """The whole product, restarted a day ahead and then a day behind: what is worked on keeps arriving."""
    home = tmp_path / "home"
    home.mkdir()
    api: Api | None = None
    for number, shift in enumerate((0, DAY, -DAY)):
        env = {"PYTHONPATH": str(SHIFTED), "SHIFT_SECONDS": str(shift), "PULL_INTERVAL": "2"}
        with muster.running(home, **env) as hub:
            if api is None:
                api = make_owner(hub)
                code = api.post("/api/pair/codes").json()["code"]
                paired = hub.collector("pair", hub.url, code)
                assert paired.returncode == 0, paired.stdout + paired.stderr
            api = Api(hub.url, api.token)
            work_on(hub, f"/home/ada/code/part_{number}.py", time.time() + shift)
            wait_for(api, {f"part_{done}.py" for done in range(number + 1)})
            states = {job["status"] for job in api.get("/api/jobs").json()["jobs"]}
            assert states <= {"succeeded", "running", "queued"}


def work_on(hub: Muster, path: str, now: float) -> None:
    """Half an hour of heartbeats, as an editor sends them."""
    told = json.loads(hub.collector("status", "--json").stdout)["wakatime"]
    beats = [
        {"entity": path, "type": "file", "category": "coding", "time": now - minute * 60, "is_write": True}
        for minute in range(30, 0, -2)
    ]
    answer = requests.post(
        told["apiUrl"] + "/users/current/heartbeats.bulk", json=beats, auth=(told["apiKey"], ""), timeout=10
    )
    assert answer.status_code in (201, 202), answer.text


def wait_for(api: Api, names: set[str]) -> None:
    """Until the hub has sessions of these files, each session once."""
    end = time.monotonic() + ARRIVES_SECONDS
    while time.monotonic() < end:
        sessions = api.get("/api/sessions?sync_from_collector=false&limit=500").json()["sessions"]
        ids = [session["id"] for session in sessions]
        assert len(ids) == len(set(ids))
        if names <= {session["fileName"] for session in sessions}:
            return
        time.sleep(0.3)
    raise AssertionError(f"{names} are not all there after {ARRIVES_SECONDS} s")
