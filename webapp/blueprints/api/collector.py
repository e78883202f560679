"""What a paired collector calls, with its device token: poll, answers, heartbeat, unpair."""

import uuid
from typing import Annotated

import msgspec
from flask import Blueprint, g, request
from msgspec import Meta

from collector import wire
from webapp.blueprints.api.bodies import MEBIBYTE
from webapp.blueprints.api.endpoint import endpoint
from webapp.features.devices import service as devices

calls = Blueprint("api_collector", __name__)

ANSWER_LIMIT = 8 * MEBIBYTE


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
    return devices.read_poll(g.link, query.version, query.epoch)


class RelayedAnswer(msgspec.Struct, kw_only=True):
    """The answer to a request that came with a poll: the object that the call it stands for answers, or a problem."""


class Accepted(msgspec.Struct, kw_only=True):
    """It was taken."""


@endpoint(
    calls,
    "POST",
    "/api/collector/results/<uuid:call_id>",
    audience="collectors",
    body=RelayedAnswer,
    body_limit=ANSWER_LIMIT,
    is_opaque=True,
    answers={200: Accepted},
    errors=(409,),
    summary="Answer a request that came with a poll. The same answer may be sent again.",
)
def record_answer(call_id: uuid.UUID, body: bytes) -> Accepted:
    devices.record_answer(g.device.id, call_id, body)
    return Accepted()


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
    devices.record_heartbeat(g.device.id, body, request.remote_addr or "")


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
