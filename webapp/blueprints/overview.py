"""The first page: how much, on what, when, where; what runs; what a person must decide."""

from collections.abc import Sequence
from datetime import date

from flask import Blueprint, Response, request, url_for

from webapp.blueprints import formatting, htmx
from webapp.blueprints.access import current_account
from webapp.blueprints.charts import columns, heat, shares, strip
from webapp.features.overview import service as overview
from webapp.features.sessions import service as sessions
from webapp.features.sessions.coverage import sum_up
from webapp.features.sessions.totals import Totals

pages = Blueprint("overview", __name__)

RANGES = (7, 30, 90)
NAMED_PROJECTS = 8
STRIP_DAYS = 30


@pages.get("/")
def show_overview() -> Response:
    """`/?days=30&device=`: the page, or its live part."""
    account = current_account()
    days = read_range(request.args.get("days", ""))
    device_id = request.args.get("device") or None
    seen = overview.read_overview(account.id, days=days, device_id=device_id)
    covered = sessions.read_coverage(account.id, STRIP_DAYS)
    formatting.use_colours(sessions.list_filters(account.id).projects)
    return htmx.answer(
        "overview/index.html",
        {"overview-live": "overview/_live.html"},
        overview=seen,
        days=days,
        ranges=RANGES,
        device_id=device_id,
        devices=[machine.device for machine in seen.machines],
        here=url_for("overview.show_overview", days=days, device=device_id),
        strips={key: strip.draw_small(marks) for key, marks in covered.items()},
        coverage=sum_up(covered),
        day_url=url_for("sessions.list_sessions", device=device_id, day=""),
        **draw(seen.totals),
    )


def read_range(text: str) -> int:
    """The number of days in the address; 30 unless it is one that the page offers."""
    return int(text) if text in {str(days) for days in RANGES} else 30


def draw(totals: Totals) -> dict[str, object]:
    """The pictures of the page."""
    named = [share.name for share in totals.projects[:NAMED_PROJECTS] if share.name]
    return {
        "chart": columns.draw_columns(list_days(totals), formatting.colour, named),
        "projects": shares.draw_bars([(share.name, share.ms) for share in totals.projects]),
        "languages": shares.draw_bars([(share.name, share.ms) for share in totals.languages]),
        "heat": heat.draw_heat(totals.hours),
    }


def list_days(totals: Totals) -> list[tuple[date, int, int, Sequence[tuple[str, int]]]]:
    """Each day as the picture wants it."""
    return [(day.day, day.ms, day.agent_ms, day.projects) for day in totals.days]
