"""Every link that polls, read at once: with it a poll is answered without asking the database each time."""

from datetime import timedelta

import msgspec
from sqlalchemy import select

from collector import wire
from webapp.config import current_config
from webapp.extensions import db
from webapp.features.devices.models import Device, Link
from webapp.features.devices.relay import list_all_waiting
from webapp.features.devices.seen import WATCHED_SECONDS
from webapp.lib import clock
from webapp.lib.secrets import derive_key


class LiveLink(msgspec.Struct, frozen=True, gc=False):
    """What a poll's answer is made of."""

    device_id: str
    settings_version: int
    settings_epoch: str
    is_watched: bool
    requests: tuple[wire.RelayedRequest, ...] = ()


def read_live_links() -> dict[bytes, LiveLink]:
    """The links in use by the hash of their token. Missing is one that was never used: its first use must be noted."""
    now = clock.utc_now()
    recently = Device.watched_at > now - timedelta(seconds=WATCHED_SECONDS)
    columns = (Link.token_hash, Device.id, Device.settings_version, Device.settings_epoch, recently)
    used = (Link.revoked_at.is_(None), Link.first_used_at.is_not(None))
    waiting = list_all_waiting()
    rows = db.session.connection().execute(select(*columns).join(Device, Device.id == Link.device_id).where(*used))
    return {row[0]: LiveLink(row[1], row[2], row[3], bool(row[4]), tuple(waiting.get(row[1], ()))) for row in rows}


def token_key() -> bytes:
    """The key under which tokens are hashed, so that hashing many of them does not derive it again."""
    return derive_key(current_config().hub_key, "device-token")
