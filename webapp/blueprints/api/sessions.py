"""Stored sessions: the list, asking for a pull, and how fresh each device's are."""

import uuid
from collections.abc import Collection
from datetime import datetime
from typing import Annotated

import msgspec
from flask import Blueprint
from msgspec import Meta

from collector import wire
from webapp.blueprints.access import current_account
from webapp.blueprints.api.devices import StateAnswer, tell_state
from webapp.blueprints.api.endpoint import endpoint
from webapp.features.devices import service as devices
from webapp.features.sessions import service as sessions
from webapp.features.sessions.hastening import hasten_pulls
from webapp.features.sessions.service import DeviceFreshness

calls = Blueprint("api_sessions", __name__)

Text = Annotated[str, Meta(max_length=512)]
Moment = Annotated[datetime, Meta(tz=True)]


class SessionsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which sessions. A session belongs to `[from, to)` by its start."""

    is_pull_wanted: bool = msgspec.field(name="sync_from_collector", default=True)
    device: Annotated[str, Meta(max_length=64)] | None = None
    project: Text | None = None
    language: Annotated[str, Meta(max_length=128)] | None = None
    since: Moment | None = msgspec.field(name="from", default=None)
    until: Moment | None = msgspec.field(name="to", default=None)
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: Text | None = None


class SyncQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to pull again: one device or all, from the newest cursor or everything changed after a time."""

    since: Moment | None = None
    device: Annotated[str, Meta(max_length=64)] | None = None


class Freshness(msgspec.Struct, kw_only=True):
    """How fresh the stored sessions of one device are."""

    device_id: str
    name: str
    state: StateAnswer
    last_pulled_at: datetime | None
    is_pull_asked: bool


class SessionPage(msgspec.Struct, kw_only=True):
    """Some sessions, newest first, each as its device sent it."""

    sessions: list[wire.FileSession]
    has_more: bool
    next_cursor: str | None
    freshness: list[Freshness]


class SentPage(msgspec.Struct, kw_only=True):
    """The same with sessions that stay the bytes that were received: they are neither read nor written again."""

    sessions: list[msgspec.Raw]
    has_more: bool
    next_cursor: str | None
    freshness: list[Freshness]


class Asked(msgspec.Struct, kw_only=True):
    """The job that does it."""

    job_id: uuid.UUID


class CollectorStatus(msgspec.Struct, kw_only=True):
    """Whether the hub reaches one device, and where."""

    device_id: str
    name: str
    is_connected: bool
    endpoint: str | None
    road: str | None
    last_seen_at: datetime | None
    last_pulled_at: datetime | None
    state: StateAnswer


class CollectorStatusList(msgspec.Struct, kw_only=True):
    """Every device of the account."""

    devices: list[CollectorStatus]


@endpoint(
    calls,
    "GET",
    "/api/sessions",
    query=SessionsQuery,
    answers={200: SessionPage},
    errors=(404,),
    summary="Stored sessions, at once. Devices that are not fresh are pulled meanwhile, unless told not to.",
)
def list_sessions(query: SessionsQuery) -> SentPage:
    account_id = current_account().id
    check_device(account_id, query.device)
    page = sessions.list_sessions(
        account_id,
        device_id=query.device,
        project=query.project,
        language=query.language,
        from_ms=to_ms(query.since),
        to_ms=to_ms(query.until),
        limit=query.limit,
        cursor=query.cursor,
    )
    records = [msgspec.Raw(stored.record) for stored in page.items]
    is_start = query.cursor is None
    hastened = hasten_pulls(account_id, query.device) if query.is_pull_wanted and is_start else ()
    return SentPage(
        sessions=records,
        has_more=page.next_cursor is not None,
        next_cursor=page.next_cursor,
        freshness=[tell_freshness(fresh, hastened) for fresh in list_freshness(account_id, query.device)],
    )


@endpoint(
    calls,
    "POST",
    "/api/sessions/sync",
    query=SyncQuery,
    answers={202: Asked},
    errors=(404, 409),
    summary="Pull one device or all of them now; with `since`, everything that changed after that time.",
)
def request_pull(query: SyncQuery) -> Asked:
    account_id = current_account().id
    check_device(account_id, query.device)
    job = sessions.request_pull_all(account_id, device_id=query.device, since=query.since)
    return Asked(job_id=job.id)


@endpoint(
    calls,
    "GET",
    "/api/sessions/collector-status",
    answers={200: CollectorStatusList},
    summary="Whether the hub reaches each device, where, and since when.",
)
def list_status() -> CollectorStatusList:
    return CollectorStatusList(devices=[tell_status(fresh) for fresh in sessions.freshness(current_account().id)])


def check_device(account_id: int, device_id: str | None) -> None:
    """NotFound for a device that is not this account's."""
    if device_id is not None:
        devices.get_device(account_id, device_id)


def list_freshness(account_id: int, device_id: str | None) -> list[DeviceFreshness]:
    """How fresh the account's devices are, or the one that was asked for."""
    return [fresh for fresh in sessions.freshness(account_id) if device_id in (None, fresh.device.id)]


def tell_freshness(fresh: DeviceFreshness, hastened: Collection[str]) -> Freshness:
    """The freshness of one device, and whether this very request had it pulled."""
    return Freshness(
        device_id=fresh.device.id,
        name=fresh.device.name,
        state=tell_state(fresh.state),
        last_pulled_at=fresh.last_pulled_at,
        is_pull_asked=fresh.device.id in hastened,
    )


def tell_status(fresh: DeviceFreshness) -> CollectorStatus:
    """One device as seed 001's status call tells it."""
    return CollectorStatus(
        device_id=fresh.device.id,
        name=fresh.device.name,
        is_connected=fresh.device.is_paired and fresh.device.endpoint_url is not None,
        endpoint=fresh.device.endpoint_url,
        road=fresh.road,
        last_seen_at=fresh.device.last_seen_at,
        last_pulled_at=fresh.last_pulled_at,
        state=tell_state(fresh.state),
    )


def to_ms(moment: datetime | None) -> int | None:
    """A parameter's time in milliseconds."""
    return None if moment is None else wire.to_ms(moment)
