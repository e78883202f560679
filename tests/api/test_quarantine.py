"""The quarantine of a machine for programs."""

from collections.abc import Callable

import msgspec
import pytest

from tests.api.conftest import Caller, Machine
from tests.collectors import make_session
from webapp.database import transaction
from webapp.features.sessions import quarantine
from webapp.features.sessions.parsing import reject


@pytest.fixture
def held(machine: Machine) -> str:
    """The address of a quarantine with a good session (refused by an old rule), a bad one and a cut one, in order."""
    records = [make_session(1), make_session(2, linesAdded="three"), make_session(3, note="x" * 70_000)]
    with transaction() as session:
        rejected = [reject(msgspec.json.encode(record), "An old rule.") for record in records]
        quarantine.quarantine(session, machine.id, rejected, None)
    return f"/api/devices/{machine.id}/quarantine"


def list_ids(script: Caller, url: str) -> list[int]:
    return [row["id"] for row in script.get(url).json["quarantined"]]


def test_list_is_newest_first_with_reason_and_text(script: Caller, held: str) -> None:
    told = script.get(held).json
    cut, bad, good = told["quarantined"]
    assert (told["has_more"], told["next_cursor"]) == (False, None)
    assert good["session_id"] == make_session(1)["id"] and good["started_at"].startswith("2026-01-05T09:")
    assert (good["is_whole"], cut["is_whole"]) == (True, False)
    assert '"linesAdded":"three"' in bad["text"] and len(cut["text"]) == 4000
    assert script.get(f"{held}?limit=2").json["has_more"] is True
    cursor = script.get(f"{held}?limit=2").json["next_cursor"]
    assert [row["id"] for row in script.get(f"{held}?limit=2&cursor={cursor}").json["quarantined"]] == [good["id"]]


def test_retry_and_dismiss(script: Caller, held: str) -> None:
    cut, bad, good = list_ids(script, held)
    assert script.post(f"{held}/{good}/retry").json == {"is_accepted": True}
    assert script.post(f"{held}/{good}/retry").status_code == 404
    assert script.post(f"{held}/{bad}/retry").json == {"is_accepted": False}
    refused = script.post(f"{held}/{cut}/retry")
    assert (refused.status_code, refused.json["code"]) == (409, "not_whole")
    assert script.call("DELETE", f"{held}/{cut}").status_code == 204
    assert script.call("DELETE", f"{held}/{cut}").status_code == 404
    (left,) = script.get(held).json["quarantined"]
    assert left["sentence"] == "linesAdded is not acceptable. Expected: integer 0-9007199254740991."
    assert left["reason"] == "Expected `int`, got `str` - at `$.linesAdded`"


@pytest.mark.parametrize("number", ["0", "999999999", "1 OR 1=1", "99999999999999999999", "-1", "x"])
def test_what_is_not_there_is_not_found(script: Caller, held: str, number: str) -> None:
    assert script.post(f"{held}/{number}/retry").status_code == 404
    assert script.call("DELETE", f"{held}/{number}").status_code == 404


def test_bad_questions_are_named(script: Caller, held: str) -> None:
    assert script.get(f"{held}?limit=0").json["detail"] == "limit: integer 1-500"
    assert script.get(f"{held}?cursor=abc").status_code == 400


def test_a_stranger_sees_and_changes_nothing(script: Caller, outsider: Caller, held: str) -> None:
    ids = list_ids(script, held)
    calls: list[Callable[[], object]] = [
        lambda: outsider.get(held).status_code,
        lambda: outsider.post(f"{held}/{ids[0]}/retry").status_code,
        lambda: outsider.call("DELETE", f"{held}/{ids[0]}").status_code,
    ]
    assert [call() for call in calls] == [404, 404, 404]
    assert list_ids(script, held) == ids
