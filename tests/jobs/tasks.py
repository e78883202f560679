"""Tasks that the tests' worker runs. Effects are lines in the file that the job's arguments name, or rows."""

import time
from pathlib import Path

import sqlalchemy as sa

from webapp.database import transaction
from webapp.features.jobs.models import Job
from webapp.features.jobs.running import running

EFFECTS = sa.Table(
    "test_effects",
    sa.MetaData(),
    sa.Column("job_id", sa.String(36), index=True),
    sa.Column("attempt", sa.Integer),
    sa.Column("is_late", sa.Boolean),
)


def write_line(job_id: str, attempt: int) -> None:
    """Appends its attempt to a file; the first attempt lasts `first_seconds` before it does."""
    with running(job_id, attempt) as run:
        run.report(phase="writing")
        if attempt == 1:
            time.sleep(run.args.get("first_seconds", 0))
        with Path(run.args["path"]).open("a") as file:
            file.write(f"{run.args.get('name', '')}{attempt}\n")


def have_effect(job_id: str, attempt: int) -> None:
    """Works for `seconds`, then writes one row, as the attempt that holds the job; a late one is only counted."""
    with running(job_id, attempt) as run:
        run.report(phase="working")
        time.sleep(run.args["seconds"])
        with transaction() as session:
            mine = sa.select(Job.id).where(Job.id == run.job_id, Job.attempt == attempt, Job.status == "running")
            is_late = session.scalar(mine.with_for_update()) is None
            found = sa.select(EFFECTS).where(EFFECTS.c.job_id == job_id, EFFECTS.c.is_late.is_(False))
            if is_late or session.execute(found).first() is None:
                row = {"job_id": job_id, "attempt": attempt, "is_late": is_late}
                session.execute(sa.insert(EFFECTS).values(row))


def fail_unexpectedly(job_id: str, attempt: int) -> None:
    """Ends with an error that nobody foresaw."""
    with running(job_id, attempt):
        raise ZeroDivisionError
