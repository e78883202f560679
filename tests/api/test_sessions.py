"""Stored sessions over the API: at once, byte for byte, paged, filtered; pulls are asked for and never awaited."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.api.conftest import Caller, Machine
from tests.api.pushing import push
from webapp import queue
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.jobs.models import Job
from webapp.features.sessions.models import PullState, StoredSession
from webapp.lib import clock

Rung = list[tuple[Any, ...]]


@pytest.fixture
def rung(monkeypatch: pytest.MonkeyPatch) -> Rung:
    """What was rung for, in place of a Redis."""
    calls: Rung = []

    def enqueue(task: str, *args: Any, **_given: Any) -> bool:
        calls.append((task, *args))
        return True

    monkeypatch.setattr(queue, "enqueue", enqueue)
    return calls


def set_state(machine: Machine, **values: Any) -> None:
    """Where the pull of `machine` stands: by default pulled a minute ago and due in a minute."""
    now = clock.utc_now()
    minute = timedelta(minutes=1)
    state = {"due_at": now + minute, "last_pulled_at": now - minute, "failures": 0, "attempt": 1, "is_resetting": False}
    with transaction() as session:
        session.merge(PullState(device_id=machine.id, **(state | values)))


def read(caller: Caller, query: str = "") -> dict[str, Any]:
    answer = caller.get(f"/api/sessions?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.json is not None
    found: dict[str, Any] = answer.json
    return found


def ids(page: dict[str, Any]) -> list[str]:
    return [session["id"] for session in page["sessions"]]


def test_record_is_served_as_the_bytes_that_came(script: Caller) -> None:
    assert push(script).status_code == 201
    record = b'{"id":"s-1", "odd" : 1.50,\n"x":"\\u00e9"}'
    with transaction() as session:
        session.execute(update(StoredSession).values(record=record))
    assert record in script.get("/api/sessions").data


def test_sessions_are_paged_newest_first_without_loss(script: Caller) -> None:
    for minute in range(7):
        at = f"2026-01-05T13:0{minute // 2}:00Z"  # pairs share their start: ties across a page's edge
        push(script, id=f"s-{minute}", sessionStartTime=at, sessionEndTime="2026-01-05T13:20:00Z")
    seen: list[str] = []
    query = "limit=2"
    while True:
        page = read(script, query)
        seen += ids(page)
        if not page["has_more"]:
            break
        query = f"limit=2&cursor={page['next_cursor']}"
    assert page["next_cursor"] is None
    assert seen == [f"s-{n}" for n in (6, 5, 4, 3, 2, 1, 0)]


def test_sessions_are_filtered(script: Caller) -> None:
    device = push(script).json
    assert device is not None
    other = push(script, editor="cursor", id="s-2", language="SQL", projectName="lake").json
    assert other is not None
    later = {"sessionStartTime": "2026-01-06T09:00:00Z", "sessionEndTime": "2026-01-06T09:05:00Z"}
    push(script, id="s-3", **later)
    assert ids(read(script, "language=SQL")) == ["s-2"]
    assert ids(read(script, "project=lake")) == ["s-2"]
    assert ids(read(script, f"device={other['device_id']}")) == ["s-2"]
    assert ids(read(script, "from=2026-01-06T09:00:00Z")) == ["s-3"]
    assert set(ids(read(script, "to=2026-01-06T10:00:00%2B01:00"))) == {"s-1", "s-2"}
    assert ids(read(script, "from=2026-01-06T09:00:00.001Z")) == []


def test_reading_has_a_machine_that_is_not_fresh_pulled_soon(script: Caller, machine: Machine, rung: Rung) -> None:
    set_state(machine)
    (fresh,) = read(script)["freshness"]
    assert (fresh["device_id"], fresh["is_pull_asked"]) == (machine.id, True)
    assert fresh["state"]["sentence"]
    assert [task for task, *_ in rung] == ["webapp.features.sessions.tasks.pull_due"]
    assert db.session.get_one(PullState, machine.id).due_at <= clock.utc_now()
    assert db.session.scalars(select(Job)).all() == []


@pytest.mark.parametrize("how", ["fresh", "failing", "pulled now", "not wanted", "other page", "stranger"])
def test_reading_leaves_other_machines_at_their_time(
    script: Caller, outsider: Caller, machine: Machine, rung: Rung, how: str
) -> None:
    now = clock.utc_now()
    changes: dict[str, dict[str, Any]] = {
        "fresh": {"last_pulled_at": now - timedelta(seconds=1)},
        "failing": {"failures": 2, "problem": "timeout", "problem_detail": "It did not answer."},
        "pulled now": {"lease_expires_at": now + timedelta(minutes=1)},
    }
    for number in range(2):
        push(script, id=f"s-{number}")
    cursor = read(script, "limit=1&sync_from_collector=false")["next_cursor"]
    set_state(machine, **changes.get(how, {}))
    query = {"not wanted": "sync_from_collector=false", "other page": f"limit=1&cursor={cursor}"}.get(how, "")
    read(outsider if how == "stranger" else script, query)
    assert rung == []
    assert db.session.get_one(PullState, machine.id).due_at > now


def test_sync_answers_with_the_job_that_does_it(script: Caller, machine: Machine, rung: Rung) -> None:
    answer = script.post("/api/sessions/sync?since=2026-01-01T00:00:00Z")
    assert answer.status_code == 202
    assert answer.json is not None
    job = script.get(f"/api/jobs/{answer.json['job_id']}").json
    assert job is not None
    assert (job["type"], job["status"]) == ("sessions.pull_all", "queued")
    one = script.post(f"/api/sessions/sync?device={machine.id}").json
    assert one is not None
    again = script.post(f"/api/sessions/sync?device={machine.id}").json
    assert one == again != answer.json


def test_sync_of_an_unpaired_machine_is_a_conflict(script: Caller, machine: Machine, rung: Rung) -> None:
    script.call("DELETE", f"/api/devices/{machine.id}")
    assert script.post(f"/api/sessions/sync?device={machine.id}").status_code == 409
    assert rung == []


def test_collector_status_says_where_each_machine_is(script: Caller, outsider: Caller, machine: Machine) -> None:
    told = script.get("/api/sessions/collector-status").json
    assert told is not None
    (status,) = told["devices"]
    assert (status["device_id"], status["is_connected"], status["endpoint"]) == (machine.id, False, None)
    assert outsider.get("/api/sessions/collector-status").json == {"devices": []}


def test_stranger_can_neither_read_nor_pull_a_device(outsider: Caller, machine: Machine, rung: Rung) -> None:
    assert outsider.get(f"/api/sessions?device={machine.id}").status_code == 404
    assert outsider.post(f"/api/sessions/sync?device={machine.id}").status_code == 404
    assert rung == []
