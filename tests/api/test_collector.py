"""What a paired collector calls, and the one answer on which it forgets its link."""

import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from tests.api.conftest import Caller, Machine
from webapp.blueprints.api import poll as short_road
from webapp.blueprints.api.bodies import MEBIBYTE
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.devices.service import add_calls, flush_seen, note_watched, take_answers, unpair_device
from webapp.lib import clock

SHORT = "/api/collector/poll?version={}&epoch={}"


def settled(machine: Machine) -> str:
    """The address of a poll by a collector that has the newest settings."""
    told = machine.caller.get("/api/collector/poll").json
    assert told is not None
    return SHORT.format(told["settingsVersion"], told["settingsEpoch"])


def test_first_poll_brings_the_settings_and_the_next_does_not(machine: Machine) -> None:
    first = machine.caller.get("/api/collector/poll")
    assert first.status_code == 200
    assert first.json is not None
    assert isinstance(first.json["settings"], dict)
    assert (first.json["commands"], first.json["requests"]) == ([], [])
    assert first.json["pollInterval"] in (1, 5)
    again = machine.caller.get(settled(machine))
    assert again.json is not None
    assert "settings" not in again.json


@pytest.mark.parametrize(("version", "epoch"), [(0, ""), (10**9, ""), (1, "another-epoch")])
def test_poll_that_is_ahead_or_of_another_epoch_gets_the_whole_document(
    machine: Machine, version: int, epoch: str
) -> None:
    answer = machine.caller.get(SHORT.format(version, epoch))
    assert answer.json is not None
    assert "settings" in answer.json


def test_both_roads_give_the_same_answer_and_headers(machine: Machine) -> None:
    address = settled(machine)
    short = machine.caller.get(address)
    long = machine.caller.get(address, headers={"X-Request-ID": "long-road-1"})
    assert long.headers["X-Request-ID"] == "long-road-1"
    assert short.data == long.data
    ignored = {"X-Request-ID", "Content-Length"}
    assert {k: v for k, v in short.headers if k not in ignored} == {k: v for k, v in long.headers if k not in ignored}


def test_settled_poll_does_not_reach_flask(app: Flask, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    address = settled(machine)
    assert machine.caller.get(address).status_code == 200
    monkeypatch.setattr(app, "full_dispatch_request", lambda: pytest.fail("the long road"))
    assert machine.caller.get(address).status_code == 200


def test_watched_device_polls_every_second_on_both_roads(machine: Machine) -> None:
    address = settled(machine)
    note_watched(machine.id)
    short = machine.caller.get(address).json
    long = machine.caller.get(address, headers={"X-Request-ID": "long-road-1"}).json
    assert short == long
    assert short is not None
    assert short["pollInterval"] == 1


def test_poll_is_noted_as_a_sign_of_life(machine: Machine) -> None:
    assert machine.caller.get(settled(machine)).status_code == 200
    flush_seen()
    device = db.session.get_one(Device, machine.id)
    assert device.last_seen_at is not None


def test_revoked_token_is_dead_within_a_second_on_the_short_road(app: Flask, machine: Machine) -> None:
    address = settled(machine)
    assert machine.caller.get(address).status_code == 200
    account_id = db.session.get_one(Device, machine.id).account_id
    unpair_device(account_id, machine.id)
    time.sleep(short_road.KNOWN_SECONDS + 0.05)
    answer = machine.caller.get(address)
    assert short_road.KNOWN_SECONDS < 1
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == "device_revoked"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 400),
        ({"Content-Encoding": "gzip"}, 415),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Authorization": "Bearer mct_guess"}, 401),
    ],
)
def test_short_road_refuses_what_the_long_one_refuses(machine: Machine, headers: dict[str, str], status: int) -> None:
    address = settled(machine)
    assert machine.caller.get(address).status_code == 200
    answer = machine.caller.get(address, headers=headers)
    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"


def test_unknown_token_is_not_told_to_forget_its_link(app: Flask) -> None:
    answer = Caller(app.test_client(), "mct_nobody").get("/api/collector/poll")
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == "bad_token"


def ask(device_id: str, seconds: float = 30.0) -> uuid.UUID:
    """A relayed call that waits for the device."""
    expires_at = clock.utc_now() + timedelta(seconds=seconds)
    with transaction() as session:
        (call_id,) = add_calls(session, [(device_id, "sessions.export", {"limit": 5}, expires_at)])
    assert call_id is not None
    return call_id


def send(machine: Machine, call_id: object, body: bytes, **given: Any) -> Any:
    given = {"content_type": "application/json"} | given
    return machine.caller.post(f"/api/collector/results/{call_id}", data=body, **given)


def test_relayed_call_travels_over_the_poll(machine: Machine) -> None:
    address = settled(machine)
    call_id = ask(machine.id)
    time.sleep(short_road.KNOWN_SECONDS + 0.05)  # till then it may say what was true before
    told = machine.caller.get(address).json
    assert told is not None
    (request,) = told["requests"]
    assert set(request) == {"id", "op", "args", "deadline"}
    assert (request["id"], request["op"], request["args"]) == (str(call_id), "sessions.export", {"limit": 5})
    assert told["pollInterval"] == 1
    body = b'{ "sessions": [], "name": "\\u00e9 caf\xc3\xa9" }'
    for _ in range(2):
        answer = send(machine, call_id, body)
        assert (answer.status_code, answer.json) == (200, {})
    assert send(machine, call_id, b"{}").status_code == 409
    after = machine.caller.get(address).json
    assert after is not None
    assert (after["requests"], after["pollInterval"]) == ([], 1)
    assert take_answers([call_id]) == {call_id: body}


def test_answer_to_nothing_of_its_own_is_404(
    machine: Machine, pair: Callable[..., Machine], stranger: Account, owner: Account
) -> None:
    call_id = ask(machine.id)
    foreign = pair(stranger, device_id="theirs")
    other = pair(owner, device_id="mine-too")
    for who, which in ((foreign, call_id), (other, call_id), (machine, uuid.uuid4()), (machine, ask(machine.id, -1))):
        assert send(who, which, b"{}").status_code == 404
    for malformed in ("1", "..%2F1", f"{call_id}x", "1 OR 1=1"):
        assert send(machine, malformed, b"{}").status_code == 404
    assert take_answers([call_id]) == {}


@pytest.mark.parametrize(
    ("body", "given", "status", "said"),
    [
        (b'{"a": ', {}, 400, "Body is not JSON at 1:7"),
        (b'{"a": 1,\n"b": NaN}', {}, 400, " 2:6 "),
        (b"", {}, 400, " 1:1 "),
        (b'{"a":' * 100_000, {}, 400, "deeper than 32"),
        (b'{"a": "\xff"}', {}, 400, "not UTF-8"),
        (b'{"a": "\\ud800"}', {}, 400, "UTF-8"),
        (b"[]", {}, 422, "Body must be an object."),
        (b"null", {}, 422, "Body must be an object."),
        (b"{}", {"content_type": "text/plain"}, 415, "Send application/json."),
        (b"{}", {"headers": {"Content-Encoding": "gzip"}}, 415, "Compressed requests"),
        (b'{"a": "' + b"x" * 8 * MEBIBYTE + b'"}', {}, 413, "Limit 8 MiB."),
        (b"{}", {"query_string": "x=1"}, 422, "x: unknown parameter."),
    ],
)
def test_answer_that_is_no_json_object_is_refused(
    machine: Machine, body: bytes, given: dict[str, Any], status: int, said: str
) -> None:
    call_id = ask(machine.id)
    answer = send(machine, call_id, body, **given)
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert said in answer.json["detail"]
    assert take_answers([call_id]) == {}


def test_answer_of_megabytes_is_kept_as_it_came(machine: Machine) -> None:
    call_id = ask(machine.id)
    body = json.dumps({"sessions": ["x" * 100] * 70_000}).encode()
    assert 6 * MEBIBYTE < len(body) < 8 * MEBIBYTE
    assert send(machine, call_id, body).status_code == 200
    assert take_answers([call_id]) == {call_id: body}


def test_only_a_paired_machine_answers(machine: Machine, script: Caller, anybody: Caller) -> None:
    call_id = ask(machine.id)
    for who, status in ((script, 403), (anybody, 401)):
        assert who.post(f"/api/collector/results/{call_id}", json={}).status_code == status
    assert machine.caller.post("/api/collector/unpair").status_code == 204
    refused = send(machine, call_id, b"{}")
    assert (refused.status_code, refused.json["code"]) == (401, "device_revoked")


def test_heartbeat_is_accepted(machine: Machine) -> None:
    told = {"status": {"queues": {"sessions": 3}}, "appliedVersion": 1, "applyState": "applied"}
    assert machine.caller.post("/api/collector/heartbeat", json=told).status_code == 204


def test_unpairing_ends_the_link_at_once_on_the_long_road(machine: Machine) -> None:
    assert machine.caller.post("/api/collector/unpair").status_code == 204
    answer = machine.caller.post("/api/collector/unpair")
    assert answer.status_code == 401
    assert answer.json is not None
    assert answer.json["code"] == "device_revoked"


def test_person_is_no_collector(script: Caller) -> None:
    assert script.get("/api/collector/poll").status_code == 403
    assert script.post("/api/collector/unpair").status_code == 403
