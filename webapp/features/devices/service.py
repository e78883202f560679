"""A person's machines: list, rename, unpair, delete. The front door to everything that this feature can do."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from webapp.config import current_config
from webapp.database import transaction
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.features.devices.codes import CodeStatus, create_code, find_code
from webapp.features.devices.discovery import list_sightings, record_sightings, request_discovery
from webapp.features.devices.endpoints import (
    describe_proof,
    list_candidates,
    mark_identity,
    record_endpoint,
    write_endpoints,
)
from webapp.features.devices.links import (
    before_unpair,
    find_active_link,
    find_link,
    find_secrets,
    pull_secret,
    revoke_links,
)
from webapp.features.devices.models import Device
from webapp.features.devices.names import check_name, printable
from webapp.features.devices.pairing import claim_code
from webapp.features.devices.polling import read_poll, record_heartbeat
from webapp.features.devices.relay import (
    add_calls,
    drop_calls,
    list_waiting,
    prune_calls,
    record_answer,
    take_answers,
)
from webapp.features.devices.seen import flush_seen, note_seen, note_watched
from webapp.features.jobs.models import Job
from webapp.lib import clock
from webapp.lib.secrets import derive_key

Farewell = Callable[[Session, Device], None]
_farewells: list[Farewell] = []


def list_devices(account_id: int, *, include_unpaired: bool = True) -> Sequence[Device]:
    """The account's devices by name; those whose link has ended only if asked for."""
    wanted = select(Device).where(Device.account_id == account_id)
    if not include_unpaired:
        wanted = wanted.where(Device.unpaired_at.is_(None))
    return db.session.scalars(wanted.order_by(func.lower(Device.name), Device.id)).all()


def get_device(account_id: int, device_id: str) -> Device:
    """The device, if it is this account's."""
    return _get(db.session(), account_id, device_id)


def rename_device(account_id: int, device_id: str, name: str) -> Device:
    """Gives the device another name on the hub; Invalid if it cannot be called so."""
    name = check_name(name)
    with transaction() as session:
        device = _get(session, account_id, device_id)
        device.name = name
    return device


def unpair_device(account_id: int, device_id: str) -> None:
    """Ends the link: the token is dead at once, what was collected stays. Doing it again changes nothing."""
    now = clock.utc_now()
    with transaction() as session:
        device = _get(session, account_id, device_id)
        _end_link(session, device, now)


def delete_device(account_id: int, device_id: str) -> None:
    """Removes the device and everything that came from it. A collector that still asks is told to forget its link."""
    with transaction() as session:
        device = _get(session, account_id, device_id)
        _end_link(session, device, clock.utc_now())
        for farewell in _farewells:
            farewell(session, device)
        session.execute(delete(Job).where(Job.device_id == device_id))
        session.execute(delete(Device).where(Device.id == device_id))


def before_delete(farewell: Farewell) -> Farewell:
    """Registers what a higher feature does, in the same transaction, before a device goes. A decorator."""
    if farewell not in _farewells:
        _farewells.append(farewell)
    return farewell


def add_editor(session: Session, account_id: int, editor: str, platform: str) -> Device:
    """The account's device for an editor that pushes its own sessions, in the caller's transaction; new at first."""
    key = derive_key(current_config().hub_key, f"editor|{account_id}|{editor}")
    device_id = str(uuid.UUID(bytes=key[:16], version=4))
    device = session.get(Device, device_id)
    if device is None:
        device = Device(id=device_id, account_id=account_id, kind="editor", name=check_name(editor))
        device.platform, device.created_at = printable(platform, 64), clock.utc_now()
        session.add(device)
        session.flush()
    return device


def _get(session: Session, account_id: int, device_id: str) -> Device:
    device = session.scalar(select(Device).where(Device.id == device_id, Device.account_id == account_id))
    if device is None:
        raise NotFound("There is no such machine.")
    return device


def _end_link(session: Session, device: Device, now: datetime) -> None:
    revoke_links(session, device.id, now)
    if device.is_paired:
        device.unpaired_at = now
    device.endpoint_url = device.endpoint_proven_at = None
    device.is_identity_doubtful = False
    session.flush()


__all__ = [
    "CodeStatus",
    "add_calls",
    "add_editor",
    "before_delete",
    "before_unpair",
    "claim_code",
    "create_code",
    "delete_device",
    "describe_proof",
    "drop_calls",
    "find_active_link",
    "find_code",
    "find_link",
    "find_secrets",
    "flush_seen",
    "get_device",
    "list_candidates",
    "list_devices",
    "list_sightings",
    "list_waiting",
    "mark_identity",
    "note_seen",
    "note_watched",
    "prune_calls",
    "pull_secret",
    "read_poll",
    "record_answer",
    "record_endpoint",
    "record_heartbeat",
    "record_sightings",
    "rename_device",
    "request_discovery",
    "take_answers",
    "unpair_device",
    "write_endpoints",
]
