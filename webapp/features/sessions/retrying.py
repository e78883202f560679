"""What a person decides about quarantined sessions: try again with today's rules, or dismiss. And once by itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

import webapp
from webapp.database import transaction
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.sessions.covering import compare_all_again
from webapp.features.sessions.ingest import store_parsed
from webapp.features.sessions.models import PullState, QuarantinedSession
from webapp.features.sessions.parsing import Parsed, Row, Unacceptable, parse
from webapp.features.sessions.quarantine import WAITING
from webapp.lib import clock
from webapp.lib.local_days import read_zone

BATCH = 100


@dataclass(frozen=True)
class Outcome:
    """How many were tried again, and how many of them are stored now."""

    tried: int
    accepted: int


def get_quarantined(account_id: int, device_id: str, quarantined_id: int) -> QuarantinedSession:
    """One that waits in quarantine of one of the account's devices. NotFound."""
    mine = select(QuarantinedSession).join(Device, Device.id == QuarantinedSession.device_id)
    mine = mine.where(Device.account_id == account_id, Device.id == device_id, WAITING)
    row = db.session.scalar(mine.where(QuarantinedSession.id == quarantined_id))
    if row is None:
        raise NotFound("This session is no longer in quarantine.")
    return row


def retry_quarantined(account_id: int, device_id: str, quarantined_id: int) -> Outcome:
    """Stores one quarantined session if today's rules accept it. NotFound, or Conflict when its text is not whole."""
    row = get_quarantined(account_id, device_id, quarantined_id)
    if not row.is_whole:
        raise Conflict("Not all of its text was kept, so it cannot be tried again here.", code="not_whole")
    return _retry(device_id, [quarantined_id])


def retry_all_quarantined(account_id: int, device_id: str) -> Outcome:
    """The same for everything of one device whose text is whole, in transactions of BATCH."""
    mine = _of_device(account_id, device_id).where(QuarantinedSession.is_whole)
    return _retry_in_batches(device_id, list(db.session.scalars(mine.order_by(QuarantinedSession.id))))


def dismiss_quarantined(account_id: int, device_id: str, quarantined_id: int) -> None:
    """Forgets the text of one; its digest stays, so that the same bytes do not come back. NotFound."""
    get_quarantined(account_id, device_id, quarantined_id)
    with transaction() as session:
        one = update(QuarantinedSession).where(QuarantinedSession.id == quarantined_id, WAITING)
        session.execute(one.values(dismissed_at=clock.utc_now(), record="", is_whole=False))


def retry_after_update() -> int:
    """Tries each quarantined session once again that an earlier version of the hub refused; how many were accepted."""
    is_older = QuarantinedSession.judged_by != webapp.__version__
    wanted = select(QuarantinedSession.device_id, QuarantinedSession.id).where(
        is_older, WAITING, QuarantinedSession.is_whole
    )
    by_device: dict[str, list[int]] = {}
    for device_id, quarantined_id in db.session.execute(wanted):
        by_device.setdefault(device_id, []).append(quarantined_id)
    return sum(_retry_in_batches(device_id, ids).accepted for device_id, ids in by_device.items())


def _retry_in_batches(device_id: str, ids: Sequence[int]) -> Outcome:
    done = [_retry(device_id, ids[first : first + BATCH]) for first in range(0, len(ids), BATCH)]
    return Outcome(sum(one.tried for one in done), sum(one.accepted for one in done))


def _retry(device_id: str, ids: Sequence[int]) -> Outcome:
    """One transaction: what is acceptable now is stored and leaves; of the others the reason is today's."""
    with transaction() as session:
        held = select(QuarantinedSession).where(QuarantinedSession.id.in_(ids), WAITING, QuarantinedSession.is_whole)
        rows = session.scalars(held.order_by(QuarantinedSession.id).with_for_update()).all()
        accepted: dict[int, Row] = {}
        for row in rows:
            row.judged_by = webapp.__version__
            try:
                accepted[row.id] = parse(row.record.encode(), clock.now_ms())
            except (msgspec.DecodeError, UnicodeError, Unacceptable) as error:
                row.reason = str(error)[:500]
        session.flush()
        if accepted:
            _store(session, device_id, list(accepted.values()))
            compare_all_again(session, device_id)
            session.execute(delete(QuarantinedSession).where(QuarantinedSession.id.in_(accepted)))
    return Outcome(len(rows), len(accepted))


def _store(session: Session, device_id: str, rows: list[Row]) -> None:
    wanted = select(Account.id, Account.timezone, PullState.generation).join(Device, Device.account_id == Account.id)
    found = session.execute(
        wanted.outerjoin(PullState, PullState.device_id == Device.id).where(Device.id == device_id)
    ).one()
    store_parsed(
        session,
        Parsed(rows=rows),
        device_id=device_id,
        account_id=found.id,
        zone=read_zone(found.timezone),
        pull_id=None,
        generation=found.generation or 0,
    )


def _of_device(account_id: int, device_id: str) -> Select[int]:
    mine = select(QuarantinedSession.id).join(Device, Device.id == QuarantinedSession.device_id)
    return mine.where(Device.account_id == account_id, Device.id == device_id, WAITING)
