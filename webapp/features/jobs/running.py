"""Running one attempt of a job: claim it, keep its lease alive, report, and finish it exactly once.

Every write says `WHERE id AND attempt AND running`. A worker that was thought dead, and wakes up after the janitor
gave its job to another attempt, finds no row to write to.
"""

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, current_app
from sqlalchemy import Update, select, update
from sqlalchemy.exc import OperationalError

from webapp.database import change, transaction
from webapp.errors import MusterError
from webapp.extensions import db
from webapp.features.jobs.models import Job
from webapp.features.jobs.service import current_worker, note
from webapp.lib import clock

log = logging.getLogger(__name__)

LEASE_SECONDS = 12.0
BUSY_SECONDS = 0.5
REPORT_EVERY_SECONDS = 0.5


class NotClaimed(Exception):
    """This attempt is not there to be run: done, cancelled, running elsewhere, or overtaken by a later attempt."""


class LeaseLost(Exception):
    """The job was given to another attempt; stop and write nothing more."""


class Cancelled(Exception):
    """The person who owns the job asked to stop it."""


class Run:
    """One attempt in progress. `args` is what the job was added with."""

    def __init__(self, job: Job) -> None:
        self.job_id = job.id
        self.attempt = job.attempt
        self.account_id = job.account_id
        self.device_id = job.device_id
        self.args = dict(job.args)
        self._result: dict[str, Any] | None = None
        self._unsaid: dict[str, Any] = {}
        self._said_at = 0.0

    def report(self, *, phase: str | None = None, progress: int | None = None, total: int | None = None) -> None:
        """Shows how far it is; a new phase at once, numbers at most twice a second. LeaseLost, Cancelled."""
        given = {"phase": phase, "progress": progress, "progress_total": total}
        self._unsaid |= {name: value for name, value in given.items() if value is not None}
        if phase is not None or time.monotonic() - self._said_at >= REPORT_EVERY_SECONDS:
            self.check_cancelled()
            self._say()

    def result(self, value: dict[str, Any]) -> None:
        """What the finished job shows (JSON values)."""
        self._result = value

    def check_cancelled(self) -> None:
        """Raises Cancelled if somebody asked for it, LeaseLost if this attempt no longer holds the job."""
        wanted = select(Job.is_cancel_asked).where(Job.id == self.job_id, *self._mine())
        db.session.rollback()
        asked = db.session.scalar(wanted)
        db.session.rollback()
        if asked is None:
            raise LeaseLost(f"job {self.job_id} attempt {self.attempt}")
        if asked:
            raise Cancelled

    def renew(self) -> bool:
        """Moves the end of the lease; False if the job is no longer this attempt's."""
        with transaction() as session:
            return bool(change(session, self._update().values(lease_expires_at=lease_end())))

    def finish(self, status: str, message: str, error: str | None = None) -> None:
        """The end of this attempt; LeaseLost if it came too late."""
        values = {"status": status, "error": error, "result": self._result, "finished_at": clock.utc_now()}
        with transaction() as session:
            ended = self._update().values(**self._unsaid, **values, lease_expires_at=None)
            if not change(session, ended):
                raise LeaseLost(f"job {self.job_id} attempt {self.attempt}")
            note(session, self.job_id, status, self.attempt, message)

    def _say(self) -> None:
        with transaction() as session:
            if not change(session, self._update().values(**self._unsaid, lease_expires_at=lease_end())):
                raise LeaseLost(f"job {self.job_id} attempt {self.attempt}")
        self._unsaid.clear()
        self._said_at = time.monotonic()

    def _mine(self) -> tuple[Any, Any]:
        return Job.attempt == self.attempt, Job.status == "running"

    def _update(self) -> Update:
        return update(Job).where(Job.id == self.job_id, *self._mine())


@contextmanager
def running(job_id: str | uuid.UUID, attempt: int) -> Iterator[Run]:
    """Claims one attempt and runs the block as it. NotClaimed if it is not there to be run.

    The end of the block is the end of the job: succeeded; failed, with the sentence of a MusterError; cancelled. An
    unexpected error fails the job too and goes on, so that it is logged with its traceback.
    """
    run = _claim(uuid.UUID(str(job_id)), attempt)
    try:
        with _kept_alive(run):
            try:
                yield run
            except LeaseLost:
                raise
            except Cancelled:
                run.finish("cancelled", "Stopped, as asked.")
            except MusterError as error:
                run.finish("failed", error.detail, error.detail)
            except Exception as error:
                sentence = f"An unexpected error ({type(error).__name__}) ended it. The worker's log has the details."
                run.finish("failed", sentence, sentence)
                raise
            else:
                run.finish("succeeded", "Done.")
    except LeaseLost as lost:
        log.warning("came back too late and wrote nothing: %s", lost)


def lease_end() -> datetime:
    """When a lease taken now ends."""
    return clock.utc_now() + timedelta(seconds=LEASE_SECONDS)


def _claim(job_id: uuid.UUID, attempt: int) -> Run:
    now = clock.utc_now()
    with transaction() as session:
        free = update(Job).where(Job.id == job_id, Job.attempt == attempt, Job.status == "queued")
        taken = free.values(status="running", started_at=now, lease_expires_at=lease_end(), worker=current_worker())
        if not change(session, taken):
            raise NotClaimed(f"job {job_id} attempt {attempt}")
        note(session, job_id, "started", attempt, f"Started by {current_worker()}.")
        return Run(session.get_one(Job, job_id, populate_existing=True))


@contextmanager
def _kept_alive(run: Run) -> Iterator[None]:
    ended = threading.Event()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    keeper = threading.Thread(target=_keep_alive, args=(app, run, ended), name=f"lease-{run.job_id}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        ended.set()
        keeper.join()


def _keep_alive(app: Flask, run: Run, ended: threading.Event) -> None:
    pause = LEASE_SECONDS / 3
    while not ended.wait(pause):
        try:
            with app.app_context():
                if not run.renew():
                    return
            pause = LEASE_SECONDS / 3
        except OperationalError as error:
            log.warning("could not renew the lease of job %s yet: %s", run.job_id, error)
            pause = BUSY_SECONDS
