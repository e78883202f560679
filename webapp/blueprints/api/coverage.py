"""What is proven of each day of a machine; having it compared now, and its holes filled."""

from datetime import date, datetime
from typing import Literal

import msgspec
from flask import Blueprint

from webapp.blueprints.access import current_account
from webapp.blueprints.api.endpoint import endpoint
from webapp.blueprints.api.ranges import RangeQuery, read_range
from webapp.blueprints.api.sessions import Asked
from webapp.features.sessions import service as sessions
from webapp.features.sessions.coverage import ShownDay

calls = Blueprint("api_coverage", __name__)

DAYS = 90


class CoverageQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The days between two, both included; the last 90 unless told."""

    first: date | None = msgspec.field(name="from", default=None)
    last: date | None = msgspec.field(name="to", default=None)


class DayAnswer(msgspec.Struct, kw_only=True):
    """One local day. `waiting`: not compared since it was over. `unknown`: nothing is claimed of it.

    Of the machine's `sessions`, `held` are here and `quarantined` came but could not be accepted; `kept` are only here.
    """

    day: date
    status: Literal["complete", "off", "hole", "waiting", "unknown"]
    sessions: int
    held: int
    quarantined: int
    kept: int
    ran_seconds: int
    reason: str | None
    next_try_at: datetime | None
    checked_at: datetime | None


class CoverageAnswer(msgspec.Struct, kw_only=True):
    """The days of a machine, oldest first. `since` is when its collector's database was made.

    `problem` says why days cannot be compared: `unsupported` or `plain` for a collector that cannot be asked.
    """

    zone: str
    since: datetime | None
    checked_at: datetime | None
    problem: str | None
    days: list[DayAnswer]


@endpoint(
    calls,
    "GET",
    "/api/devices/<device_id:device_id>/coverage",
    query=CoverageQuery,
    answers={200: CoverageAnswer},
    summary="What is proven of each day of a machine: complete, machine off, or a hole with its reason.",
)
def show_coverage(device_id: str, query: CoverageQuery) -> CoverageAnswer:
    account = current_account()
    span = read_range(RangeQuery(first=query.first, last=query.last, days=DAYS), account)
    covered = sessions.read_device_coverage(account.id, device_id, span.first, span.last)
    return CoverageAnswer(
        zone=covered.zone,
        since=covered.since_at,
        checked_at=covered.checked_at,
        problem=covered.problem,
        days=[tell_day(day) for day in covered.days],
    )


@endpoint(
    calls,
    "POST",
    "/api/devices/<device_id:device_id>/coverage/check",
    answers={202: Asked},
    errors=(409,),
    summary="Pull a machine now and compare every day of it.",
)
def request_check(device_id: str) -> Asked:
    return Asked(job_id=sessions.request_check(current_account().id, device_id).id)


@endpoint(
    calls,
    "POST",
    "/api/devices/<device_id:device_id>/coverage/refill",
    answers={202: Asked},
    errors=(409,),
    summary="Fetch the days of a machine's holes again; 409 when it has none.",
)
def request_refill(device_id: str) -> Asked:
    return Asked(job_id=sessions.request_refill(current_account().id, device_id).id)


def tell_day(told: ShownDay) -> DayAnswer:
    """The day as the API tells it."""
    return DayAnswer(
        day=told.day,
        status=told.status,  # type: ignore[arg-type]  # one of the five
        sessions=told.sessions,
        held=told.held,
        quarantined=told.quarantined,
        kept=told.kept,
        ran_seconds=told.ran_seconds,
        reason=told.reason,
        next_try_at=told.next_try_at,
        checked_at=told.checked_at,
    )
