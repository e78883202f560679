"""What the paired hub asks: pages of sessions, what is held of each day, and to be polled at once; on either road."""

import logging
import secrets
import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec
from flask import Blueprint, Response, request

from collector import wire
from collector.api.access import for_hub
from collector.api.bodies import read_fields, read_object
from collector.api.health import describe_health
from collector.api.problems import SENTENCES, Problem, as_json, explain_store_error
from collector.api.replies import reply
from collector.running import Running, current

TIME = "RFC 3339, e.g. 2026-01-05T13:00:00Z"
CURSOR = "the nextCursor of an earlier answer"
DAY = "a day, e.g. 2026-01-05"

EXPORT_FIELDS = {
    "since": TIME,
    "limit": f"integer 1-{wire.EXPORT_MAX_LIMIT}",
    "cursor": CURSOR,
    "from": TIME,
    "to": TIME,
}
COVERAGE_FIELDS = {"timezone": "an IANA name, e.g. Europe/Berlin", "first": DAY, "last": DAY, "cursor": CURSOR}

log = logging.getLogger(__name__)

calls = Blueprint("hub_calls", __name__)


@calls.post("/api/sessions/export")
@for_hub
def export_sessions() -> Response:
    """One page of changes, after deriving what was just observed."""
    page = export(current(), read_object(request.get_data()))
    current().store.note_pull(wire.now_ms(), "direct")
    return reply(page)


@calls.post("/api/sessions/coverage")
@for_hub
def cover_days() -> Response:
    """What is held of each local day."""
    return reply(cover(current(), read_object(request.get_data())))


@calls.post("/api/nudge")
@for_hub
def nudge() -> Response:
    """Something waits at the hub: polls it at once."""
    current().poller.wake()
    return reply({}, 202)


def export(running: Running, received: dict[str, Any]) -> dict[str, object]:
    """The answer to an export request; a Problem says what is wrong with it."""
    wanted = read_fields(received, wire.ExportRequest, EXPORT_FIELDS)
    running.deriver.derive()
    try:
        return running.store.export(wanted)
    except ValueError as error:
        raise refuse(error) from error


def cover(running: Running, received: dict[str, Any]) -> wire.CoverageAnswer:
    """The answer to a coverage request, of what is stored: deriving first would only add what the hub cannot have."""
    wanted = read_fields(received, wire.CoverageRequest, COVERAGE_FIELDS)
    try:
        return running.store.cover(wanted)
    except ValueError as error:
        raise refuse(error) from error


def refuse(error: ValueError) -> Problem:
    """400 for a value of the right form that is none; the store's sentences begin with the field."""
    return Problem(400, str(error), field=str(error).partition(":")[0])


def export_relayed(running: Running, args: dict[str, Any]) -> dict[str, object]:
    """The same over the collector's own connection."""
    page = export(running, args)
    running.store.note_pull(wire.now_ms(), "relay")
    return page


OPERATIONS: dict[str, Callable[[Running, dict[str, Any]], object]] = {
    "health": lambda running, _: describe_health(running.store),
    "sessions.export": export_relayed,
    "sessions.coverage": cover,
}
"""All that a relayed request may ask."""


def answer_relayed(running: Running, op: str, args: dict[str, Any]) -> bytes:
    """The answer to a relayed request in JSON: what the call that it stands for would give, or a problem object."""
    try:
        if op not in OPERATIONS:
            raise Problem(404, f"This collector does not know the request {op[:64]!r}.", code="unknown_op")
        return msgspec.json.encode(OPERATIONS[op](running, args))
    except Problem as error:
        problem = error
    except sqlite3.OperationalError as error:
        log.error("A relayed request (%s) finds the database in trouble: %s", op[:64], error)
        problem = explain_store_error(error)
    except Exception:  # the hub is told, as it would be over its own connection
        log.exception("A relayed request (%s) failed", op[:64])
        problem = Problem(500, SENTENCES[500])
    return as_json(problem, problem.code or 500, secrets.token_hex(8)).encode()
