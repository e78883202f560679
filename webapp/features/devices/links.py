"""The credentials between hub and collector: the token that opens the hub, the secret that opens the collector."""

import secrets
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session, lazyload

from webapp.config import current_config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices.models import Device, Link
from webapp.lib import clock
from webapp.lib.secrets import derive_secret, keyed_hash, new_token

Ending = Callable[[Session, str], None]
_endings: list[Ending] = []


def find_link(token: str) -> Link | None:
    """The link that a device token belongs to, also a revoked one; the first use of a live link is noted."""
    same = Link.token_hash == _hash(token)
    link = db.session.scalar(select(Link).where(same))
    if link is None or link.revoked_at is not None or link.first_used_at is not None:
        return link
    unused = (same, Link.first_used_at.is_(None), Link.revoked_at.is_(None))
    with transaction() as session:
        session.execute(update(Link).where(*unused).values(first_used_at=clock.utc_now()))
    return db.session.scalar(select(Link).where(same))


def find_active_link(device_id: str) -> Link | None:
    """The link by which the hub may pull from the device; None if it is not paired."""
    active = select(Link).where(Link.device_id == device_id, Link.revoked_at.is_(None))
    return db.session.scalar(active.options(lazyload(Link.device)).order_by(Link.created_at.desc()))


def find_secrets(device_ids: Iterable[str]) -> dict[str, str]:
    """The pull secrets of those of the devices that are paired, by device id."""
    active = select(Link.device_id, Link.id, Link.salt).where(Link.revoked_at.is_(None))
    found = db.session.execute(active.where(Link.device_id.in_(list(device_ids))).order_by(Link.created_at))
    return {device_id: _derive(link_id, salt) for device_id, link_id, salt in found}


def pull_secret(link: Link) -> str:
    """The key that hub and collector share; derived, never stored."""
    return _derive(link.id, link.salt)


def add_link(session: Session, device: Device, now: datetime) -> tuple[Link, str]:
    """A new link of `device` and its token, in the caller's transaction. Whatever link it had before is dead."""
    revoke_links(session, device.id, now)
    token = new_token("mct")
    link = Link(device_id=device.id, token_hash=_hash(token), salt=secrets.token_bytes(32), created_at=now)
    session.add(link)
    session.flush()
    return link, token


def revoke_links(session: Session, device_id: str, now: datetime) -> None:
    """Ends every link of the device, in the caller's transaction."""
    for ending in _endings:
        ending(session, device_id)
    live = update(Link).where(Link.device_id == device_id, Link.revoked_at.is_(None))
    session.execute(live.values(revoked_at=now))


def before_unpair(ending: Ending) -> Ending:
    """Registers what a higher feature does, in the same transaction, before a device's link ends. A decorator."""
    if ending not in _endings:
        _endings.append(ending)
    return ending


def _derive(link_id: uuid.UUID, salt: bytes) -> str:
    return derive_secret(current_config().hub_key, "pull-secret", link_id.bytes, salt)


def _hash(token: str) -> bytes:
    return keyed_hash(current_config().hub_key, "device-token", token)
