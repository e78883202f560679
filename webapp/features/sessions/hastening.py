"""Somebody looks at sessions: the devices whose last pull is a while ago are pulled now, and nobody waits for it."""

import logging
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.exc import OperationalError

from webapp import queue
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.sessions.models import PullState
from webapp.features.sessions.tasks import LIMIT_SECONDS, PULL_DUE
from webapp.lib import clock

log = logging.getLogger(__name__)

FRESH = timedelta(seconds=5)


def hasten_pulls(account_id: int, device_id: str | None = None) -> Sequence[str]:
    """Makes the account's devices (or one of them) due that are not fresh; which. A failing one keeps its back-off.

    It makes no job: these are routine pulls that come early. When the database is busy they come at their time.
    """
    stale = list_stale(account_id, device_id)
    if not stale:
        return []
    now = clock.utc_now()
    try:
        with transaction() as session:
            later = (PullState.device_id.in_(stale), PullState.due_at > now, PullState.failures == 0)
            session.execute(update(PullState).where(*later).values(due_at=now))
    except OperationalError as error:
        log.warning("could not hasten the pulls of %d devices: %s", len(stale), error)
        return []
    queue.enqueue(PULL_DUE, job_id="pull-due", queue="pulls", timeout_seconds=LIMIT_SECONDS)
    return stale


def list_stale(account_id: int, device_id: str | None) -> Sequence[str]:
    """The paired devices that were pulled before, not just now, and that nobody is pulling."""
    now = clock.utc_now()
    wanted = select(PullState.device_id).join(Device, Device.id == PullState.device_id)
    wanted = wanted.where(
        Device.account_id == account_id,
        Device.kind == "collector",
        Device.unpaired_at.is_(None),
        PullState.last_pulled_at < now - FRESH,
        PullState.failures == 0,
        PullState.due_at > now,
        or_(PullState.lease_expires_at.is_(None), PullState.lease_expires_at < now),
    )
    if device_id is not None:
        wanted = wanted.where(PullState.device_id == device_id)
    return db.session.scalars(wanted).all()
