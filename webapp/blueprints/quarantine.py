"""What could not be accepted of a machine: each with its reason and text, tried again or dismissed."""

from dataclasses import dataclass

from flask import Blueprint, Response, flash, request, url_for

from webapp.blueprints import htmx
from webapp.blueprints.access import current_account
from webapp.blueprints.devices import get_machine
from webapp.blueprints.formatting import counted
from webapp.blueprints.rejections import Excerpt, cut_out, explain
from webapp.errors import Conflict
from webapp.features.devices import service as devices
from webapp.features.sessions import service as sessions
from webapp.features.sessions.models import Pull, QuarantinedSession
from webapp.features.sessions.quarantine import COUNT_PER_DEVICE, KEEP_PER_DEVICE

pages = Blueprint("quarantine", __name__)

PER_PAGE = 20


@dataclass(frozen=True)
class Shown:
    """A quarantined session as the page shows it. `excerpt` is None when its text was not kept."""

    row: QuarantinedSession
    sentence: str
    excerpt: Excerpt | None
    pull: Pull | None


@pages.get("/devices/<device_id>/quarantine")
def list_quarantined(device_id: str) -> Response:
    """The *Quarantine* tab, newest first."""
    account = current_account()
    machine = get_machine(account.id, device_id)
    page = sessions.list_quarantined(account.id, device_id, limit=PER_PAGE, cursor=request.args.get("cursor"))
    pulls = sessions.find_pulls(account.id, [row.pull_id for row in page.items if row.pull_id is not None])
    return htmx.answer(
        "devices/quarantine.html",
        {},
        machine=machine,
        held=[show(row, pulls.get(row.pull_id or 0)) for row in page.items],
        next_cursor=page.next_cursor,
        kept=KEEP_PER_DEVICE,
        counted_up_to=COUNT_PER_DEVICE,
        job=None,
        tab="quarantine",
    )


@pages.post("/devices/<device_id>/quarantine/retry")
def retry_all(device_id: str) -> Response:
    """*Try all again* with today's rules."""
    account = current_account()
    devices.get_device(account.id, device_id)
    outcome = sessions.retry_all_quarantined(account.id, device_id)
    tell(outcome)
    return htmx.go(url_for("quarantine.list_quarantined", device_id=device_id))


@pages.post("/devices/<device_id>/quarantine/<int(max=999999999):quarantined_id>/retry")
def retry_one(device_id: str, quarantined_id: int) -> Response:
    """*Try again* for one."""
    try:
        tell(sessions.retry_quarantined(current_account().id, device_id, quarantined_id))
    except Conflict as error:
        flash(error.detail, "error")
    return htmx.go(url_for("quarantine.list_quarantined", device_id=device_id))


@pages.get("/devices/<device_id>/quarantine/<int(max=999999999):quarantined_id>/dismiss")
def confirm_dismissal(device_id: str, quarantined_id: int) -> Response:
    """What dismissing does, and the button."""
    account = current_account()
    row = sessions.get_quarantined(account.id, device_id, quarantined_id)
    device = devices.get_device(account.id, device_id)
    return htmx.answer("devices/dismiss.html", {}, device=device, one=show(row, None))


@pages.post("/devices/<device_id>/quarantine/<int(max=999999999):quarantined_id>/dismiss")
def dismiss(device_id: str, quarantined_id: int) -> Response:
    """Forgets the text of one; the same bytes do not come back."""
    sessions.dismiss_quarantined(current_account().id, device_id, quarantined_id)
    flash("Dismissed. Should the machine send exactly the same again, it is passed over.")
    return htmx.go(url_for("quarantine.list_quarantined", device_id=device_id))


def show(row: QuarantinedSession, pull: Pull | None) -> Shown:
    """The row with its reason in plain words and the part of its text that is wrong."""
    excerpt = cut_out(row.record, row.reason) if row.record else None
    return Shown(row, explain(row.reason), excerpt, pull)


def tell(outcome: sessions.Outcome) -> None:
    """How trying again went, as the next page says it."""
    still = outcome.tried - outcome.accepted
    if not outcome.tried:
        flash("There is nothing that can be tried again.")
    elif not still:
        flash(f"{counted(outcome.accepted, 'session')} accepted and stored.")
    elif not outcome.accepted:
        flash(f"Still not acceptable: {counted(still, 'session')}. The reason is the one below.", "error")
    else:
        flash(f"{counted(outcome.accepted, 'session')} accepted and stored, {counted(still, 'session')} still not.")
