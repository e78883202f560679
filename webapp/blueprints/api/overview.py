"""The first page's figures, for programs."""

from typing import Annotated

import msgspec
from flask import Blueprint
from msgspec import Meta

from webapp.blueprints.access import current_account
from webapp.blueprints.api.devices import DeviceAnswer, tell_device
from webapp.blueprints.api.endpoint import endpoint
from webapp.blueprints.api.jobs import JobAnswer, tell_job
from webapp.blueprints.api.statistics import (
    DayAnswer,
    ShareAnswer,
    tell_days,
    tell_hours,
    tell_shares,
)
from webapp.features.devices import service as devices
from webapp.features.overview import service as overview

calls = Blueprint("api_overview", __name__)


class OverviewQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How many days the figures go back, and for which device."""

    days: Annotated[int, Meta(ge=1, le=366)] = 30
    device: Annotated[str, Meta(max_length=64)] | None = None


class OverviewAnswer(msgspec.Struct, kw_only=True):
    """How much, on what, when, where; what runs; what a person must decide."""

    timezone: str
    today_ms: int
    week_ms: int
    agent_today_ms: int
    days: list[DayAnswer]
    projects: list[ShareAnswer]
    languages: list[ShareAnswer]
    hours: list[list[int]]
    devices: list[DeviceAnswer]
    jobs: list[JobAnswer]
    needs_you: list[str]


@endpoint(
    calls,
    "GET",
    "/api/overview",
    query=OverviewQuery,
    answers={200: OverviewAnswer},
    errors=(404,),
    summary="The figures of the first page.",
)
def show_overview(query: OverviewQuery) -> OverviewAnswer:
    account = current_account()
    if query.device is not None:
        devices.get_device(account.id, query.device)
    seen = overview.read_overview(account.id, days=query.days, device_id=query.device)
    return OverviewAnswer(
        timezone=account.timezone,
        today_ms=seen.today_ms,
        week_ms=seen.week_ms,
        agent_today_ms=seen.agent_today_ms,
        days=tell_days(seen.totals),
        projects=tell_shares(seen.totals.projects),
        languages=tell_shares(seen.totals.languages),
        hours=tell_hours(seen.totals),
        devices=[tell_device(machine) for machine in seen.machines],
        jobs=[tell_job(job) for job in seen.jobs],
        needs_you=[notice.sentence for notice in seen.needs_you],
    )
