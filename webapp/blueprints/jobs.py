"""The ledger as pages: every job in words, and the story of one."""

from flask import Blueprint, Response, flash, request, url_for

from webapp.blueprints import htmx
from webapp.blueprints.access import current_account
from webapp.errors import Conflict
from webapp.features.devices import service as devices
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import STATUSES

pages = Blueprint("jobs", __name__)


@pages.get("/jobs")
def list_jobs() -> Response:
    """`/jobs?status=&cursor=`, newest first."""
    account = current_account()
    status = request.args.get("status")
    status = status if status in STATUSES else None
    page = jobs.list_jobs(account.id, status=status, cursor=request.args.get("cursor"))
    return htmx.answer(
        "jobs/index.html",
        {"jobs": "jobs/_rows.html"},
        page=page,
        status=status,
        statuses=STATUSES,
        cursor=request.args.get("cursor"),
        device_names=name_devices(account.id),
    )


@pages.get("/jobs/<job_id>")
def show_job(job_id: str) -> Response:
    """One job: how far, its story, its result."""
    account = current_account()
    job = jobs.get_job(account.id, job_id)
    return htmx.answer("jobs/detail.html", {"job": "jobs/_job.html"}, job=job, device_names=name_devices(account.id))


@pages.post("/jobs/<job_id>/cancel")
def cancel_job(job_id: str) -> Response:
    """Stops it, or says that it is too late."""
    try:
        jobs.cancel_job(current_account().id, job_id)
    except Conflict as error:
        flash(error.detail, "error")
    return htmx.go(url_for("jobs.show_job", job_id=job_id))


@pages.post("/jobs/<job_id>/retry")
def retry_job(job_id: str) -> Response:
    """Queues it again, or says why not."""
    try:
        jobs.retry_job(current_account().id, job_id)
    except Conflict as error:
        flash(error.detail, "error")
    return htmx.go(url_for("jobs.show_job", job_id=job_id))


def name_devices(account_id: int) -> dict[str, str]:
    """Device id -> its name."""
    return {device.id: device.name for device in devices.list_devices(account_id)}
