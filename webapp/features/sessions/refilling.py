"""Holes are filled again: by a job that pulls just their days, by itself with growing pauses or when somebody asks."""

from collections.abc import Collection, Sequence
from datetime import date, datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from webapp.database import transaction
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.jobs.models import FINISHED, Job
from webapp.features.jobs.running import Run
from webapp.features.sessions import covering, leases, requests, rounds
from webapp.features.sessions.covered_days import next_refill
from webapp.features.sessions.models import CoverageState, CoveredDay, PullState
from webapp.features.sessions.pulling import pull_targets
from webapp.features.sessions.recounting import find_runs
from webapp.features.sessions.roads import Collectors
from webapp.features.sessions.targets import Progress
from webapp.lib import clock
from webapp.lib.local_days import day_bounds, read_zone

ROUND = 20
"""So many devices are asked for at once by the clock."""
REFILLABLE = (CoveredDay.status == "hole", CoveredDay.refill_due_at.is_not(None))


def request_check(account_id: int, device_id: str) -> Job:
    """*Check now*: the pull after which every day of the device is compared. NotFound, Conflict if it is not paired."""
    if not devices.get_device(account_id, device_id).is_paired:
        raise Conflict("This machine is not paired, so there is nothing to compare with.", code="not_paired")
    with transaction() as session:
        covering.compare_all_again(session, device_id)
    return requests.request_pull(account_id, device_id)


def request_refill(account_id: int, device_id: str) -> Job:
    """*Refill*: the job that fills the device's holes; for those that the next pull fills by itself, that pull.

    NotFound; Conflict if the device is not paired, or has no hole.
    """
    device = devices.get_device(account_id, device_id)
    if not device.is_paired:
        raise Conflict("This machine is not paired, so there is nothing to fill holes from.", code="not_paired")
    holes = select(CoveredDay.refill_due_at).where(CoveredDay.device_id == device_id, CoveredDay.status == "hole")
    found = db.session.scalars(holes).all()
    if not found:
        raise Conflict("This machine has no hole to fill.", code="no_holes")
    count = sum(due_at is not None for due_at in found)
    if not count:
        return requests.request_pull(account_id, device_id)
    days = "1 day" if count == 1 else f"{count} days"
    return requests.request_refill(account_id, device_id, f"Fill {days} of {device.name}")


def ring_refills() -> None:
    """Called by the clock: asks for a job for every device with a hole whose time has come, if it can be pulled."""
    for account_id, device_id in list_due(clock.utc_now()):
        request_refill(account_id, device_id)


def list_due(now: datetime) -> Sequence[tuple[int, str]]:
    """`(account, device)` of the devices that are to be refilled now, and of which no such job is open."""
    is_open = exists().where(
        Job.account_id == Device.account_id,
        Job.device_id == Device.id,
        Job.type == requests.REFILL,
        Job.status.not_in(FINISHED),
    )
    due = select(Device.account_id, Device.id).join(CoverageState, CoverageState.device_id == Device.id)
    due = due.join(PullState, PullState.device_id == Device.id)
    due = due.where(CoverageState.refill_due_at <= now, leases.PAIRED, PullState.failures == 0, ~is_open)
    return [(row[0], row[1]) for row in db.session.execute(due.order_by(CoverageState.refill_due_at).limit(ROUND))]


def refill(run: Run, client: Collectors) -> None:
    """The job: pulls the days of the holes, run by run, and compares them again. PullFailed says why it could not."""
    assert run.device_id is not None
    zone, days = list_holes(run.device_id)
    done: list[Progress] = []
    runs = find_runs(days) if days else []
    for number, (first, last) in enumerate(runs, start=1):
        run.report(phase=f"Fetching {name_days(first, last)}", progress=number - 1, total=len(runs))
        claims = rounds.wait_for_leases(run, [run.device_id])
        begin_refill(run.device_id, [day for day in days if first <= day <= last])
        window = day_bounds(first, read_zone(zone))[0], day_bounds(last, read_zone(zone))[1]
        targets = rounds.ready(claims, window=window, job_id=str(run.job_id))
        try:
            done += pull_targets(targets, client)
        except BaseException:
            leases.release([target.claim for target in targets], "It was stopped before its end.")
            raise
        if done and done[-1].problem is not None:
            break
    run.result(rounds.sum_up(done) | {"days": len(days), "holes": len(list_holes(run.device_id)[1])})
    problem = next((progress.detail for progress in done if progress.problem is not None), None)
    if problem is not None:
        raise rounds.PullFailed(problem)


def list_holes(device_id: str) -> tuple[str, list[date]]:
    """The zone in which the device's days were cut, and its holes that no routine pull would fill, oldest first."""
    db.session.rollback()
    zone = db.session.scalar(select(CoverageState.zone).where(CoverageState.device_id == device_id)) or "UTC"
    holes = select(CoveredDay.day).where(CoveredDay.device_id == device_id, *REFILLABLE)
    return zone, list(db.session.scalars(holes.order_by(CoveredDay.day)))


def begin_refill(device_id: str, days: Collection[date]) -> None:
    """Counts the try, and has the days compared at the end of the pull that the caller holds the lease for."""
    now = clock.utc_now()
    with transaction() as session:
        for row in _load(session, device_id, days):
            row.refills += 1
            row.refill_due_at = next_refill(row.refills, now)
        session.flush()
        state = session.get_one(CoverageState, device_id)
        state.due_at, state.due_from = now, min([*days, *([state.due_from] if state.due_from and state.due_at else [])])
        for name, value in covering.find_holes(session, device_id).items():
            setattr(state, name, value)


def name_days(first: date, last: date) -> str:
    """`3 March`, or `3 March to 5 March`."""
    names = [f"{day.day} {day:%B}" for day in ([first] if first == last else [first, last])]
    return " to ".join(names)


def _load(session: Session, device_id: str, days: Collection[date]) -> Sequence[CoveredDay]:
    wanted = select(CoveredDay).where(CoveredDay.device_id == device_id, CoveredDay.day.in_(days), *REFILLABLE)
    return session.scalars(wanted).all()
