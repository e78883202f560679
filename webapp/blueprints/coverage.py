"""The *Coverage* tab of a machine: what is proven of each day, its holes, *Check now* and *Refill*."""

from collections.abc import Sequence
from datetime import date, timedelta

from flask import Blueprint, Response, flash, request, url_for

from webapp.blueprints import formatting, htmx
from webapp.blueprints.access import current_account
from webapp.blueprints.charts import strip
from webapp.blueprints.devices import get_machine
from webapp.errors import Conflict
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job
from webapp.features.sessions import service as sessions
from webapp.features.sessions.coverage import DeviceCoverage, ShownDay

pages = Blueprint("coverage", __name__)

DAYS = 90
ALIVE = {"sessions.refill": "Filling holes", "sessions.pull_device": "Pulling"}


@pages.get("/devices/<device_id>/coverage")
def show_coverage(device_id: str) -> Response:
    """The last 90 days. `?job=` follows a check or a refill that somebody asked for."""
    account = current_account()
    machine = get_machine(account.id, device_id)
    today = formatting.local_today()
    covered = sessions.read_device_coverage(account.id, device_id, today - timedelta(days=DAYS - 1), today)
    work = find_work(account.id, device_id)
    return htmx.answer(
        "devices/coverage.html",
        {"device-coverage": "devices/_coverage.html"},
        machine=machine,
        covered=covered,
        sentence=say(covered, machine.device.kind, today),
        cells=strip.draw_days(covered.days),
        legend=[(strip.draw_one(status), name, count) for status, name, count in strip.draw_legend(covered.days)],
        names=strip.NAMES,
        can_prove=covered.checked_at is not None or bool(covered.holes),
        work=work,
        here=url_for("coverage.show_coverage", device_id=device_id, job=work.id if work else None),
        job=None,
        tab="coverage",
    )


@pages.post("/devices/<device_id>/coverage/check")
def request_check(device_id: str) -> Response:
    """*Check now*: pulls, and compares every day."""
    try:
        job = sessions.request_check(current_account().id, device_id)
    except Conflict as error:
        return _refuse(device_id, error)
    return htmx.go(url_for("coverage.show_coverage", device_id=device_id, job=job.id))


@pages.post("/devices/<device_id>/coverage/refill")
def request_refill(device_id: str) -> Response:
    """*Refill*: fetches the days of the holes again."""
    try:
        job = sessions.request_refill(current_account().id, device_id)
    except Conflict as error:
        return _refuse(device_id, error)
    return htmx.go(url_for("coverage.show_coverage", device_id=device_id, job=job.id))


def find_work(account_id: int, device_id: str) -> Job | None:
    """The job to follow: the one in the address, else a refill that is open."""
    asked = request.args.get("job", "")
    if asked:
        job = jobs.get_job(account_id, asked)
        return job if job.device_id == device_id else None
    mine = (job for job in jobs.list_unfinished(account_id) if job.device_id == device_id)
    return next((job for job in mine if job.type == "sessions.refill"), None)


def say(covered: DeviceCoverage, kind: str, today: date) -> str:
    """What the page says on top: how far the proof goes, and what is open."""
    if kind != "collector":
        return "This editor sends its sessions by itself, so there is nothing to compare them with."
    if covered.checked_at is None and not covered.holes:
        return say_nothing(covered)
    waiting = [told for told in covered.days if told.status == "waiting"]
    sentences = [say_proven(covered, waiting, today)]
    if waiting and waiting[-1].reason:
        sentences.append(waiting[-1].reason)
    if covered.problem is not None and covered.detail:
        sentences.append(f"The last comparison failed: {covered.detail}")
    return " ".join(sentence for sentence in sentences if sentence)


def say_nothing(covered: DeviceCoverage) -> str:
    """Why nothing is proven of a machine."""
    if covered.problem in ("plain", "unsupported"):
        return (
            "Nothing can be proven of this machine: its collector cannot say what it holds of each day. "
            "Its sessions are pulled all the same. Install Muster's own collector, or update it, to have days proven."
        )
    if covered.problem is not None:
        return f"Nothing is proven yet. The comparison failed: {covered.detail or 'the machine did not answer it.'}"
    return "Nothing is proven yet: its days are compared at the end of the first pull."


def say_proven(covered: DeviceCoverage, waiting: Sequence[ShownDay], today: date) -> str:
    """`Everything since 3 March is proven, except 2 days.`"""
    if covered.proven_since is None:
        return ""
    first, last = covered.proven_since, waiting[0].day - timedelta(days=1) if waiting else today
    if last < first:
        return ""
    span = f"since {name_day(first, today)}"
    if first == last:
        span = "of today" if last == today else f"of {name_day(last, today)}"
    elif last < today:
        span = f"from {name_day(first, today)} to {name_day(last, today)}"
    count = sum(first <= hole.day <= last for hole in covered.holes)
    if count > (last - first).days:
        return "Not one day is proven yet."
    except_for = f", except {formatting.counted(count, 'day')}" if count else ""
    return f"Everything {span} is proven{except_for}."


def name_day(day: date, today: date) -> str:
    """`3 March`, with its year when that is not this year."""
    return f"{day.day} {formatting.MONTHS[day.month - 1]}{'' if day.year == today.year else f' {day.year}'}"


def _refuse(device_id: str, error: Conflict) -> Response:
    flash(error.detail, "error")
    return htmx.go(url_for("coverage.show_coverage", device_id=device_id))
