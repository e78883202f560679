"""Devices over the API: seen, renamed, unpaired, deleted; and only by their owner."""

import pytest

from tests.api.conftest import Caller, Machine
from webapp.extensions import db
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.overview import service as overview


def test_paired_machine_is_listed_with_its_state(script: Caller, machine: Machine) -> None:
    answer = script.get("/api/devices")
    assert answer.status_code == 200
    assert answer.json is not None
    (device,) = answer.json["devices"]
    assert (device["id"], device["name"], device["platform"], device["is_paired"]) == (
        machine.id,
        "desk",
        "linux",
        True,
    )
    assert device["state"]["level"] in ("ok", "late", "problem", "off")
    assert device["state"]["sentence"]
    assert script.get(f"/api/devices/{machine.id}").json == device


def test_device_is_renamed_on_the_hub(script: Caller, machine: Machine) -> None:
    answer = script.call("PATCH", f"/api/devices/{machine.id}", json={"name": "Büro <b>"})
    assert answer.status_code == 200
    assert answer.json is not None
    assert answer.json["name"] == "Büro <b>"


def test_unpairing_keeps_the_device_and_kills_its_token(script: Caller, machine: Machine) -> None:
    assert machine.caller.get("/api/collector/poll").status_code == 200
    assert script.call("DELETE", f"/api/devices/{machine.id}").status_code == 204
    refused = machine.caller.get("/api/collector/poll")
    assert refused.status_code == 401
    assert refused.json is not None
    assert refused.json["code"] == "device_revoked"
    device = script.get(f"/api/devices/{machine.id}").json
    assert device is not None
    assert device["is_paired"] is False


def test_deleting_with_data_leaves_nothing(script: Caller, machine: Machine) -> None:
    assert script.call("DELETE", f"/api/devices/{machine.id}?data=delete").status_code == 204
    assert script.get(f"/api/devices/{machine.id}").status_code == 404
    assert db.session.get(Device, machine.id) is None


def test_deleting_wants_a_known_word(script: Caller, machine: Machine) -> None:
    answer = script.call("DELETE", f"/api/devices/{machine.id}?data=all")
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["detail"] == "data: one of delete, keep"
    assert db.session.get(Device, machine.id) is not None


def test_stranger_finds_no_device(outsider: Caller, machine: Machine) -> None:
    path = f"/api/devices/{machine.id}"
    listed = outsider.get("/api/devices").json
    assert listed == {"devices": []}
    answers = [
        outsider.get(path),
        outsider.call("PATCH", path, json={"name": "mine"}),
        outsider.call("DELETE", path),
        outsider.call("DELETE", f"{path}?data=delete"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert machine.caller.get("/api/collector/poll").status_code == 200


def test_device_that_is_deleted_while_it_is_read_is_not_found(
    script: Caller, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "list_machines", lambda _account_id: [])
    path = f"/api/devices/{machine.id}"
    assert script.get(path).status_code == 404
    assert script.call("PATCH", path, json={"name": "x"}).status_code == 404


def test_row_that_is_deleted_while_it_is_used_is_not_found(
    script: Caller, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "unpair_device", lambda _account_id, _device_id: db.session.get_one(Device, "gone"))
    answer = script.call("DELETE", f"/api/devices/{machine.id}")
    assert answer.status_code == 404
    assert answer.json is not None
    assert answer.json["detail"] == "It was removed a moment ago."
