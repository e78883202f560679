"""`/api/devices/{id}/coverage`: what is proven of each day, having it compared, and having holes filled."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.api.conftest import Caller, Machine
from webapp.database import transaction
from webapp.features.sessions.models import CoverageState, CoveredDay, PullState
from webapp.lib import clock

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = date(2026, 3, 10)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's clock stands at noon."""
    monkeypatch.setattr(clock, "utc_now", lambda: NOW)


@pytest.fixture
def path(machine: Machine) -> str:
    """The coverage of a machine with a proven day, one on which it was off, and a hole."""
    with transaction() as session:
        hole = date(2026, 3, 8)
        facts = {"zone": "UTC", "since_at": NOW - timedelta(days=5), "checked_at": NOW, "checked_all_at": NOW}
        session.add(CoverageState(device_id=machine.id, hole_from=hole, refill_due_at=NOW, **facts))
        session.add(PullState(device_id=machine.id, due_at=NOW, cursor="c", last_pulled_at=NOW))
        complete = {"status": "complete", "sessions": 3, "held": 2, "quarantined": 1, "kept": 4, "ran_seconds": 60}
        why = {"reason": "1 of 2 sessions are here.", "refill_due_at": NOW, "hole_since_at": NOW}
        for row in (
            {"day": TODAY, **complete},
            {"day": date(2026, 3, 9), "status": "off"},
            {"day": hole, "status": "hole", "sessions": 2, "held": 1, **why},
        ):
            session.add(CoveredDay(device_id=machine.id, checked_at=NOW, **row))
    return f"/api/devices/{machine.id}/coverage"


def test_each_day_says_what_is_proven(script: Caller, path: str) -> None:
    answer = script.get(f"{path}?from=2026-03-07&to=2026-03-10")
    assert answer.status_code == 200
    told = answer.json
    assert (told["zone"], told["since"], told["checked_at"], told["problem"]) == (
        "UTC", "2026-03-05T12:00:00Z", "2026-03-10T12:00:00Z", None,
    )  # fmt: skip
    assert [(day["day"], day["status"]) for day in told["days"]] == [
        ("2026-03-07", "unknown"),
        ("2026-03-08", "hole"),
        ("2026-03-09", "off"),
        ("2026-03-10", "complete"),
    ]
    assert told["days"][1] == {
        "day": "2026-03-08", "status": "hole", "sessions": 2, "held": 1, "quarantined": 0, "kept": 0, "ran_seconds": 0,
        "reason": "1 of 2 sessions are here.", "next_try_at": "2026-03-10T12:00:00Z",
        "checked_at": "2026-03-10T12:00:00Z",
    }  # fmt: skip
    assert [told["days"][3][name] for name in ("sessions", "held", "quarantined", "kept", "ran_seconds")] == [
        3, 2, 1, 4, 60,
    ]  # fmt: skip


def test_ninety_days_unless_told(script: Caller, path: str) -> None:
    days = script.get(path).json["days"]
    assert (len(days), days[0]["day"], days[-1]["day"]) == (90, "2025-12-11", "2026-03-10")


def test_a_span_that_cannot_be_is_refused(script: Caller, path: str) -> None:
    assert script.get(f"{path}?from=2026-03-07&to=2026-03-01").status_code == 422
    assert script.get(f"{path}?from=0001-01-01").status_code == 422
    assert script.get(f"{path}?from=0001-01-01&to=0001-01-05").status_code == 200
    assert script.get(f"{path}?to=9999-12-31").status_code == 200
    assert script.get(f"{path}?from=then").status_code == 400


def test_a_machine_that_was_never_pulled_claims_nothing(script: Caller, machine: Machine) -> None:
    told = script.get(f"/api/devices/{machine.id}/coverage").json
    assert told["checked_at"] is None
    assert {day["status"] for day in told["days"][:-1]} == {"unknown"}


def test_check_and_refill_answer_with_their_job(script: Caller, path: str) -> None:
    for call, kind in (("check", "sessions.pull_device"), ("refill", "sessions.refill")):
        answer = script.post(f"{path}/{call}")
        assert answer.status_code == 202
        job = script.get(f"/api/jobs/{answer.json['job_id']}").json
        assert job["type"] == kind
        assert script.post(f"{path}/{call}").json == answer.json, "asking twice is asking once"


def test_nothing_to_fill_is_a_conflict(script: Caller, machine: Machine) -> None:
    answer = script.post(f"/api/devices/{machine.id}/coverage/refill")
    assert (answer.status_code, answer.json["code"]) == (409, "no_holes")


def test_others_see_nothing(outsider: Caller, anybody: Caller, path: str) -> None:
    assert outsider.get(path).status_code == outsider.post(f"{path}/check").status_code == 404
    assert outsider.post(f"{path}/refill").status_code == 404
    assert anybody.get(path).status_code == 401
