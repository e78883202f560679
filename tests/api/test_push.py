"""The push road of the existing editor extension: its sessions as it sends them, under a device of their own."""

from typing import Any

import pytest

from tests.api.conftest import Caller, Machine
from tests.api.pushing import make_session, push


def test_pushed_session_is_stored_as_it_came(script: Caller) -> None:
    answer = push(script, note="kept though unknown")
    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["id"] == "s-1"
    page = script.get("/api/sessions?sync_from_collector=false").json
    assert page is not None
    (session,) = page["sessions"]
    assert session["filePath"] == "file:///home/ada/my%20code/app.py"
    assert (session["note"], session["totalDuration"]) == ("kept though unknown", 300)
    devices = script.get("/api/devices").json
    assert devices is not None
    assert [(d["id"], d["kind"]) for d in devices["devices"]] == [(answer.json["device_id"], "editor")]


def test_session_that_still_runs_may_lack_its_end(script: Caller) -> None:
    session = make_session(isActive=True)
    del session["sessionEndTime"]
    answer = script.post(
        "/api/sessions", json={"session": session, "systemInfo": {"editor": "cursor", "platform": "x"}}
    )
    assert answer.status_code == 201
    page = script.get("/api/sessions").json
    assert page is not None
    assert page["sessions"][0]["sessionEndTime"] is None


def test_session_that_grows_is_one_session(script: Caller) -> None:
    assert push(script, totalDuration=60).status_code == 201
    assert push(script, totalDuration=120).status_code == 201
    page = script.get("/api/sessions").json
    assert page is not None
    assert [session["totalDuration"] for session in page["sessions"]] == [120]


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"id": ""}, 422, "session.id"),
        ({"id": "x" * 65}, 422, "session.id"),
        ({"totalDuration": -1}, 422, "session.totalDuration"),
        ({"totalDuration": 10**30}, 422, "session.totalDuration"),
        ({"totalDuration": "5"}, 422, "session.totalDuration"),
        ({"sessionStartTime": "yesterday"}, 422, "session.sessionStartTime"),
        ({"sessionStartTime": "1601-01-01T00:00:00Z"}, 422, None),
        ({"sessionStartTime": "9999-01-01T00:00:00Z", "sessionEndTime": None}, 422, None),
        ({"sessionEndTime": "2026-01-01T00:00:00Z"}, 422, None),
        ({"fileName": "a\x00b"}, 422, "session.fileName"),
        ({"filePath": "x" * 70_000}, 422, "session.filePath"),
    ],
)
def test_bad_session_is_refused_with_its_reason(
    script: Caller, change: dict[str, Any], status: int, field: str | None
) -> None:
    answer = push(script, **change)
    assert answer.status_code == status
    assert answer.json is not None
    assert answer.json.get("field") == field or field is None
    page = script.get("/api/sessions").json
    assert page is not None
    assert page["sessions"] == []


def test_missing_field_is_named(script: Caller) -> None:
    session = make_session()
    del session["language"]
    answer = script.post("/api/sessions", json={"session": session, "systemInfo": {"editor": "vscode", "platform": ""}})
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["detail"] == "session.language: missing; text of at most 128 characters"


def test_only_a_person_pushes(anybody: Caller, machine: Machine) -> None:
    assert push(anybody).status_code == 401
    assert push(machine.caller).status_code == 403


def test_stranger_sees_nothing_of_it(script: Caller, outsider: Caller) -> None:
    pushed = push(script).json
    assert pushed is not None
    seen = outsider.get("/api/sessions").json
    assert seen is not None
    assert seen["sessions"] == []
    assert outsider.get(f"/api/sessions?device={pushed['device_id']}").status_code == 404
