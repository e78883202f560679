"""Tasks that the tests' worker runs. Effects are lines in the file that the job's arguments name."""

import time
from pathlib import Path

from webapp.features.jobs.running import running


def write_line(job_id: str, attempt: int) -> None:
    """Appends its attempt to a file; the first attempt lasts `first_seconds` before it does."""
    with running(job_id, attempt) as run:
        run.report(phase="writing")
        if attempt == 1:
            time.sleep(run.args.get("first_seconds", 0))
        with Path(run.args["path"]).open("a") as file:
            file.write(f"{run.args.get('name', '')}{attempt}\n")


def fail_unexpectedly(job_id: str, attempt: int) -> None:
    """Ends with an error that nobody foresaw."""
    with running(job_id, attempt):
        raise ZeroDivisionError
