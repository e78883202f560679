"""What the paired hub asks: pages of sessions, and to be polled at once."""

from flask import Blueprint, Response

from collector import wire
from collector.api.access import for_hub
from collector.api.bodies import read_body
from collector.api.problems import Problem
from collector.api.replies import reply
from collector.running import current

EXPORT_FIELDS = {
    "since": "RFC 3339, e.g. 2026-01-05T13:00:00Z",
    "limit": f"integer 1-{wire.EXPORT_MAX_LIMIT}",
    "cursor": "the nextCursor of an earlier answer",
}

calls = Blueprint("hub_calls", __name__)


@calls.post("/api/sessions/export")
@for_hub
def export_sessions() -> Response:
    """One page of changes, after deriving what was just observed."""
    request = read_body(wire.ExportRequest, EXPORT_FIELDS)
    check_since(request.since)
    running = current()
    running.deriver.derive()
    try:
        page = running.store.export(request)
    except ValueError as error:
        raise Problem(400, str(error), field="cursor") from error
    return reply(page)


@calls.post("/api/nudge")
@for_hub
def nudge() -> Response:
    """Something waits at the hub: polls it at once."""
    current().poller.wake()
    return reply({}, 202)


def check_since(since: str | None) -> None:
    """400 for a `since` that is no time."""
    try:
        if since is not None:
            wire.parse_ms(since)
    except (ValueError, OverflowError) as error:
        raise Problem(400, f"since: {EXPORT_FIELDS['since']}", field="since") from error
