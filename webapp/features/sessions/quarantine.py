"""Sessions that could not be accepted: kept with the reason, bounded per device, gone when a good version arrives."""

import hashlib
from collections.abc import Collection, Iterable, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.sessions.models import QuarantinedSession
from webapp.features.sessions.parsing import Rejected
from webapp.features.sessions.upserting import insert_into
from webapp.lib import clock

KEEP_PER_DEVICE = 1000


def quarantine(session: Session, device_id: str, rejected: Sequence[Rejected], pull_id: int | None) -> None:
    """Keeps what was rejected, each version once, in the caller's transaction. A full quarantine takes no more."""
    held = select(func.count()).where(QuarantinedSession.device_id == device_id)
    room = KEEP_PER_DEVICE - session.scalars(held).one()
    rows = [
        {
            "device_id": device_id,
            "session_id": one.session_id,
            "digest": hashlib.sha256(device_id.encode() + one.digest).digest(),
            "reason": one.reason,
            "record": one.record,
            "pull_id": pull_id,
            "received_at": clock.utc_now(),
        }
        for one in rejected[: max(0, room)]
    ]
    if rows:
        insert = insert_into(session, QuarantinedSession).on_conflict_do_nothing(index_elements=["digest"])
        session.connection().execute(insert, rows)


def clear(session: Session, device_id: str, stored_ids: Collection[str]) -> None:
    """Forgets the bad versions of sessions of which a good one was stored, in the caller's transaction."""
    of_device = QuarantinedSession.device_id == device_id
    held = set(session.scalars(select(QuarantinedSession.session_id).where(of_device)))
    cured = held.intersection(stored_ids)
    if cured:
        session.execute(delete(QuarantinedSession).where(of_device, QuarantinedSession.session_id.in_(cured)))


def count_quarantined(account_id: int) -> dict[str, int]:
    """How many sessions of each device are in quarantine; devices without any are left out."""
    wanted = select(QuarantinedSession.device_id, func.count()).join(Device, Device.id == QuarantinedSession.device_id)
    grouped = wanted.where(Device.account_id == account_id).group_by(QuarantinedSession.device_id)
    return {row[0]: row[1] for row in db.session.execute(grouped)}


def list_quarantined(account_id: int, device_id: str, limit: int = 50) -> Iterable[QuarantinedSession]:
    """The newest quarantined sessions of one of the account's devices."""
    wanted = select(QuarantinedSession).join(Device, Device.id == QuarantinedSession.device_id)
    mine = wanted.where(Device.account_id == account_id, Device.id == device_id)
    return db.session.scalars(mine.order_by(QuarantinedSession.id.desc()).limit(limit)).all()
