"""Sessions that could not be accepted: kept with the reason, bounded per device, gone when a good version arrives."""

import hashlib
import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import bindparam, case, delete, func, select
from sqlalchemy.orm import Session

import webapp
from webapp.config import current_config
from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.sessions.models import QuarantinedSession
from webapp.features.sessions.parsing import Rejected, read_ms
from webapp.features.sessions.upserting import insert_into
from webapp.lib import clock
from webapp.lib.paging import Page, read_cursor, write_cursor

KEEP_PER_DEVICE = 1000
HELD_IDS = select(QuarantinedSession.session_id).where(QuarantinedSession.device_id == bindparam("of_device"))
"""So many are kept with their text."""
COUNT_PER_DEVICE = 20_000
"""Up to so many more are known by digest, reason and times alone: counted, and cured by a good version."""

WAITING = QuarantinedSession.dismissed_at.is_(None)
TIME = re.compile(r'"(changedAt|sessionStartTime)"\s*:\s*"([^"\\]{1,64})"')


def quarantine(session: Session, device_id: str, rejected: Sequence[Rejected], pull_id: int | None) -> None:
    """Keeps what was rejected, each version once, in the caller's transaction.

    A full quarantine keeps no more texts, and then no more at all. What was dismissed does not come back. It stays as
    long as the device: without it its day would be a hole.
    """
    known = list_known(session, device_id, rejected)
    new = {digest_of(device_id, one): one for one in rejected}
    fresh = [(digest, one) for digest, one in new.items() if digest not in known]
    if not fresh:
        return
    has_text = case((QuarantinedSession.record != "", 1))
    held = select(func.count(), func.count(has_text)).where(QuarantinedSession.device_id == device_id)
    count, texts = session.execute(held).one()
    rows = [
        describe(device_id, digest, one, pull_id, has_text=texts + number < KEEP_PER_DEVICE)
        for number, (digest, one) in enumerate(fresh[: max(0, COUNT_PER_DEVICE - count)])
    ]
    if rows:
        insert = insert_into(session, QuarantinedSession).on_conflict_do_nothing(index_elements=["digest"])
        session.connection().execute(insert, rows)


def list_known(session: Session, device_id: str, rejected: Sequence[Rejected]) -> set[bytes]:
    """The digests of what is in quarantine already, or was dismissed."""
    digests = {digest_of(device_id, one) for one in rejected}
    return set(session.scalars(select(QuarantinedSession.digest).where(QuarantinedSession.digest.in_(digests))))


def digest_of(device_id: str, one: Rejected) -> bytes:
    """Names these bytes from this device."""
    return hashlib.sha256(device_id.encode() + one.digest).digest()


def describe(device_id: str, digest: bytes, one: Rejected, pull_id: int | None, *, has_text: bool) -> dict[str, Any]:
    """The row of a rejected session. Without its text, or with a cut or mended one, it cannot be tried again."""
    changed_ms, started_ms = read_times(one.record)
    return {
        "device_id": device_id,
        "session_id": one.session_id,
        "digest": digest,
        "reason": one.reason,
        "record": one.record if has_text else "",
        "pull_id": pull_id,
        "received_at": clock.utc_now(),
        "changed_ms": changed_ms,
        "started_ms": started_ms,
        "is_whole": has_text and hashlib.sha256(one.record.encode()).digest() == one.digest,
        "judged_by": webapp.__version__,
    }


def read_times(record: str) -> tuple[int | None, int | None]:
    """`(changed_ms, started_ms)` as far as they can be read, also from a text that is no JSON."""
    try:
        found = msgspec.json.decode(record, type=_Times)
        changed, started = found.changed_at, found.session_start_time
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        named = dict(reversed(TIME.findall(record)))
        changed, started = named.get("changedAt"), named.get("sessionStartTime")
    return _read_time(changed), _read_time(started)


def clear(session: Session, device_id: str, stored_ids: Collection[str]) -> None:
    """Forgets the bad versions of sessions of which a good one was stored, in the caller's transaction."""
    held = set(session.connection().execute(HELD_IDS, {"of_device": device_id}).scalars())
    cured = held.intersection(stored_ids)
    if cured:
        of_device = QuarantinedSession.device_id == device_id
        session.execute(delete(QuarantinedSession).where(of_device, QuarantinedSession.session_id.in_(cured)))


def count_quarantined(account_id: int) -> dict[str, int]:
    """How many sessions of each device wait in quarantine; devices without any are left out."""
    wanted = select(QuarantinedSession.device_id, func.count()).join(Device, Device.id == QuarantinedSession.device_id)
    grouped = wanted.where(Device.account_id == account_id, WAITING).group_by(QuarantinedSession.device_id)
    return {row[0]: row[1] for row in db.session.execute(grouped)}


def list_quarantined(
    account_id: int, device_id: str, limit: int = 50, cursor: str | None = None
) -> Page[QuarantinedSession]:
    """What waits in quarantine of one of the account's devices, newest first. Unreadable for a foreign cursor."""
    query = ["quarantine", account_id, device_id]
    wanted = select(QuarantinedSession).join(Device, Device.id == QuarantinedSession.device_id)
    wanted = wanted.where(Device.account_id == account_id, Device.id == device_id, WAITING)
    if cursor is not None:
        wanted = wanted.where(QuarantinedSession.id < read_cursor(current_config().cursor_key, query, cursor)[0])
    rows = db.session.scalars(wanted.order_by(QuarantinedSession.id.desc()).limit(limit + 1)).all()
    is_more = len(rows) > limit
    after = write_cursor(current_config().cursor_key, query, [rows[limit - 1].id]) if is_more else None
    return Page(rows[:limit], after)


def _read_time(value: object) -> int | None:
    try:
        return read_ms(msgspec.convert(value, datetime))
    except (msgspec.ValidationError, OverflowError):
        return None


class _Times(msgspec.Struct, rename="camel"):
    changed_at: Any = None
    session_start_time: Any = None
