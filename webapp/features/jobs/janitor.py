"""What keeps the ledger true when workers, Redis or whole machines vanish. Two at once do no harm."""

import logging
import re
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import redis
from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from webapp import queue as doorbell
from webapp.database import change, transaction
from webapp.extensions import db
from webapp.features.jobs.models import FINISHED, Job
from webapp.features.jobs.running import LEASE_SECONDS
from webapp.features.jobs.service import let_go_of, note, ring, ring_id
from webapp.lib import clock

log = logging.getLogger(__name__)

KEEP_FINISHED_DAYS = 90
BATCH = 500
MOST_ATTEMPTS = 20
RING = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(\d+)")

End = Literal["lost", "killed", "stopped"]


def tidy() -> None:
    """One round: jobs of lost workers go back to the queue, and every waiting job has its ring."""
    requeue_lost()
    ring_waiting()


def requeue_lost() -> int:
    """Gives each job whose lease ended to a next attempt, or fails it after the last; how many."""
    now, end = clock.utc_now(), Job.lease_expires_at
    is_over = or_(end < now, end > now + timedelta(seconds=LEASE_SECONDS) + clock.SKEW)
    return len(_give_on_all(is_over, "lost"))


def bury_worker(name: str, end: End = "killed") -> int:
    """A worker is known to be dead: what it ran goes on at once, without waiting for a lease; how many jobs.

    The name is what `service.current_worker` gave it. Being told twice changes nothing.
    """
    released = _give_on_all(Job.worker == name, end)
    for let_go in let_go_of:
        let_go(name)
    for job in db.session.scalars(select(Job).where(Job.id.in_(released), Job.status == "queued")).all():
        ring(job)
    return len(released)


def ring_waiting() -> int:
    """Rings for waiting jobs that no queue holds (Redis was down, wiped, or lost the message); how many."""
    jobs = db.session.scalars(select(Job).where(Job.status == "queued").order_by(Job.created_at).limit(BATCH)).all()
    if not jobs:
        return 0
    try:
        held = set().union(*(doorbell.waiting(name) for name in doorbell.QUEUES))
    except redis.RedisError as error:
        log.warning("%d jobs wait and Redis does not answer: %s", len(jobs), error)
        return 0
    return sum(ring(job) for job in jobs if ring_id(job.id, job.attempt) not in held)


def sweep_rings() -> int:
    """Takes out of Redis the rings whose attempt is over, wherever a dead worker left them; how many."""
    swept = 0
    try:
        for name in doorbell.QUEUES:
            stale = _find_stale(doorbell.noted(name))
            doorbell.forget(name, stale)
            swept += len(stale)
    except redis.RedisError as error:
        log.warning("could not sweep the queues yet: %s", error)
    return swept


def prune_finished() -> int:
    """Deletes jobs that finished more than KEEP_FINISHED_DAYS ago; how many."""
    before = clock.utc_now() - timedelta(days=KEEP_FINISHED_DAYS)
    with transaction() as session:
        return change(session, delete(Job).where(Job.status.in_(FINISHED), Job.finished_at < before))


def _find_stale(ids: Collection[str]) -> list[str]:
    rings = {key: (uuid.UUID(found[1]), int(found[2])) for key in ids if (found := RING.fullmatch(key))}
    jobs = list({job_id for job_id, _ in rings.values()})
    living: set[tuple[uuid.UUID, int]] = set()
    for start in range(0, len(jobs), BATCH):
        wanted = select(Job.id, Job.attempt).where(Job.id.in_(jobs[start : start + BATCH]), Job.status.not_in(FINISHED))
        living.update((job_id, attempt) for job_id, attempt in db.session.execute(wanted))
    return [key for key, attempt_of in rings.items() if attempt_of not in living]


def _give_on_all(is_over: ColumnElement[bool], end: End) -> Sequence[uuid.UUID]:
    """Ends the running attempts of which `is_over` is true; the jobs."""
    found = select(Job.id).where(Job.status == "running", is_over).limit(BATCH)
    ids = db.session.scalars(found).all()
    if not ids:
        return []
    with transaction() as session:
        return [job_id for job_id in ids if _give_on(session, job_id, is_over, end)]


def _give_on(session: Session, job_id: uuid.UUID, is_over: ColumnElement[bool], end: End) -> bool:
    wanted = select(Job).where(Job.id == job_id, Job.status == "running", is_over)
    job = session.scalar(wanted.with_for_update(), execution_options={"populate_existing": True})
    if job is None:
        return False
    attempt = job.attempt
    kind, sentence, values = _decide(job, end, clock.utc_now())
    mine = (Job.id == job_id, Job.attempt == attempt, Job.status == "running")
    if not change(session, update(Job).where(*mine).values(**values, lease_expires_at=None)):
        return False
    note(session, job_id, kind, attempt, sentence)
    return True


def _decide(job: Job, end: End, now: datetime) -> tuple[str, str, dict[str, Any]]:
    """What becomes of a job whose worker is gone: the kind and the sentence of its event, and its new values."""
    if job.is_cancel_asked:
        sentence = f"Its worker was {end} after it was asked to stop."
        return "cancelled", sentence, {"status": "cancelled", "finished_at": now}
    most = job.max_attempts
    if job.progress:  # it got somewhere: only attempts that achieve nothing wear a job out
        most = max(most, min(job.attempt + 1, MOST_ATTEMPTS))
    if job.attempt >= most:
        sentence = (
            f"Its worker was {end} in attempt {job.attempt}, the last one, so this was given up. "
            "Try it again when the cause is gone."
        )
        return "failed", sentence, {"status": "failed", "finished_at": now, "error": sentence}
    again = {"status": "queued", "attempt": job.attempt + 1, "max_attempts": most}
    again |= {"phase": "", "progress": 0, "progress_total": None}
    return "lost", f"Its worker was {end}. Trying again: attempt {job.attempt + 1} of {most}.", again
