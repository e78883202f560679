"""Looks at the ledger from outside, over and over, and remembers for how long anything in it stood still."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import redis
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from tests.jobs.workforce import is_alive, worker_pid
from webapp import queue
from webapp.extensions import db
from webapp.features.jobs.janitor import BATCH
from webapp.features.jobs.models import Job
from webapp.features.jobs.service import ring_id

STUCK_SECONDS = 15.0


@dataclass
class Watch:
    """`look` now and then. `longest` says for how many seconds at most a job stood still, by what was wrong with it.

    It stands still when it runs on a worker that is dead; when it waits, its turn is near, and no queue has a ring for
    it; and when it waits, no worker does anything, and nothing in the ledger moves.
    """

    client: redis.Redis
    longest: dict[str, float] = field(default_factory=dict)
    _since: dict[object, float] = field(default_factory=dict)

    def look(self) -> int:
        """Takes a sample; how many jobs wait or run."""
        db.session.rollback()
        now = time.monotonic()
        open_jobs = select(Job).where(Job.status.in_(("queued", "running"))).order_by(Job.created_at)
        jobs = db.session.scalars(open_jobs).all()
        rings = self._rings()
        found = {("dead worker", job.id, job.attempt) for job in jobs if job.status == "running" and is_orphan(job)}
        waiting = [job for job in jobs if job.status == "queued"]
        found |= {
            ("no ring", job.id, job.attempt) for job in waiting[:BATCH] if ring_id(job.id, job.attempt) not in rings
        }
        if waiting and len(waiting) == len(jobs):
            found.add(("idle workers", count_events(db.session())))
        self._since = {key: self._since.get(key, now) for key in found}
        for key, since in self._since.items():
            self.longest[key[0]] = max(self.longest.get(key[0], 0.0), now - since)
        db.session.rollback()
        return len(jobs)

    def drain(self, seconds: float) -> None:
        """Looks until everything has finished; fails when that takes longer."""
        deadline = time.monotonic() + seconds
        while left := self.look():
            assert time.monotonic() < deadline, f"{left} jobs are left after {seconds} s: {self.longest}"
            time.sleep(0.2)

    @property
    def stuck_seconds(self) -> float:
        """The longest that anything stood still."""
        return max(self.longest.values(), default=0.0)

    def __str__(self) -> str:
        return ", ".join(f"{what} {seconds:.1f} s" for what, seconds in sorted(self.longest.items())) or "nothing"

    def _rings(self) -> Iterable[str]:
        try:
            return {queue.read_id(ring) for ring in queue.open_queue(self.client, "jobs").job_ids}
        except redis.RedisError:
            return set()


def is_orphan(job: Job) -> bool:
    """Whether the worker that the row names is dead."""
    return not is_alive(worker_pid(job))


def count_events(session: Session) -> int:
    """A figure that moves whenever any attempt begins or ends."""
    return session.scalar(select(func.sum(Job.attempt) + func.count(Job.started_at) + func.count(Job.finished_at))) or 0
