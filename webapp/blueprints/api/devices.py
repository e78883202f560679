"""Devices: the machines of an account, how each is, and ending a link."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from flask import Blueprint
from msgspec import Meta

from webapp.blueprints.access import current_account
from webapp.blueprints.api.endpoint import endpoint
from webapp.errors import NotFound
from webapp.features.devices import service as devices
from webapp.features.overview import service as overview
from webapp.features.overview.service import Machine
from webapp.features.sessions.freshness import DeviceState

calls = Blueprint("api_devices", __name__)


class StateAnswer(msgspec.Struct, kw_only=True):
    """How a device is, for a program (`level`, `action`) and for a person (`sentence`).

    `action` is what helps: pair it again, look at it, decide about its quarantine; null when nothing is to be done.
    """

    level: Literal["ok", "late", "problem", "off"]
    word: str
    sentence: str
    since_at: datetime | None
    action: Literal["pair", "look", "quarantine"] | None
    next_try_at: datetime | None


class DeviceAnswer(msgspec.Struct, kw_only=True):
    """One machine. `road` is what its last pull took: direct, relay or file; `quarantined` sessions wait aside."""

    id: str
    name: str
    kind: str
    platform: str
    version: str
    is_paired: bool
    paired_at: datetime | None
    unpaired_at: datetime | None
    last_seen_at: datetime | None
    last_pulled_at: datetime | None
    road: str | None
    quarantined: int
    state: StateAnswer


class DeviceList(msgspec.Struct, kw_only=True):
    """All machines of the account, also those no longer paired whose sessions are kept."""

    devices: list[DeviceAnswer]


class DeviceChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new name, on the hub only."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]


class RemovalQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether the device's sessions go too."""

    data: Literal["keep", "delete"] = "keep"


@endpoint(calls, "GET", "/api/devices", answers={200: DeviceList}, summary="All machines of the account.")
def list_devices() -> DeviceList:
    return DeviceList(devices=[tell_device(machine) for machine in overview.list_machines(current_account().id)])


@endpoint(calls, "GET", "/api/devices/<device_id:device_id>", answers={200: DeviceAnswer}, summary="One machine.")
def get_device(device_id: str) -> DeviceAnswer:
    return find_device(current_account().id, device_id)


@endpoint(
    calls,
    "PATCH",
    "/api/devices/<device_id:device_id>",
    body=DeviceChange,
    answers={200: DeviceAnswer},
    summary="Rename a machine.",
)
def rename_device(device_id: str, body: DeviceChange) -> DeviceAnswer:
    account_id = current_account().id
    devices.rename_device(account_id, device_id, body.name)
    return find_device(account_id, device_id)


@endpoint(
    calls,
    "DELETE",
    "/api/devices/<device_id:device_id>",
    query=RemovalQuery,
    answers={204: None},
    summary="Unpair a machine and keep its sessions; with data=delete, remove it and everything that came from it.",
)
def delete_device(device_id: str, query: RemovalQuery) -> None:
    account_id = current_account().id
    if query.data == "delete":
        devices.delete_device(account_id, device_id)
    else:
        devices.unpair_device(account_id, device_id)


def find_device(account_id: int, device_id: str) -> DeviceAnswer:
    """The machine; NotFound if it is not this account's."""
    mine = (machine for machine in overview.list_machines(account_id) if machine.device.id == device_id)
    machine = next(mine, None)
    if machine is None:
        raise NotFound("There is no such machine.")
    return tell_device(machine)


def tell_device(machine: Machine) -> DeviceAnswer:
    """The machine as the API tells it."""
    device = machine.device
    return DeviceAnswer(
        id=device.id,
        name=device.name,
        kind=device.kind,
        platform=device.platform,
        version=device.version,
        is_paired=device.is_paired,
        paired_at=device.paired_at,
        unpaired_at=device.unpaired_at,
        last_seen_at=device.last_seen_at,
        last_pulled_at=machine.last_pulled_at,
        road=machine.road,
        quarantined=machine.quarantined,
        state=tell_state(machine.state),
    )


def tell_state(state: DeviceState) -> StateAnswer:
    """The state as the API tells it."""
    return StateAnswer(
        level=state.level,
        word=state.word,
        sentence=state.sentence,
        since_at=state.since_at,
        action=state.action,
        next_try_at=state.next_try_at,
    )
