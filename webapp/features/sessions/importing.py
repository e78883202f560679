"""The way of an export file: uploaded or found in the inbox, a job of its own, one pull by the file road, gone.

The job's row is the truth. Where its file then belongs, `settle` works out from it, after the job or after a crash.
"""

import logging
import uuid
from datetime import timedelta
from typing import IO

from sqlalchemy import select

from webapp.adapters.collector_client import CollectorClient
from webapp.adapters.export_file import BadExportFile, read_head
from webapp.database import transaction
from webapp.errors import Conflict, Invalid, MusterError
from webapp.extensions import db
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job
from webapp.features.jobs.running import Run
from webapp.features.sessions import inbox, leases, rounds
from webapp.features.sessions.file_plan import FilePlan
from webapp.features.sessions.file_road import FileRoad
from webapp.features.sessions.pulling import pull_targets
from webapp.features.sessions.targets import Target
from webapp.lib import clock
from webapp.lib.local_days import day_of

log = logging.getLogger(__name__)

IMPORT = "sessions.import_file"
TASK = "webapp.features.sessions.tasks.import_file"
ADOPT_SECONDS = 60.0
"""A taken file without a job is this old before it gets another one: until then its job may be on the way."""
MOST_WAITING = 5
"""So many uploaded files of one machine may wait: each is kept until it is imported."""

STRANGE = (
    "It comes from a machine that is not paired with this hub. Pair the machine, write the file again, and import it."
)
ELSEWHERE = "The file comes from another machine. Import it on that machine's page."


class ImportFailed(MusterError):
    """The file could not be imported; the sentence says why and what to do."""

    code = "import_failed"


def receive_file(account_id: int, device_id: str, stream: IO[bytes], name: str | None) -> Job:
    """The job that imports an uploaded file of a machine. Conflict while it is not paired, Invalid (`file`) for a file
    that is none, or another machine's; whether it is proven, the job finds out."""
    if not devices.get_device(account_id, device_id).is_paired:
        raise Conflict(
            "This machine is not paired, so no file of it can be believed. Pair it first.", code="not_paired"
        )
    waiting = [job for job in jobs.list_unfinished(account_id) if (job.type, job.device_id) == (IMPORT, device_id)]
    if len(waiting) >= MOST_WAITING:
        raise Conflict(f"{MOST_WAITING} files of this machine are still being imported. Wait for them.", code="busy")
    file_id = inbox.keep(stream)
    try:
        if read_head(inbox.taken_path(file_id)).device_id != device_id:
            raise BadExportFile(ELSEWHERE)
    except BadExportFile as error:
        inbox.drop(file_id)
        raise Invalid(error.detail, field="file") from error
    return add_import(account_id, device_id, file_id, inbox.clean_name(name))


def look_into_inbox() -> None:
    """Makes a job for each file that has arrived, and settles what was left behind. Called by the clock."""
    for path in inbox.list_settled():
        file_id = inbox.take(path)
        if file_id is not None:
            adopt(file_id, inbox.clean_name(path.name))
    tidy_taken()


def adopt(file_id: str, name: str) -> None:
    """The job of a taken file, for the machine that it says it is from; refused when there is no such machine."""
    try:
        device = find_paired(read_head(inbox.taken_path(file_id)).device_id)
        if device is None:
            raise BadExportFile(STRANGE)
    except BadExportFile as error:
        log.warning("%s in the inbox is refused: %s", name, error.detail)
        inbox.refuse(file_id, name, error.detail)
        return
    add_import(device.account_id, device.id, file_id, name)


def find_paired(device_id: str) -> Device | None:
    """The paired machine of this id, whose ever it is."""
    device = db.session.get(Device, device_id)
    return device if device is not None and device.is_paired else None


def add_import(account_id: int, device_id: str, file_id: str, name: str) -> Job:
    """A queued job for a taken file."""
    with transaction() as session:
        job = jobs.add_job(
            session,
            account_id=account_id,
            type=IMPORT,
            task=TASK,
            title=f"Import {name}",
            args={"file": file_id, "name": name},
            device_id=device_id,
        )
    jobs.ring(job)
    return job


def import_file(run: Run, client: CollectorClient) -> None:
    """The task's work: checks the file whole, then pulls from it as from a machine. ImportFailed."""
    road = open_road(run)
    total = road.file.tail.sessions
    run.report(phase=f"Storing {total:,} sessions", progress=0, total=total)
    try:
        claims = rounds.wait_for_leases(run, [str(run.device_id)])
        targets = rounds.ready(claims, road=road, job_id=str(run.job_id))
        for target in targets:
            target.plan = plan_check(target, road)
        try:
            done = pull_targets(targets, client, watch=lambda target: run.report(progress=target.progress.rows))
        except BaseException:
            leases.release(claims, "It was stopped before its end.")
            raise
    finally:
        road.close()
    if not done:
        raise ImportFailed("The machine was unpaired meanwhile. Pair it, write the file again, and import it.")
    run.result(rounds.sum_up(done))
    if done[0].problem is not None:
        raise ImportFailed(done[0].detail or "The file could not be stored.")


def plan_check(target: Target, road: FileRoad) -> FilePlan:
    """What the file may prove of the days: nothing when more is here than in it, or it tells of another database; else
    the days that were over when it was written, and the one in which it was written while that lasts."""
    epoch, reached_ms = target.position.epoch, target.reached_ms
    is_same = epoch is None or epoch == road.file.head.epoch
    is_silent = not is_same or (reached_ms is not None and reached_ms > road.ends_ms)
    written, today = day_of(road.written_ms, target.zone), day_of(clock.now_ms(), target.zone)
    until = written if written >= today else written - timedelta(days=1)
    return FilePlan(target.plan.zone, target.plan.state, until=until, is_silent=is_silent)


def open_road(run: Run) -> FileRoad:
    """The job's file, proven to be whole and from the job's machine. ImportFailed says why it is not."""
    path = inbox.find(str(run.args["file"]), str(run.args["name"]))
    if path is None:
        raise ImportFailed("The file is no longer where the hub kept it. Import it again.")
    run.report(phase="Checking the file")
    device_id = str(run.device_id)
    db.session.rollback()
    link = devices.find_active_link(device_id)
    if link is None:
        raise ImportFailed(STRANGE)
    try:
        return FileRoad(path, devices.pull_secret(link), device_id=device_id)
    except BadExportFile as error:
        raise ImportFailed(error.detail) from error


def tidy_taken() -> None:
    """Settles the files that jobs of lost workers left behind, and adopts those that never got a job."""
    taken = inbox.list_taken()
    if not taken:
        return
    by_file = {job.args.get("file"): job for job in db.session.scalars(select(Job).where(Job.type == IMPORT))}
    for file_id, age_seconds in taken:
        job = by_file.get(file_id)
        if job is not None:
            settle(job)
        elif age_seconds > ADOPT_SECONDS:
            adopt(file_id, "export.muster")


def settle_job(job_id: str) -> None:
    """`settle` for the job of this id."""
    db.session.rollback()
    job = db.session.get(Job, uuid.UUID(job_id), populate_existing=True)
    if job is not None:
        settle(job)


def settle(job: Job) -> None:
    """Puts the file where it belongs after the job: deleted when it was imported, refused when it could not be."""
    file_id, name = str(job.args["file"]), str(job.args["name"])
    if job.status == "succeeded":
        inbox.drop(file_id)
    elif job.is_finished:
        inbox.refuse(file_id, name, job.error or "The import was cancelled. Try the job again, or put the file back.")
