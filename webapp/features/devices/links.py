"""The credentials between hub and collector: the token that opens the hub, the secret that opens the collector."""

import secrets
from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session, lazyload

from webapp.config import current_config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices.models import Device, Link
from webapp.lib import clock
from webapp.lib.secrets import derive_secret, keyed_hash, new_token


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
    return find_active_links([device_id]).get(device_id)


def find_active_links(device_ids: Iterable[str]) -> dict[str, Link]:
    """The same for many devices with one query, by device id."""
    wanted = select(Link).where(Link.device_id.in_(list(device_ids)), Link.revoked_at.is_(None))
    alone = wanted.options(lazyload(Link.device))
    return {link.device_id: link for link in db.session.scalars(alone.order_by(Link.created_at))}


def pull_secret(link: Link) -> str:
    """The key that hub and collector share; derived, never stored."""
    return derive_secret(current_config().hub_key, "pull-secret", link.id.bytes, link.salt)


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
    live = update(Link).where(Link.device_id == device_id, Link.revoked_at.is_(None))
    session.execute(live.values(revoked_at=now))


def _hash(token: str) -> bytes:
    return keyed_hash(current_config().hub_key, "device-token", token)
