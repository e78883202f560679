"""Pairing a machine: what it allows, the code with its countdown, and the moment when it is claimed."""

from datetime import datetime

from flask import Blueprint, Response, request, url_for

from webapp.blueprints import htmx
from webapp.blueprints.access import current_account
from webapp.features.devices import service as devices
from webapp.features.devices.codes import LIFE
from webapp.lib import clock

pages = Blueprint("pairing", __name__)

CODE_SECONDS = int(LIFE.total_seconds())


@pages.get("/pairing")
def show_pairing() -> Response:
    """What pairing is, the button that makes a code, and the collectors seen nearby."""
    account = current_account()
    devices.request_discovery()
    return htmx.answer(
        "devices/pairing.html", {"nearby": "devices/_nearby.html"}, sightings=devices.list_sightings(account.id)
    )


@pages.post("/pairing")
def create_code() -> Response:
    """Makes a code and goes to its page."""
    _, code = devices.create_code(current_account().id)
    return htmx.go(url_for("pairing.show_code", code=code))


@pages.get("/pairing/<code>")
def show_code(code: str) -> Response:
    """The code until it is claimed or expired; then the machine, or the button for another code."""
    account = current_account()
    devices.request_discovery()
    status = devices.find_code(account.id, code)
    device = devices.get_device(account.id, status.device_id) if status.device_id else None
    return htmx.answer(
        "devices/code.html",
        {"pairing-code": "devices/_code.html", "nearby": "devices/_nearby.html"},
        code=code,
        status=status,
        device=device,
        seconds_left=count_down(status.expires_at),
        total_seconds=CODE_SECONDS,
        hub_url=request.host_url.rstrip("/"),
        sightings=devices.list_sightings(account.id),
    )


def count_down(expires_at: datetime) -> int:
    """Whole seconds until the code dies."""
    return max(0, int((expires_at - clock.utc_now()).total_seconds()))
