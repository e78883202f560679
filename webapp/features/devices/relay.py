"""Requests of the hub that travel over a device's own poll, and the answers that come back that way.

A row is one call: whoever asks adds it, the device's poll lists it, the device answers it, whoever asked takes the
answer and drops the row. Nothing else ends a call but its `expires_at`.
"""

import time
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from collector import wire
from webapp.database import change, transaction
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.features.devices import seen
from webapp.features.devices.joint_writes import JointWrites
from webapp.features.devices.models import Device, RelayedCall
from webapp.lib import clock

MOST_LISTED = 8
MOST_TAKEN = 32
"""Answers handed out at once: each may be megabytes."""
MOST_ANSWERED = 1000
ANSWERED_SECONDS = 10.0
KEPT_EXPIRED = timedelta(minutes=1)

NewCall = tuple[str, str, dict[str, Any], datetime]
"""`(device id, op, args, expires at)`."""


@dataclass
class Answer:
    """What a device sent for a call, and why it was not kept."""

    device_id: str
    call_id: uuid.UUID
    body: bytes
    at: datetime
    failure: NotFound | Conflict | None = None


def add_calls(session: Session, calls: Sequence[NewCall]) -> list[uuid.UUID | None]:
    """Posts calls, in the caller's transaction -> the id of each; None where the device is gone or not paired."""
    known = _lock_paired(session, {device_id for device_id, *_ in calls})
    now = clock.utc_now()
    ids = [uuid.uuid4() if device_id in known else None for device_id, *_ in calls]
    rows = [
        {"id": made, "device_id": device_id, "op": op, "args": args, "created_at": now, "expires_at": expires_at}
        for made, (device_id, op, args, expires_at) in zip(ids, calls, strict=True)
        if made is not None
    ]
    if rows:
        session.connection().execute(insert(RelayedCall.__table__), rows)  # type: ignore[arg-type]
    return ids


def take_answers(ids: Collection[uuid.UUID]) -> dict[uuid.UUID, bytes]:
    """The answers that have come to `ids`, at most MOST_TAKEN at once. It only reads: `drop_calls` ends them."""
    # Without an IN of hundreds, several times a second: rows with an answer are few, and soon gone.
    answered = db.session.scalars(select(RelayedCall.id).where(RelayedCall.answered_at.is_not(None))).all()
    mine = [found for found in answered if found in ids][:MOST_TAKEN]
    if not mine:
        return {}
    rows = db.session.execute(select(RelayedCall.id, RelayedCall.answer).where(RelayedCall.id.in_(mine)))
    return {call_id: answer for call_id, answer in rows if answer is not None}


def drop_calls(session: Session, ids: Collection[uuid.UUID]) -> int:
    """Ends calls that nobody waits for any more, in the caller's transaction; how many there still were."""
    return change(session, delete(RelayedCall).where(RelayedCall.id.in_(list(ids)))) if ids else 0


def list_waiting(device_id: str) -> list[wire.RelayedRequest]:
    """What the device has to answer, oldest first, at most MOST_LISTED."""
    return _list_waiting(RelayedCall.device_id == device_id).get(device_id, [])


def list_all_waiting() -> dict[str, list[wire.RelayedRequest]]:
    """The same for every device that has any, by its id."""
    return _list_waiting()


def was_answered(call_id: str) -> bool:
    """Whether this process took the answer a moment ago: who read before that may still think that it waits."""
    return call_id in _answered_lately


def is_waiting(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """The conditions under which a call still wants an answer."""
    return RelayedCall.answered_at.is_(None), RelayedCall.expires_at > now


def record_answer(device_id: str, call_id: uuid.UUID, body: bytes) -> None:
    """Keeps the device's answer, a JSON object as it came. The same one again changes nothing.

    NotFound for a call that does not exist, is another device's or has expired; Conflict if it was answered otherwise.
    """
    given = Answer(device_id, call_id, body, clock.utc_now())
    _check(db.session(), given, is_locking=False)  # only reading: a guess at an id keeps no other write waiting
    _answers.add(given)
    if given.failure is not None:
        raise given.failure
    _note_answered(str(call_id))
    seen.note_answered(device_id)


def prune_calls() -> int:
    """Deletes calls that expired a while ago: whoever asked them has died. How many."""
    old = RelayedCall.expires_at < clock.utc_now() - KEPT_EXPIRED
    if db.session.scalar(select(RelayedCall.id).where(old).limit(1)) is None:
        return 0
    with transaction() as session:
        return change(session, delete(RelayedCall).where(old))


def _list_waiting(*whose: ColumnElement[bool]) -> dict[str, list[wire.RelayedRequest]]:
    columns = (RelayedCall.device_id, RelayedCall.id, RelayedCall.op, RelayedCall.args, RelayedCall.expires_at)
    wanted = select(*columns).where(*whose, *is_waiting(clock.utc_now()))
    found: dict[str, list[wire.RelayedRequest]] = {}
    for device_id, call_id, op, args, expires_at in db.session.execute(
        wanted.order_by(RelayedCall.created_at, RelayedCall.id)
    ):
        listed = found.setdefault(device_id, [])
        if len(listed) < MOST_LISTED:
            deadline = wire.format_ms(wire.to_ms(expires_at))
            listed.append(wire.RelayedRequest(id=str(call_id), op=op, args=args, deadline=deadline))
    return found


def _note_answered(call_id: str) -> None:
    now = time.monotonic()
    _answered_lately[call_id] = now
    if len(_answered_lately) > MOST_ANSWERED:
        for old in [one for one, at in list(_answered_lately.items()) if now - at > ANSWERED_SECONDS]:
            _answered_lately.pop(old, None)


def _lock_paired(session: Session, device_ids: Collection[str]) -> set[str]:
    """Those that are paired, kept from being deleted until the transaction ends."""
    paired = (Device.id.in_(list(device_ids)), Device.kind == "collector", Device.unpaired_at.is_(None))
    return set(session.scalars(select(Device.id).where(*paired).with_for_update(read=True, key_share=True)))


def _write_answers(session: Session, given: Sequence[Answer]) -> None:
    for one in given:
        try:
            if _check(session, one, is_locking=True) is None:
                same = RelayedCall.id == one.call_id
                session.execute(update(RelayedCall).where(same).values(answered_at=one.at, answer=one.body))
        except (NotFound, Conflict) as failure:
            one.failure = failure


def _check(session: Session, given: Answer, *, is_locking: bool) -> bytes | None:
    """The same answer, if it is there already; the reason why this one cannot be kept."""
    mine = (RelayedCall.id == given.call_id, RelayedCall.device_id == given.device_id)
    wanted = select(RelayedCall.answer).where(*mine, RelayedCall.expires_at > given.at)
    found = session.execute(wanted.with_for_update() if is_locking else wanted).one_or_none()
    if found is None:
        raise NotFound("Nobody waits for this answer any more.")
    answer: bytes | None = found.answer
    if answer is not None and answer != given.body:
        raise Conflict("This request was answered already, and differently.")
    return answer


_answers = JointWrites(_write_answers)
_answered_lately: dict[str, float] = {}
