"""Paired machines for tests, made the way people make them."""

import uuid
from typing import Any

from sqlalchemy import update

from collector import wire
from webapp.database import transaction
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device, Link

LOOPBACK = "127.0.0.1"


def make_claim(code: str, **changes: Any) -> wire.ClaimRequest:
    """What a collector says when it redeems `code`."""
    told: dict[str, Any] = {
        "code": code,
        "device_id": str(uuid.uuid4()),
        "name": "studio",
        "platform": "linux",
        "version": "0.1.0",
        "port": 8001,
    }
    return wire.ClaimRequest(**(told | changes))


def pair(account_id: int, *, address: str = LOOPBACK, **changes: Any) -> wire.ClaimAnswer:
    """A machine of the account, paired now; `changes` are fields of its claim."""
    _, code = devices.create_code(account_id)
    return devices.claim_code(make_claim(code, **changes), address=address)


def add_device(account_id: int, **changes: Any) -> Device:
    """The same, as the hub's record of it."""
    return devices.get_device(account_id, pair(account_id, **changes).device_id)


def link_from_before(account_id: int) -> Link:
    """The link of a machine that was paired a while ago, so that nobody waits for it any more."""
    token = pair(account_id).token
    with transaction() as session:
        session.execute(update(Device).values(watched_at=None))
    link = devices.find_link(token)
    assert link is not None
    return link
