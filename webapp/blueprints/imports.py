"""Importing an export file: the form on a machine's page, and the page that shows it again with what was wrong."""

import errno

from flask import Blueprint, Response, make_response, render_template, request, url_for
from werkzeug.exceptions import RequestEntityTooLarge

from webapp.blueprints import htmx
from webapp.blueprints.access import current_account
from webapp.blueprints.busy import FULL
from webapp.blueprints.errors import tell_muster_error
from webapp.errors import Invalid, NotFound
from webapp.features.devices import service as devices
from webapp.features.sessions import importing

pages = Blueprint("imports", __name__)

NO_FILE = "Choose the file first. It is the one that “collector export” wrote on the machine."
TOO_LARGE = (
    "The file is larger than the 9 MB that fit through this form. Put it into the folder “inbox” "
    "of the hub's data directory instead: it is imported from there by itself."
)


@pages.get("/devices/<device_id>/import")
def show_import(device_id: str) -> Response:
    """The form, and how to come by a file."""
    return render(device_id, "", 200)


@pages.post("/devices/<device_id>/import")
def import_file(device_id: str) -> Response:
    """Takes the file in, and goes to the job that imports it. A wrong file shows the form again."""
    account = current_account()
    file = request.files.get("file")
    if file is None or not file.filename:
        return render(device_id, NO_FILE, 422)
    try:
        job = importing.receive_file(account.id, device_id, file.stream, file.filename)
    except Invalid as error:
        return render(device_id, error.detail, 422)
    return htmx.go(url_for("jobs.show_job", job_id=job.id))


@pages.errorhandler(RequestEntityTooLarge)
def tell_too_large(_error: RequestEntityTooLarge) -> Response:
    """The form again, with the limit and the way around it."""
    try:
        return render((request.view_args or {}).get("device_id", ""), TOO_LARGE, 413)
    except NotFound as gone:
        return tell_muster_error(gone)


@pages.errorhandler(OSError)
def tell_full_disk(error: OSError) -> Response:
    """The form again, when there is no room for the file."""
    if error.errno != errno.ENOSPC:
        raise error
    return render((request.view_args or {}).get("device_id", ""), FULL.detail, FULL.status)


def render(device_id: str, error: str, status: int) -> Response:
    """The page with the form."""
    device = devices.get_device(current_account().id, device_id)
    return make_response(render_template("devices/import.html", device=device, error=error), status)
