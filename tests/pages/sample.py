"""A realistic hub: three machines, five projects, six languages and more, thirty-five days, jobs in every state.

`fill(account_id)` writes it into the hub of the current app context, as of `clock.utc_now()`.
"""

import uuid
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import insert
from sqlalchemy.orm import Session

from collector import wire
from tests.pages import coverage_story, story
from webapp.database import transaction
from webapp.features.devices.models import Device, Sighting
from webapp.features.jobs.models import Job, JobEvent, ProcessBeat
from webapp.features.sessions.models import Pull, PullState, QuarantinedSession, StoredSession
from webapp.features.sessions.parsing import parse
from webapp.features.sessions.recounting import refresh_stale_days
from webapp.features.sessions.stale_days import find_days, mark_stale
from webapp.lib import clock

ROAD = "direct"
IMPOSTOR = "Another program answers on port 8001 and cannot prove that it is build-box."
PROBLEMS = {
    "thinkpad": ("unreachable", "Nothing answers at 127.0.0.1:8001.", timedelta(hours=19)),
    "build-box": ("identity", IMPOSTOR, timedelta(minutes=47)),
}

PROCESSES = {"hub:4711": "worker", "hub:4712": "scheduler"}


def fill(account_id: int) -> None:
    """All of it, in one transaction; the totals are counted afterwards."""
    now = clock.utc_now()
    with transaction() as session:
        for machine in story.MACHINES:
            add_machine(session, account_id, machine, now)
        session.flush()
        last_pull = {machine.id: add_pulls(session, machine, now) for machine in story.MACHINES}
        add_sessions(session, account_id, last_pull, now)
        add_quarantined(session, now)
        coverage_story.add_coverage(session, now)
        add_jobs(session, account_id, now)
        add_sighting(session, now)
        add_processes(session, now)
    refresh_stale_days(account_id)


def add_machine(session: Session, account_id: int, machine: story.Machine, now: datetime) -> None:
    """The device and where its pull stands: studio is well, thinkpad sleeps, build-box cannot be reached."""
    heard_at = now - {"studio": timedelta(seconds=3), "thinkpad": timedelta(hours=19)}.get(
        machine.name, timedelta(seconds=4)
    )
    pulled_at = now - {"studio": timedelta(seconds=12), "thinkpad": timedelta(hours=19)}.get(
        machine.name, timedelta(minutes=48)
    )
    port = 8001
    device = Device(
        id=machine.id,
        account_id=account_id,
        name=machine.name,
        platform=machine.platform,
        version="0.1.0",
        host="127.0.0.1",
        port=port,
        endpoint_url=f"http://127.0.0.1:{port}",
        endpoint_proven_at=pulled_at,
        settings_epoch="sample",
        last_seen_at=heard_at,
        clock_skew_ms=4200 if machine.name == "thinkpad" else 40,
        created_at=now - timedelta(days=36),
        paired_at=now - timedelta(days=36),
    )
    problem, detail, since = PROBLEMS.get(machine.name, (None, None, timedelta()))
    state = PullState(
        device_id=machine.id,
        cursor="sample",
        due_at=now + timedelta(seconds=48),
        failures=5 if problem else 0,
        last_pulled_at=pulled_at,
        last_tried_at=now - timedelta(minutes=2) if problem else pulled_at,
        problem=problem,
        problem_detail=detail,
        problem_since_at=now - since if problem else None,
    )
    session.add_all([device, state])


def add_pulls(session: Session, machine: story.Machine, now: datetime) -> int:
    """The last twelve pulls; the id of the newest that succeeded."""
    first = {"studio": timedelta(seconds=12), "thinkpad": timedelta(hours=19)}.get(machine.name, timedelta(minutes=2))
    newest: Pull | None = None
    for index in range(12):
        started_at = now - first - timedelta(seconds=61 * index if machine.name != "build-box" else 300 * index)
        is_failed = machine.name == "build-box" and index < 9
        rows = (3, 2, 0, 0, 5, 1, 0, 0, 3, 4, 1, 0)[index]
        pull = Pull(
            device_id=machine.id,
            road=ROAD,
            status="failed" if is_failed else "succeeded",
            started_at=started_at,
            finished_at=started_at + timedelta(milliseconds=41 + 7 * rows),
            pages=0 if is_failed else 1,
            rows=0 if is_failed else rows,
            changed_rows=0 if is_failed else min(rows, 2),
            milliseconds=2040 if is_failed else 41 + 7 * rows,
            problem="identity" if is_failed else None,
            error=IMPOSTOR if is_failed else None,
        )
        session.add(pull)
        if newest is None and not is_failed:
            newest = pull
    session.flush()
    assert newest is not None
    return newest.id


def add_sessions(session: Session, account_id: int, last_pull: dict[str, int], now: datetime) -> None:
    """Every session of the story as ingest stores it, and the days that have to be counted."""
    now_ms = wire.to_ms(now)
    rows = [
        parse(msgspec.json.encode(told), now_ms)
        | {"account_id": account_id, "device_id": machine.id, "pull_id": last_pull[machine.id]}
        for machine, told in story.tell(now)
    ]
    session.execute(insert(StoredSession), rows)
    mark_stale(session, account_id, find_days([(row["started_ms"], row["ended_ms"]) for row in rows], story.ZONE))


def add_quarantined(session: Session, now: datetime) -> None:
    """One session that could not be accepted."""
    row = QuarantinedSession(
        device_id=story.THINKPAD.id,
        digest=b"sample".ljust(32, b"."),
        reason="sessionStartTime: the year 1601 is not one in which this was written",
        record="{}",
        received_at=now - timedelta(days=2),
    )
    session.add(row)


JOBS = (
    ("sessions.pull_device", "Pull studio", "running", 0, "Storing page 3", None, story.STUDIO.id),
    ("sessions.rebuild_totals", "Count 35 days again for Europe/Berlin", "queued", 1, "", None, None),
    ("sessions.pull_device", "Pull studio", "succeeded", 42, "", None, story.STUDIO.id),
    (
        "sessions.pull_device",
        "Pull build-box",
        "failed",
        95,
        "",
        IMPOSTOR,
        story.BUILDBOX.id,
    ),
    ("sessions.pull_all", "Pull all machines", "succeeded", 1500, "", None, None),
    ("sessions.rebuild_totals", "Count 34 days again for Europe/Berlin", "cancelled", 3100, "", None, None),
)


def job_id(title: str, minutes: int) -> uuid.UUID:
    """The id of a job of the sample."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"{title}/{minutes}")


def add_jobs(session: Session, account_id: int, now: datetime) -> None:
    """One job in each state, with its story."""
    for type_, title, status, minutes, phase, error, device_id in JOBS:
        created_at = now - timedelta(minutes=minutes, seconds=8)
        is_finished = status in ("succeeded", "failed", "cancelled")
        job = Job(
            id=job_id(title, minutes),
            account_id=account_id,
            device_id=device_id,
            type=type_,
            task=f"webapp.features.{type_.replace('.', '.tasks.')}",
            title=title,
            status=status,
            phase=phase,
            progress=1200 if status == "running" else 0,
            progress_total=2500 if status == "running" else None,
            attempt=2 if status == "failed" else 1,
            worker=None if status == "queued" else "hub:4711",
            result={"rows": 250, "pages": 3, "changed_rows": 12} if status == "succeeded" else None,
            error=error,
            created_at=created_at,
            started_at=None if status == "queued" else created_at + timedelta(seconds=1),
            finished_at=created_at + timedelta(seconds=5.4) if is_finished else None,
        )
        job.events = list(tell_job(status, created_at, error))
        session.add(job)


def tell_job(status: str, at: datetime, error: str | None) -> list[JobEvent]:
    """The sentences of a job that ended, or stands, in `status`."""
    events = [JobEvent(at=at, kind="queued", attempt=1, message="Waiting for a worker.")]
    if status == "queued":
        return events
    events.append(JobEvent(at=at + timedelta(seconds=1), kind="started", attempt=1, message="Started by hub:4711."))
    if status == "failed":
        lost = "Its worker was lost; queued again."
        events.append(JobEvent(at=at + timedelta(seconds=3), kind="lost", attempt=2, message=lost))
        events.append(JobEvent(at=at + timedelta(seconds=4), kind="started", attempt=2, message="Started by hub:4712."))
    last = {"succeeded": "Done.", "failed": error or "", "cancelled": "Stopped, as asked."}.get(status)
    if last:
        attempt = 2 if status == "failed" else 1
        events.append(JobEvent(at=at + timedelta(seconds=5.4), kind=status, attempt=attempt, message=last))
    return events


def add_sighting(session: Session, now: datetime) -> None:
    """A collector on this machine that waits for pairing."""
    session.add(
        Sighting(
            url="http://127.0.0.1:8003",
            device_id="0d7be4f2-1111-4222-8333-944445555666",
            name="garden-pi",
            version="0.1.0",
            seen_at=now - timedelta(seconds=4),
        )
    )


def add_processes(session: Session, now: datetime) -> None:
    """A worker and a scheduler."""
    for name, role in PROCESSES.items():
        session.add(ProcessBeat(name=name, role=role, started_at=now, seen_at=now))
