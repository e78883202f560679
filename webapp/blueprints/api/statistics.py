"""Figures of stored sessions: how much, per day, on what, when."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import msgspec
from flask import Blueprint

from webapp.blueprints.access import current_account
from webapp.blueprints.api.endpoint import endpoint
from webapp.blueprints.api.ranges import RangeQuery, read_range
from webapp.features.devices import service as devices
from webapp.features.sessions import totals
from webapp.features.sessions.totals import Share, Totals

calls = Blueprint("api_statistics", __name__)


class ShareAnswer(msgspec.Struct, kw_only=True):
    """Credited milliseconds of one project, language or device."""

    name: str
    ms: int


class DayAnswer(msgspec.Struct, kw_only=True):
    """One day. `ms` counts no instant twice, whatever ran at once; `agent_ms` is the agents' own time."""

    day: date
    ms: int
    agent_ms: int
    projects: list[ShareAnswer]


class RangeAnswer(msgspec.Struct, kw_only=True):
    """The days that were counted, in the account's zone."""

    first_day: date
    last_day: date
    timezone: str
    total_ms: int
    agent_ms: int


class Summary(RangeAnswer, kw_only=True):
    """All figures of a range."""

    days: list[DayAnswer]
    projects: list[ShareAnswer]
    languages: list[ShareAnswer]
    devices: list[ShareAnswer]
    hours: list[list[int]]


class Daily(RangeAnswer, kw_only=True):
    """A range by day."""

    days: list[DayAnswer]


class Languages(RangeAnswer, kw_only=True):
    """A range by language, the largest first."""

    languages: list[ShareAnswer]


class Projects(RangeAnswer, kw_only=True):
    """A range by project, the largest first; `""` is work outside any project."""

    projects: list[ShareAnswer]


class Hourly(RangeAnswer, kw_only=True):
    """A range by weekday (Monday first) and local hour."""

    hours: list[list[int]]


Span = dict[str, Any]


@endpoint(
    calls,
    "GET",
    "/api/sessions/stats",
    query=RangeQuery,
    answers={200: Summary},
    errors=(404,),
    summary="All figures of a range.",
)
def summarise(query: RangeQuery) -> Summary:
    counted, span = count(query)
    return Summary(
        **span,
        days=tell_days(counted),
        projects=tell_shares(counted.projects),
        languages=tell_shares(counted.languages),
        devices=tell_shares(counted.devices),
        hours=tell_hours(counted),
    )


@endpoint(
    calls,
    "GET",
    "/api/sessions/stats/daily",
    query=RangeQuery,
    answers={200: Daily},
    errors=(404,),
    summary="A range by day.",
)
def count_days(query: RangeQuery) -> Daily:
    counted, span = count(query)
    return Daily(**span, days=tell_days(counted))


@endpoint(
    calls,
    "GET",
    "/api/sessions/stats/languages",
    query=RangeQuery,
    answers={200: Languages},
    errors=(404,),
    summary="A range by language.",
)
def count_languages(query: RangeQuery) -> Languages:
    counted, span = count(query)
    return Languages(**span, languages=tell_shares(counted.languages))


@endpoint(
    calls,
    "GET",
    "/api/sessions/stats/projects",
    query=RangeQuery,
    answers={200: Projects},
    errors=(404,),
    summary="A range by project.",
)
def count_projects(query: RangeQuery) -> Projects:
    counted, span = count(query)
    return Projects(**span, projects=tell_shares(counted.projects))


@endpoint(
    calls,
    "GET",
    "/api/sessions/stats/hourly",
    query=RangeQuery,
    answers={200: Hourly},
    errors=(404,),
    summary="A range by hour.",
)
def count_hours(query: RangeQuery) -> Hourly:
    counted, span = count(query)
    return Hourly(**span, hours=tell_hours(counted))


def count(query: RangeQuery) -> tuple[Totals, Span]:
    """The totals of the range, and the fields that every answer about it has."""
    account = current_account()
    if query.device is not None:
        devices.get_device(account.id, query.device)
    asked = read_range(query, account)
    counted = totals.read_totals(account.id, asked.first, asked.last, device_id=query.device)
    span: Span = {
        "first_day": asked.first,
        "last_day": asked.last,
        "timezone": account.timezone,
        "total_ms": counted.total_ms,
        "agent_ms": counted.agent_ms,
    }
    return counted, span


def tell_days(counted: Totals) -> list[DayAnswer]:
    """Each day with its projects."""
    return [
        DayAnswer(
            day=day.day,
            ms=day.ms,
            agent_ms=day.agent_ms,
            projects=[ShareAnswer(name=name, ms=ms) for name, ms in day.projects],
        )
        for day in counted.days
    ]


def tell_shares(shares: Iterable[Share]) -> list[ShareAnswer]:
    """Shares as the API tells them."""
    return [ShareAnswer(name=share.name, ms=share.ms) for share in shares]


def tell_hours(counted: Totals) -> list[list[int]]:
    """Seven weekdays of 24 hours."""
    return [list(day) for day in counted.hours]
