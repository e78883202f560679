"""What workers run for this feature, and what the clock rings for. Arguments are ids; the rows say the rest."""

from webapp import queue
from webapp.adapters.collector_client import make_client
from webapp.config import current_config
from webapp.features.jobs.running import running
from webapp.features.sessions import importing, refilling, requests, rounds
from webapp.features.sessions.recounting import list_moved_accounts, mark_all, refresh_account, refresh_stale_days
from webapp.features.sessions.rounds import list_forgotten_accounts

PULL_DUE = "webapp.features.sessions.tasks.pull_due"
REFRESH = "webapp.features.sessions.tasks.refresh_totals"
LIMIT_SECONDS = 900


def pull_due() -> None:
    """One round: every device that is due, and those that come due meanwhile."""
    rounds.pull_due(make_client(current_config()))


def pull_device(job_id: str, attempt: int) -> None:
    """*Pull now* for one device."""
    with running(job_id, attempt) as run:
        rounds.pull_asked(run, make_client(current_config()))


def pull_all(job_id: str, attempt: int) -> None:
    """A pull of several devices that somebody asked for, perhaps of everything since some time."""
    with running(job_id, attempt) as run:
        rounds.pull_asked(run, make_client(current_config()))


def import_file(job_id: str, attempt: int) -> None:
    """Pulls from an export file, and puts the file where it then belongs."""
    with running(job_id, attempt) as run:
        importing.import_file(run, make_client(current_config()))
    importing.settle_job(job_id)


def refill(job_id: str, attempt: int) -> None:
    """Fills the holes of one device."""
    with running(job_id, attempt) as run:
        refilling.refill(run, make_client(current_config()))


def rebuild_totals(job_id: str, attempt: int) -> None:
    """Counts all totals of an account again."""
    with running(job_id, attempt) as run:
        total = mark_all(run.account_id)
        run.report(phase="Counting days", progress=0, total=total)
        run.result({"days": refresh_account(run.account_id, lambda done: run.report(progress=done))})


def refresh_totals() -> None:
    """Counts what a lost worker left stale."""
    refresh_stale_days()


def ring_due_pulls() -> None:
    """Called every second by the clock: rings for due pulls and for totals that wait, asks for a count in a new zone.

    The ids are fixed, so a round that has not begun is not asked for twice, and the next one waits for it.
    """
    if rounds.has_due():
        queue.enqueue(PULL_DUE, job_id="pull-due", queue="pulls", timeout_seconds=LIMIT_SECONDS)
    for account_id in list_moved_accounts():
        requests.request_rebuild(account_id)
    if list_forgotten_accounts():
        queue.enqueue(REFRESH, job_id="refresh-totals", queue="pulls", timeout_seconds=LIMIT_SECONDS)
