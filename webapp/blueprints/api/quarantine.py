"""Quarantine: the sessions of a machine that could not be accepted, tried again or dismissed."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from flask import Blueprint
from msgspec import Meta

from webapp.blueprints.access import current_account
from webapp.blueprints.api.endpoint import endpoint
from webapp.blueprints.rejections import explain
from webapp.features.devices import service as devices
from webapp.features.sessions import service as sessions
from webapp.features.sessions.models import QuarantinedSession

calls = Blueprint("api_quarantine", __name__)

MOST_TEXT = 4000


class QuarantineQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which part of the list."""

    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, Meta(max_length=500)] | None = None


class QuarantinedAnswer(msgspec.Struct, kw_only=True):
    """One session that was not accepted. `text` is the beginning of what was sent, as far as it was kept."""

    id: int
    session_id: str | None
    reason: str
    sentence: str
    received_at: datetime
    started_at: datetime | None
    pull_id: int | None
    is_whole: bool
    text: str


class QuarantineList(msgspec.Struct, kw_only=True):
    """What waits in quarantine, newest first."""

    quarantined: list[QuarantinedAnswer]
    has_more: bool
    next_cursor: str | None


class RetryAnswer(msgspec.Struct, kw_only=True):
    """Whether the session is stored now; if not, it stays in quarantine with today's reason."""

    is_accepted: bool


@endpoint(
    calls,
    "GET",
    "/api/devices/<device_id:device_id>/quarantine",
    query=QuarantineQuery,
    answers={200: QuarantineList},
    errors=(404,),
    summary="Sessions of a machine that could not be accepted, with the reason.",
)
def list_quarantined(device_id: str, query: QuarantineQuery) -> QuarantineList:
    account_id = current_account().id
    devices.get_device(account_id, device_id)
    page = sessions.list_quarantined(account_id, device_id, limit=query.limit, cursor=query.cursor)
    return QuarantineList(
        quarantined=[tell_quarantined(row) for row in page.items],
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
    )


@endpoint(
    calls,
    "POST",
    "/api/devices/<device_id:device_id>/quarantine/<row_number:quarantined_id>/retry",
    answers={200: RetryAnswer},
    errors=(404, 409),
    summary="Store a quarantined session if the hub's present rules accept it.",
)
def retry_quarantined(device_id: str, quarantined_id: int) -> RetryAnswer:
    outcome = sessions.retry_quarantined(current_account().id, device_id, quarantined_id)
    return RetryAnswer(is_accepted=outcome.accepted == 1)


@endpoint(
    calls,
    "DELETE",
    "/api/devices/<device_id:device_id>/quarantine/<row_number:quarantined_id>",
    answers={204: None},
    errors=(404,),
    summary="Dismiss a quarantined session: its text is forgotten, and the same bytes do not come back.",
)
def dismiss_quarantined(device_id: str, quarantined_id: int) -> None:
    sessions.dismiss_quarantined(current_account().id, device_id, quarantined_id)


def tell_quarantined(row: QuarantinedSession) -> QuarantinedAnswer:
    """The row as the API tells it."""
    started = datetime.fromtimestamp(row.started_ms / 1000, UTC) if row.started_ms is not None else None
    return QuarantinedAnswer(
        id=row.id,
        session_id=row.session_id,
        reason=row.reason,
        sentence=explain(row.reason),
        received_at=row.received_at,
        started_at=started,
        pull_id=row.pull_id,
        is_whole=row.is_whole,
        text=row.record[:MOST_TEXT],
    )
