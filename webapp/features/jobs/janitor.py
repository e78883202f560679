"""What keeps the ledger true when workers, Redis or whole machines vanish. Two at once do no harm."""

import logging
import uuid
from datetime import timedelta

import redis
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from webapp import queue as doorbell
from webapp.database import change, transaction
from webapp.extensions import db
from webapp.features.jobs.models import FINISHED, Job
from webapp.features.jobs.service import note, ring, ring_id
from webapp.lib import clock

log = logging.getLogger(__name__)

KEEP_FINISHED_DAYS = 90
BATCH = 500


def tidy() -> None:
    """One round: jobs of lost workers go back to the queue, and every waiting job has its ring."""
    requeue_lost()
    ring_waiting()


def requeue_lost() -> int:
    """Gives each job whose lease ended to a next attempt, or fails it after the last; how many."""
    lost = select(Job.id, Job.attempt).where(Job.status == "running", Job.lease_expires_at < clock.utc_now())
    found = db.session.execute(lost.limit(BATCH)).all()
    if not found:
        return 0
    with transaction() as session:
        return sum(_give_on(session, job_id, attempt) for job_id, attempt in found)


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


def prune_finished() -> int:
    """Deletes jobs that finished more than KEEP_FINISHED_DAYS ago; how many."""
    before = clock.utc_now() - timedelta(days=KEEP_FINISHED_DAYS)
    with transaction() as session:
        return change(session, delete(Job).where(Job.status.in_(FINISHED), Job.finished_at < before))


def _give_on(session: Session, job_id: uuid.UUID, attempt: int) -> int:
    now = clock.utc_now()
    job = session.get_one(Job, job_id, populate_existing=True, with_for_update=True)
    mine = (Job.id == job_id, Job.attempt == attempt, Job.status == "running", Job.lease_expires_at < now)
    if job.is_cancel_asked:
        values = {"status": "cancelled", "finished_at": now}
        kind, sentence = "cancelled", "Its worker was lost after it was asked to stop."
    elif attempt >= job.max_attempts:
        times = 1 + sum(event.kind == "lost" for event in job.events)
        sentence = f"The worker was lost {_times(times)}, so this was given up. Try it again when the cause is gone."
        values = {"status": "failed", "finished_at": now, "error": sentence}
        kind = "failed"
    else:
        values = {"status": "queued", "attempt": attempt + 1}
        kind, sentence = "lost", f"The worker was lost. Trying again: attempt {attempt + 1} of {job.max_attempts}."
    done = change(session, update(Job).where(*mine).values(**values, lease_expires_at=None))
    if done:
        note(session, job_id, kind, attempt, sentence)
    return done


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
