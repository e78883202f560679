"""What people and other features do with jobs: add, ring for, look at, cancel, retry, prune; and signs of life."""

import os
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from webapp import queue as doorbell
from webapp.config import current_config
from webapp.database import change, transaction
from webapp.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.features.jobs.models import FINISHED, STATUSES, Job, JobEvent, ProcessBeat
from webapp.lib import clock
from webapp.lib.paging import Page, read_cursor, write_cursor

RETRIES = 3
BEAT_FRESH_SECONDS = 45
BEAT_KEPT_SECONDS = 86_400

LetGo = Callable[[str], object]
let_go_of: list[LetGo] = []
_worker: str | None = None


def add_job(
    session: Session,
    *,
    account_id: int,
    type: str,
    task: str,
    title: str,
    args: Mapping[str, Any] | None = None,
    device_id: str | None = None,
    max_attempts: int = 3,
) -> Job:
    """A queued job, inside the caller's transaction. After the commit, `ring(job)`.

    `task` is a dotted name, such as `webapp.features.sessions.tasks.pull_device`; a worker calls it with the job's id
    and attempt.
    """
    job = Job(
        account_id=account_id,
        device_id=device_id,
        type=type,
        task=task,
        title=title[:200],
        args=dict(args or {}),
        max_attempts=max_attempts,
        created_at=clock.utc_now(),
    )
    session.add(job)
    session.flush()
    note(session, job.id, "queued", job.attempt, "Waiting for a worker.")
    return job


def ring(job: Job) -> bool:
    """Tells the workers that `job` waits. False if Redis is not there; the janitor then rings again."""
    return doorbell.enqueue(job.task, str(job.id), job.attempt, job_id=ring_id(job.id, job.attempt))


def ring_id(job_id: uuid.UUID, attempt: int) -> str:
    """What one attempt of one job is called in RQ."""
    return f"{job_id}-{attempt}"


def get_job(account_id: int, job_id: uuid.UUID | str) -> Job:
    """The job, if it is this account's."""
    job = db.session.scalar(select(Job).where(Job.id == _read_id(job_id), Job.account_id == account_id))
    if job is None:
        raise NotFound("There is no such job.")
    return job


def list_jobs(
    account_id: int,
    *,
    status: str | None = None,
    type: str | None = None,
    device_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Job]:
    """Jobs, newest first. Invalid for an unknown status, Unreadable for a foreign cursor."""
    if status is not None and status not in STATUSES:
        raise Invalid(f"status: one of {', '.join(STATUSES)}.", field="status")
    query = {"account": account_id, "status": status, "type": type, "device": device_id}
    wanted = select(Job).where(Job.account_id == account_id)
    for column, value in ((Job.status, status), (Job.type, type), (Job.device_id, device_id)):
        if value is not None:
            wanted = wanted.where(column == value)
    if cursor is not None:
        wanted = _after(wanted, read_cursor(current_config().cursor_key, query, cursor))
    rows = db.session.scalars(wanted.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit + 1)).all()
    return Page(rows[:limit], _cursor_after(query, rows, limit))


def list_unfinished(account_id: int) -> list[Job]:
    """Everything that waits or runs, oldest first."""
    wanted = select(Job).where(Job.account_id == account_id, Job.status.not_in(FINISHED))
    return list(db.session.scalars(wanted.order_by(Job.created_at, Job.id)))


def cancel_job(account_id: int, job_id: uuid.UUID | str) -> Job:
    """Cancels a waiting job at once and asks a running one to stop. Conflict if it has finished."""
    job = get_job(account_id, job_id)
    key, now = job.id, clock.utc_now()
    with transaction() as session:
        waiting = update(Job).where(Job.id == key, Job.status == "queued")
        running = update(Job).where(Job.id == key, Job.status == "running")
        if change(session, waiting.values(status="cancelled", finished_at=now, is_cancel_asked=True)):
            note(session, key, "cancelled", job.attempt, "Cancelled before it started.")
        elif not change(session, running.values(is_cancel_asked=True)):
            raise Conflict("This job has finished; there is nothing to cancel.", code="job_finished")
        else:
            note(session, key, "asked", job.attempt, "Asked to stop.")
    return get_job(account_id, key)


def retry_job(account_id: int, job_id: uuid.UUID | str) -> Job:
    """Queues a failed or cancelled job again. Conflict in any other state."""
    key = get_job(account_id, job_id).id
    with transaction() as session:
        ended = update(Job).where(Job.id == key, Job.status.in_(("failed", "cancelled")))
        again = {
            "status": "queued",
            "attempt": Job.attempt + 1,
            "max_attempts": Job.attempt + RETRIES,
            "is_cancel_asked": False,
            "phase": "",
            "progress": 0,
            "progress_total": None,
            "result": None,
            "error": None,
            "started_at": None,
            "finished_at": None,
        }
        if not change(session, ended.values(again)):
            raise Conflict("Only a failed or cancelled job can be tried again.", code="job_not_ended")
        note(session, key, "queued", session.scalars(select(Job.attempt).where(Job.id == key)).one(), "Queued again.")
    job = get_job(account_id, key)
    ring(job)
    return job


def prune_jobs(account_id: int, older_than_days: int, *, status: str | None = None) -> int:
    """Deletes jobs that finished longer ago than that (with one `status`, if given); how many. Never one that lives."""
    if status is not None and status not in FINISHED:
        raise Invalid("Only finished jobs can be pruned.", field="status")
    if older_than_days < 1:
        raise Invalid("Only finished jobs can be pruned: older_than_days is 1 or more.", field="older_than_days")
    before = clock.utc_now() - timedelta(days=min(older_than_days, 36_500))
    with transaction() as session:
        ended = Job.status.in_(FINISHED if status is None else (status,))
        old = and_(Job.account_id == account_id, ended, Job.finished_at < before)
        return change(session, delete(Job).where(old))


def be_worker(name: str) -> None:
    """From now on this process, and what it forks, works under `name`."""
    global _worker
    _worker = name


def current_worker() -> str:
    """Who runs this code: `host:pid:queue` of the RQ worker, also in its work-horse; elsewhere `host:pid`."""
    return _worker or f"{socket.gethostname()}:{os.getpid()}"


def on_worker_death(let_go: LetGo) -> LetGo:
    """Registers what higher features give back at once when a worker is known to be dead; it is told its name."""
    let_go_of.append(let_go)
    return let_go


def beat(name: str, role: str) -> None:
    """Says that the process `name` lives (role `worker` or `scheduler`), and forgets those that long do not."""
    now = clock.utc_now()
    with transaction() as session:
        known = update(ProcessBeat).where(ProcessBeat.name == name).values(seen_at=now, role=role)
        if not change(session, known):
            session.add(ProcessBeat(name=name, role=role, started_at=now, seen_at=now))
        gone = ProcessBeat.seen_at < now - timedelta(seconds=BEAT_KEPT_SECONDS)
        session.execute(delete(ProcessBeat).where(gone))


def end_beat(name: str) -> None:
    """Forgets a process that ended in good order."""
    with transaction() as session:
        session.execute(delete(ProcessBeat).where(ProcessBeat.name == name))


def list_processes(role: str | None = None, *, within_seconds: float = BEAT_FRESH_SECONDS) -> list[ProcessBeat]:
    """The processes that gave a sign of life lately, by role and name."""
    now = clock.utc_now()
    lately = ProcessBeat.seen_at.between(now - timedelta(seconds=within_seconds), now + clock.SKEW)
    wanted = select(ProcessBeat).where(lately)
    if role is not None:
        wanted = wanted.where(ProcessBeat.role == role)
    return list(db.session.scalars(wanted.order_by(ProcessBeat.role, ProcessBeat.name)))


def note(session: Session, job_id: uuid.UUID, kind: str, attempt: int, message: str) -> None:
    """Adds one sentence to a job's story."""
    story = JobEvent(job_id=job_id, at=clock.utc_now(), kind=kind, attempt=attempt, message=message[:500])
    session.add(story)


def _read_id(job_id: uuid.UUID | str) -> uuid.UUID:
    try:
        return job_id if isinstance(job_id, uuid.UUID) else uuid.UUID(job_id)
    except ValueError as error:
        raise NotFound("There is no such job.") from error


def _after(wanted: Select[Job], position: Sequence[Any]) -> Select[Job]:
    at, key = datetime.fromisoformat(position[0]), uuid.UUID(position[1])
    return wanted.where(or_(Job.created_at < at, and_(Job.created_at == at, Job.id < key)))


def _cursor_after(query: Mapping[str, object], rows: Sequence[Job], limit: int) -> str | None:
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    return write_cursor(current_config().cursor_key, query, [last.created_at.isoformat(), str(last.id)])
