"""Counts over the whole hub, all accounts together, for its operator's metrics. No names, paths or texts in them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, func, select

from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import STATUSES, Job
from webapp.features.sessions.models import Pull, PullState, QuarantinedSession
from webapp.features.sessions.quarantine import WAITING
from webapp.lib import clock

LATELY = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class HubCounts:
    """How much there is, and how the last hour's pulls went."""

    devices: dict[str, int]
    jobs: dict[str, int]
    pulls: dict[str, int]
    processes: dict[str, int]
    changed_rows: int
    quarantined: int
    failing: int
    oldest_pull_seconds: float
    mean_pull_seconds: float


def count_hub() -> HubCounts:
    """The counts now."""
    now = clock.utc_now()
    lately = Pull.started_at >= now - LATELY
    paired = (Device.paired_at.is_not(None), Device.unpaired_at.is_(None))
    in_all, still_paired = _count(select(func.count(Device.id))), _count(select(func.count(Device.id)).where(*paired))
    roles = [process.role for process in jobs.list_processes()]
    oldest = select(func.min(PullState.last_pulled_at)).join(Device, Device.id == PullState.device_id).where(*paired)
    return HubCounts(
        devices={"yes": still_paired, "no": in_all - still_paired},
        jobs=dict.fromkeys(STATUSES, 0) | _group(select(Job.status, func.count()).group_by(Job.status)),
        pulls=_group(select(Pull.status, func.count()).where(lately).group_by(Pull.status)),
        processes={role: roles.count(role) for role in ("worker", "scheduler")},
        changed_rows=_count(select(func.sum(Pull.changed_rows)).where(lately)),
        quarantined=_count(select(func.count(QuarantinedSession.id)).where(WAITING)),
        failing=_count(select(func.count(PullState.device_id)).where(PullState.problem.is_not(None))),
        oldest_pull_seconds=_age(db.session.scalar(oldest), now),
        mean_pull_seconds=float(db.session.scalar(select(func.avg(Pull.milliseconds)).where(lately)) or 0) / 1000,
    )


def _count(wanted: Select[int]) -> int:
    return db.session.scalar(wanted) or 0


def _group(wanted: Select[str, int]) -> dict[str, int]:
    return {row[0]: row[1] for row in db.session.execute(wanted)}


def _age(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
