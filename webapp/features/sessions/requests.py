"""What people ask for: a pull now, a pull of everything, a new count. Each is a job; asking twice is asking once."""

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from collector import wire
from webapp.database import transaction
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import FINISHED, Job

TASKS = "webapp.features.sessions.tasks"
PULL_DEVICE, PULL_ALL, REBUILD = "sessions.pull_device", "sessions.pull_all", "sessions.rebuild_totals"
REFILL = "sessions.refill"


def request_pull(account_id: int, device_id: str) -> Job:
    """*Pull now*: the job that does it, or the one that already waits or runs. Conflict if the device is not paired."""
    device = devices.get_device(account_id, device_id)
    if not device.is_paired:
        raise Conflict("This machine is not paired, so there is nothing to pull from.", code="not_paired")
    return _request(account_id, PULL_DEVICE, f"Pull {device.name}", device_id=device_id)


def request_pull_all(account_id: int, device_id: str | None = None, since: datetime | None = None) -> Job:
    """A pull of one device or of all; with `since` of everything that changed after it, whatever is known."""
    if device_id is not None and since is None:
        return request_pull(account_id, device_id)
    title = f"Pull {devices.get_device(account_id, device_id).name}" if device_id else "Pull all machines"
    args = {"since": wire.format_ms(wire.to_ms(since))} if since is not None else {}
    return _request(account_id, PULL_ALL, title, device_id=device_id, args=args)


def request_refill(account_id: int, device_id: str, title: str) -> Job:
    """The job that fills the holes of a device; `refilling` knows whether there are any."""
    return _request(account_id, REFILL, title, device_id=device_id)


def request_rebuild(account_id: int) -> Job:
    """A new count of all totals, as is needed in a new time zone."""
    zone = db.session.scalar(select(Account.timezone).where(Account.id == account_id))
    return _request(account_id, REBUILD, f"Count all days again for {zone}")


def _request(
    account_id: int, type_: str, title: str, *, device_id: str | None = None, args: dict[str, Any] | None = None
) -> Job:
    with transaction() as session:
        job = _find_open(session, account_id, type_, device_id, args or {})
        is_new = job is None
        if job is None:
            task = f"{TASKS}.{type_.rpartition('.')[2]}"
            job = jobs.add_job(
                session, account_id=account_id, type=type_, task=task, title=title, args=args, device_id=device_id
            )
    if is_new:
        jobs.ring(job)
    return job


def _find_open(
    session: Session, account_id: int, type_: str, device_id: str | None, args: dict[str, Any]
) -> Job | None:
    wanted = select(Job).where(Job.account_id == account_id, Job.type == type_, Job.status.not_in(FINISHED))
    mine = wanted.where(Job.device_id == device_id if device_id is not None else Job.device_id.is_(None))
    return next((job for job in session.scalars(mine.order_by(Job.created_at)) if job.args == args), None)
