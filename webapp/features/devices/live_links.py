"""Every link that polls, read at once: with it a poll is answered without asking the database each time."""

from dataclasses import dataclass

from sqlalchemy import select

from webapp.config import current_config
from webapp.extensions import db
from webapp.features.devices.models import Device, Link
from webapp.lib.secrets import derive_key


@dataclass(frozen=True, slots=True)
class LiveLink:
    """What a poll's answer is made of."""

    device_id: str
    settings_version: int
    settings_epoch: str


def read_live_links() -> dict[bytes, LiveLink]:
    """The links in use by the hash of their token. One that was never used is missing: its first use must be noted."""
    columns = (Link.token_hash, Device.id, Device.settings_version, Device.settings_epoch)
    used = (Link.revoked_at.is_(None), Link.first_used_at.is_not(None))
    rows = db.session.execute(select(*columns).join(Device, Device.id == Link.device_id).where(*used))
    return {token_hash: LiveLink(device_id, version, epoch) for token_hash, device_id, version, epoch in rows}


def token_key() -> bytes:
    """The key under which tokens are hashed, so that hashing many of them does not derive it again."""
    return derive_key(current_config().hub_key, "device-token")
