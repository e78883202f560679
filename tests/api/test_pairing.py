"""A person makes a code, a machine claims it; nobody learns anything by guessing."""

import pytest

from tests.api.conftest import Caller, Machine

CLAIM = {
    "deviceId": "3f0d6d0e-5a43-4c05-9d0b-6a2f6f1f6b11",
    "name": "desk",
    "platform": "linux",
    "version": "0.1.0",
    "port": 8001,
}


def make_code(script: Caller) -> str:
    answer = script.post("/api/pair/codes")
    assert answer.status_code == 201
    assert answer.json is not None
    assert answer.json["expires_at"].endswith("Z")
    code: str = answer.json["code"]
    assert len(code) == 6
    return code


def test_code_is_claimed_once_and_the_person_sees_by_whom(script: Caller, anybody: Caller) -> None:
    code = make_code(script)
    waiting = script.get(f"/api/pair/codes/{code}").json
    assert waiting is not None
    assert (waiting["status"], waiting["device_id"]) == ("waiting", None)
    typed = f"{code[:3].lower()}-{code[3:].lower()}"
    link = anybody.post("/api/pair/claim", json=CLAIM | {"code": typed})
    assert link.status_code == 200
    assert link.json is not None
    assert set(link.json) == {"deviceId", "token", "pullSecret", "pollInterval", "hubName"}
    assert len(link.json["pullSecret"]) >= 32
    claimed = script.get(f"/api/pair/codes/{code}").json
    assert claimed is not None
    assert (claimed["status"], claimed["device_id"]) == ("claimed", CLAIM["deviceId"])
    other = CLAIM | {"code": code, "deviceId": "another-machine"}
    assert anybody.post("/api/pair/claim", json=other).status_code == 404


def test_wrong_and_used_codes_get_one_same_answer(script: Caller, anybody: Caller, machine: Machine) -> None:
    make_code(script)
    answer = anybody.post("/api/pair/claim", json=CLAIM | {"code": "AAAAAA"})
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["detail"] == "Code not valid or expired."


def test_five_wrong_tries_kill_the_code(script: Caller, anybody: Caller) -> None:
    code = make_code(script)
    guesses = [anybody.post("/api/pair/claim", json=CLAIM | {"code": f"AAAAA{n}"}).status_code for n in range(2, 7)]
    assert guesses == [404] * 5
    late = anybody.post("/api/pair/claim", json=CLAIM | {"code": code})
    assert late.status_code == 429
    assert int(late.headers["Retry-After"]) >= 1


def test_one_address_claims_ten_times_a_minute(anybody: Caller) -> None:
    tries = [anybody.post("/api/pair/claim", json=CLAIM | {"code": "AAAAAA"}) for _ in range(11)]
    assert [answer.status_code for answer in tries[:10]] == [404] * 10
    assert tries[10].status_code == 429
    assert 1 <= int(tries[10].headers["Retry-After"]) <= 61


def test_impatient_look_at_a_code_is_told_to_slow_down(script: Caller) -> None:
    code = make_code(script)
    looks = [script.get(f"/api/pair/codes/{code}") for _ in range(8)]
    assert looks[0].status_code == 200
    assert looks[-1].status_code == 429
    assert looks[-1].json is not None
    assert looks[-1].json["code"] == "slow_down"
    assert looks[-1].headers["Retry-After"]


def test_code_of_somebody_else_is_not_found(script: Caller, outsider: Caller) -> None:
    assert outsider.get(f"/api/pair/codes/{make_code(script)}").status_code == 404


@pytest.mark.parametrize("name", ["x" * 5000, ""])
def test_unlikely_device_name_is_refused(script: Caller, anybody: Caller, name: str) -> None:
    answer = anybody.post("/api/pair/claim", json=CLAIM | {"code": make_code(script), "name": name})
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["detail"] == "name: text of 1 to 200 characters"
