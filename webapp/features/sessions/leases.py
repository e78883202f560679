"""Who may pull which device, and when: due times, leases with an attempt that fences off late writers, back-off."""

import random
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Update, and_, bindparam, or_, select, update
from sqlalchemy.orm import Session

from webapp.config import current_config
from webapp.database import change, transaction
from webapp.extensions import db
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.sessions.models import Pull, PullState
from webapp.features.sessions.upserting import insert_into
from webapp.lib import clock

LEASE = timedelta(seconds=12)
FIRST_BACKOFF_SECONDS = 15.0
LONGEST_BACKOFF_SECONDS = 900.0
FIRST_DIRECT_RETRY, LONGEST_DIRECT_RETRY = timedelta(seconds=60), timedelta(minutes=15)
"""When a device on the relay is tried directly again."""

PAIRED = and_(Device.kind == "collector", Device.paired_at.is_not(None), Device.unpaired_at.is_(None))


@dataclass(frozen=True)
class Claim:
    """The right to pull one device until the lease ends, and where its last pull stood."""

    device_id: str
    attempt: int
    cursor: str | None
    epoch: str | None
    last_sync_time: str | None
    is_resetting: bool
    is_behind: bool
    generation: int
    reached_ms: int | None
    failures: int
    last_pulled_at: datetime | None
    problem_since_at: datetime | None
    road: str
    direct_failures: int
    direct_due_at: datetime | None
    direct_since_at: datetime | None
    direct_detail: str | None


POSITION = [getattr(PullState, field.name) for field in fields(Claim)]
RENEW = update(PullState.__table__).where(  # type: ignore[arg-type]
    PullState.device_id == bindparam("of_device"), PullState.attempt == bindparam("of_attempt")
)
LOST = "The worker that ran it was lost; the next one went on from there."


def find_due(limit: int, *, is_reliable: bool = False, is_direct: bool = False) -> Sequence[str]:
    """The devices to pull now, the longest waiting first. One that was never pulled is due.

    Reliable ones are those whose last pull went well, direct ones those that the hub reaches by itself.
    """
    waits = select(Device.id).outerjoin(PullState, PullState.device_id == Device.id)
    due = waits.where(PAIRED, _is_free(clock.utc_now()), _is_due(clock.utc_now()))
    is_new = PullState.device_id.is_(None)
    if is_reliable:
        due = due.where(or_(is_new, PullState.failures == 0))
    if is_direct:
        due = due.where(or_(is_new, PullState.road == "direct"))
    return db.session.scalars(due.order_by(PullState.due_at.is_not(None), PullState.due_at).limit(limit)).all()


def claim(device_ids: Collection[str]) -> list[Claim]:
    """Takes the lease of those devices whose lease is free; the others are being pulled by somebody else."""
    if not device_ids:
        return []
    now = clock.utc_now()
    with transaction() as session:
        _add_states(session, device_ids, now)
        wanted = select(PullState.lease_expires_at, *POSITION).where(PullState.device_id.in_(device_ids), _is_free(now))
        free = session.execute(wanted.with_for_update(skip_locked=True)).all()
        _close_pulls(session, [row.device_id for row in free if row.lease_expires_at is not None], "lost", LOST)
        taken = update(PullState).where(PullState.device_id.in_([row.device_id for row in free]))
        begun = {"lease_expires_at": now + LEASE, "leased_by": jobs.current_worker(), "last_tried_at": now}
        begun |= {"attempt": PullState.attempt + 1}
        session.execute(taken.values(begun), execution_options={"synchronize_session": False})
    return [replace(Claim(*row[1:]), attempt=row.attempt + 1) for row in free]


def advance(session: Session, held: Claim, values: dict[str, Any]) -> bool:
    """Writes `values` and a longer lease into the state, in the caller's transaction; False if the lease is lost."""
    kept = {"of_device": held.device_id, "of_attempt": held.attempt, "lease_expires_at": clock.utc_now() + LEASE}
    return bool(session.connection().execute(RENEW, kept | values).rowcount)


def renew(claims: Sequence[Claim]) -> None:
    """Moves the end of every lease that is still held."""
    later = clock.utc_now() + LEASE
    held = [{"of_device": one.device_id, "of_attempt": one.attempt, "lease_expires_at": later} for one in claims]
    with transaction() as session:
        session.connection().execute(RENEW, held)


def release(claims: Sequence[Claim], reason: str) -> None:
    """Gives leases back without an end of the pull; `reason` is what its row says."""
    with transaction() as session:
        held = [one for one in claims if change(session, _held(one).values(lease_expires_at=None))]
        _close_pulls(session, [one.device_id for one in held], "cancelled", reason)


@jobs.on_worker_death
def release_of(worker: str) -> int:
    """Takes every lease from a worker that is known to be dead; how many. Should it still live, it writes nothing."""
    held = (PullState.leased_by == worker, PullState.lease_expires_at.is_not(None))
    found = db.session.scalars(select(PullState.device_id).where(*held)).all()
    if not found:
        return 0
    with transaction() as session:
        ids = session.scalars(select(PullState.device_id).where(*held).with_for_update()).all()
        _take_away(session, ids, "lost", LOST)
    return len(ids)


@devices.before_unpair
def end_pull(session: Session, device_id: str) -> None:
    """Ends the running pull of a device whose link ends, in the caller's transaction: its next page is not stored."""
    _take_away(session, [device_id], "cancelled", "The machine was unpaired.")


def next_due(failures: int, *, is_more: bool, now: datetime) -> datetime:
    """When the device is due again: at once when there is more, else after the interval, later after each failure."""
    if failures:
        longest = min(LONGEST_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2 ** min(failures - 1, 10))
        return now + timedelta(seconds=longest * spread(0.5))
    # A little early: what is saved just after a pull takes a moment to be derived, and is to be here by the interval.
    seconds = 0.0 if is_more else current_config().pull_interval_seconds * 0.9 * spread(0.9)
    return now + timedelta(seconds=seconds)


def spread(least: float) -> float:
    """A factor from `least` to 1, so that many devices do not come due at the same moment."""
    return random.uniform(least, 1.0)  # noqa: S311  (guards nothing)


def _take_away(session: Session, device_ids: Collection[str], problem: str, reason: str) -> None:
    """Ends what runs for these devices: the attempt that it belongs to is over."""
    leased = update(PullState).where(PullState.device_id.in_(device_ids), PullState.lease_expires_at.is_not(None))
    session.execute(leased.values(lease_expires_at=None, attempt=PullState.attempt + 1))
    _close_pulls(session, device_ids, problem, reason)


def _held(held: Claim) -> Update:
    return update(PullState).where(PullState.device_id == held.device_id, PullState.attempt == held.attempt)


def _is_free(now: datetime) -> ColumnElement[bool]:
    end = PullState.lease_expires_at
    return or_(end.is_(None), end < now, end > now + LEASE + clock.SKEW)


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Also due before its time: a failing device that was heard of, or found elsewhere, since the last try."""
    interval = timedelta(seconds=current_config().pull_interval_seconds)
    is_back = and_(Device.last_seen_at > PullState.last_tried_at, PullState.last_tried_at < now - interval)
    is_found = Device.endpoint_proven_at > PullState.last_tried_at
    is_early = and_(PullState.failures > 0, or_(is_back, is_found))
    latest = now + max(interval, timedelta(seconds=LONGEST_BACKOFF_SECONDS)) + clock.SKEW
    return or_(PullState.device_id.is_(None), PullState.due_at <= now, PullState.due_at > latest, is_early)


def _add_states(session: Session, device_ids: Collection[str], now: datetime) -> None:
    """A device's first row. Attempts begin anywhere: those of a deleted and paired again device must not repeat."""
    known = set(session.scalars(select(PullState.device_id).where(PullState.device_id.in_(device_ids))))
    rows = [
        {
            "device_id": device_id,
            "due_at": now,
            "failures": 0,
            "attempt": secrets.randbelow(2**30),
            "is_resetting": False,
        }
        for device_id in device_ids
        if device_id not in known
    ]
    if rows:
        session.connection().execute(insert_into(session, PullState).on_conflict_do_nothing(), rows)


def _close_pulls(session: Session, device_ids: Collection[str], problem: str, reason: str) -> None:
    """Ends the pulls of these devices that nobody runs any more."""
    if not device_ids:
        return
    unfinished = update(Pull).where(Pull.device_id.in_(device_ids), Pull.status == "running")
    session.execute(unfinished.values(status="failed", finished_at=clock.utc_now(), problem=problem, error=reason))
