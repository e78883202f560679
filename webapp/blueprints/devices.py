"""Machines: the list, one machine and what can be done with it. Pairing has a page of its own."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, flash, request, url_for

from webapp.blueprints import formatting, htmx
from webapp.blueprints.access import current_account
from webapp.blueprints.charts import strip
from webapp.errors import Invalid
from webapp.features.devices import service as devices
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job
from webapp.features.overview import service as overview
from webapp.features.overview.service import Machine
from webapp.features.sessions import service as sessions
from webapp.features.sessions.restarts import list_restarts

pages = Blueprint("devices", __name__)

LAST_PULLS = 10
STRIP_DAYS = 30
LEVELS = ("problem", "late", "off", "ok")
LONG_AGO = datetime.min.replace(tzinfo=UTC)
ORDERS: dict[str, Callable[[Machine], Any]] = {
    "name": lambda machine: machine.device.name.casefold(),
    "state": lambda machine: LEVELS.index(machine.state.level),
    "pulled": lambda machine: -(machine.last_pulled_at or LONG_AGO).timestamp(),
    "today": lambda machine: -machine.today_ms,
}


@pages.get("/devices")
def list_devices() -> Response:
    """Every machine with its state; `?q=` keeps those whose name holds it, `?sort=` orders them."""
    account = current_account()
    text = request.args.get("q", "").strip()
    sort = request.args.get("sort", "")
    sort = sort if sort in ORDERS else "name"
    machines = [m for m in overview.list_machines(account.id) if text.casefold() in m.device.name.casefold()]
    return htmx.answer(
        "devices/index.html",
        {"machines": "devices/_machines.html"},
        machines=sorted(machines, key=ORDERS[sort]),
        strips={key: strip.draw_small(marks) for key, marks in sessions.read_coverage(account.id, STRIP_DAYS).items()},
        text=text,
        sort=sort,
        here=url_for("devices.list_devices", q=text or None, sort=sort if sort != "name" else None),
    )


@pages.get("/devices/<device_id>")
def show_device(device_id: str) -> Response:
    """The *Now* tab: facts, and the last pulls. `?job=` follows a pull that somebody asked for."""
    account = current_account()
    machine = get_machine(account.id, device_id)
    job = find_pull_job(account.id, device_id)
    devices.note_watched(device_id)
    response = htmx.answer(
        "devices/now.html",
        {
            "device-now": "devices/_now.html",
            "device-state": "devices/_state.html",
            "pull-now": "devices/_pull_now.html",
        },
        machine=machine,
        pulls=sessions.list_pulls(account.id, device_id, limit=LAST_PULLS),
        restarts=list_restarts(account.id, device_id),
        job=job,
        tab="now",
    )
    if htmx.is_htmx() and job and job.is_finished:
        response.headers["HX-Trigger"] = "pulled"
    return response


@pages.get("/devices/<device_id>/time")
def show_time(device_id: str) -> Response:
    """The *Time* tab: the machine's sessions, newest first."""
    account = current_account()
    machine = get_machine(account.id, device_id)
    page = sessions.list_sessions(account.id, device_id=device_id, cursor=request.args.get("cursor"))
    formatting.use_colours(sessions.list_filters(account.id).projects)
    return htmx.answer("devices/time.html", {}, machine=machine, page=page, job=None, tab="time")


@pages.post("/devices/<device_id>/pulls")
def request_pull(device_id: str) -> Response:
    """*Pull now*: makes the job, and shows it where the button was."""
    account = current_account()
    job = sessions.request_pull(account.id, device_id)
    if not htmx.is_htmx():
        return htmx.go(url_for("devices.show_device", device_id=device_id, job=job.id))
    return htmx.live("devices/_pull_now.html", machine=get_machine(account.id, device_id), job=job)


@pages.post("/devices/<device_id>/name")
def rename_device(device_id: str) -> Response:
    """Another name for the machine, on the hub only."""
    try:
        device = devices.rename_device(current_account().id, device_id, request.form.get("name", ""))
        flash(f"The machine is now called {device.name}.")
    except Invalid as error:
        flash(error.detail, "error")
    return htmx.go(url_for("devices.show_device", device_id=device_id))


@pages.get("/devices/<device_id>/unpair")
def confirm_unpair(device_id: str) -> Response:
    """What unpairing does, and the button."""
    device = devices.get_device(current_account().id, device_id)
    return htmx.answer("devices/unpair.html", {}, device=device)


@pages.post("/devices/<device_id>/unpair")
def unpair_device(device_id: str) -> Response:
    """Ends the link; what was collected stays."""
    account = current_account()
    name = devices.get_device(account.id, device_id).name
    devices.unpair_device(account.id, device_id)
    flash(f"{name} is unpaired. Its sessions are still here.")
    return htmx.go(url_for("devices.show_device", device_id=device_id))


@pages.get("/devices/<device_id>/delete")
def confirm_delete(device_id: str) -> Response:
    """What deleting removes, and the form in which the name must be typed."""
    device = devices.get_device(current_account().id, device_id)
    return htmx.answer("devices/delete.html", {}, device=device, typed="", error="")


@pages.post("/devices/<device_id>/delete")
def delete_device(device_id: str) -> Response:
    """Removes the machine and all that came from it, when its name was typed."""
    account = current_account()
    device = devices.get_device(account.id, device_id)
    name, typed = device.name, request.form.get("name", "").strip()
    if typed != name:
        error = f"Type {name} exactly as it is written here."
        response = htmx.answer("devices/delete.html", {}, device=device, typed=typed, error=error)
        response.status_code = 422
        return response
    devices.delete_device(account.id, device_id)
    flash(f"{name} and everything that came from it are deleted.")
    return htmx.go(url_for("devices.list_devices"))


def get_machine(account_id: int, device_id: str) -> Machine:
    """The machine as the overview knows it; NotFound if it is not this account's."""
    devices.get_device(account_id, device_id)
    return next(m for m in overview.list_machines(account_id) if m.device.id == device_id)


def find_pull_job(account_id: int, device_id: str) -> Job | None:
    """The pull to follow: the one in the address, else the one that is open."""
    asked = request.args.get("job", "")
    if asked:
        job = jobs.get_job(account_id, asked)
        return job if job.device_id == device_id else None
    return next((job for job in jobs.list_unfinished(account_id) if job.device_id == device_id), None)
