"""The push road of seed 001's editor extension: one session at a time, with a person's API token."""

from typing import Annotated, Literal

import msgspec
from flask import Blueprint, g
from msgspec import Meta

from collector import wire
from webapp.blueprints.access import current_account
from webapp.blueprints.api.endpoint import endpoint
from webapp.features.sessions import service as sessions

calls = Blueprint("api_push", __name__)


class PushedSession(wire.FileSession, kw_only=True, rename="camel"):
    """A session as that extension sends it: while the file is open there is no `sessionEndTime` at all."""

    session_end_time: wire.datetime | None = None


class SystemInfo(msgspec.Struct, kw_only=True):
    """Which editor, on which platform."""

    editor: Annotated[str, Meta(min_length=1, max_length=128)]
    platform: Annotated[str, Meta(max_length=64)] = ""


class Push(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """One session."""

    session: PushedSession
    system_info: SystemInfo


class Pushed(msgspec.Struct, kw_only=True):
    """Where the session is kept."""

    status: Literal["stored"]
    id: str
    device_id: str


@endpoint(
    calls,
    "POST",
    "/api/sessions",
    body=Push,
    answers={201: Pushed},
    summary="Store one session of an editor that pushes. The editor becomes a device of its own.",
)
def push_session(body: Push) -> Pushed:
    raw = msgspec.json.encode({"sessionEndTime": None, **g.received["session"]})
    stored = sessions.store_pushed_session(
        current_account().id, body.session, raw, body.system_info.editor, body.system_info.platform
    )
    return Pushed(status="stored", id=stored.id, device_id=stored.device_id)
