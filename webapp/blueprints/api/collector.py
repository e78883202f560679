"""What a paired collector calls, with its device token: poll, heartbeat, unpair."""

from typing import Annotated

import msgspec
from flask import Blueprint, g
from msgspec import Meta

from collector import wire
from webapp.blueprints.api.endpoint import endpoint
from webapp.features.devices import service as devices
from webapp.lib import clock

calls = Blueprint("api_collector", __name__)


class PollQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The settings that the collector has applied."""

    version: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    epoch: Annotated[str, Meta(max_length=64)] = ""


@endpoint(
    calls,
    "GET",
    "/api/collector/poll",
    audience="collectors",
    query=PollQuery,
    answers={200: wire.PollAnswer},
    summary="What the hub wants of this collector. Settings only when version or epoch differ.",
)
def poll(query: PollQuery) -> wire.PollAnswer:
    devices.note_seen(g.device.id, clock.utc_now())
    return devices.read_poll(g.link, query.version, query.epoch)


@endpoint(
    calls,
    "POST",
    "/api/collector/heartbeat",
    audience="collectors",
    body=wire.Heartbeat,
    answers={204: None},
    summary="How the collector is, and how far it is with the settings.",
)
def record_heartbeat(body: wire.Heartbeat) -> None:
    devices.record_heartbeat(g.device.id, body)


@endpoint(
    calls,
    "POST",
    "/api/collector/unpair",
    audience="collectors",
    answers={204: None},
    summary="End the link. The token is dead within a second; what was collected stays.",
)
def unpair() -> None:
    devices.unpair_device(g.device.account_id, g.device.id)
