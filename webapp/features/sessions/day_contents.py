"""What the hub has of each local day of one device, in the terms in which its collector is compared with it."""

from collections.abc import Iterator
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, bindparam, func, or_, select
from sqlalchemy.orm import Session

from collector import wire
from webapp.features.sessions.covered_days import DayHere, Verdict
from webapp.features.sessions.models import CoveredDay, PullState, QuarantinedSession, StoredSession
from webapp.lib.local_days import day_bounds, day_of

LEDGER = [getattr(CoveredDay, name) for name in Verdict.__dataclass_fields__]

SLICE_MS = 31 * 86_400_000
"""So much time is read at once: a device may have half a million sessions, and SQLite locks what is being read."""
IN_SLICE = (
    StoredSession.device_id == bindparam("of_device"),
    StoredSession.started_ms >= bindparam("first", type_=BigInteger),
    StoredSession.started_ms < bindparam("end", type_=BigInteger),
)
EARLIEST = select(func.min(StoredSession.started_ms)).where(*IN_SLICE)
LIVE = select(StoredSession.id, StoredSession.changed_ms, StoredSession.started_ms, StoredSession.generation).where(
    *IN_SLICE, StoredSession.is_deleted.is_(False)
)

Refused = dict[str, tuple[int, int]]
"""Session id -> `(changed_ms, started_ms)` of its newest version that could not be accepted."""


def read_contents(session: Session, device_id: str, first: date, last: date, zone: ZoneInfo) -> dict[date, DayHere]:
    """The days from `first` to `last` of which anything is here. About 3 us a session.

    Quarantine is read first: a session that leaves it meanwhile is then seen twice, and never not at all.
    """
    start, end = day_bounds(first, zone)[0], day_bounds(last, zone)[1]
    present = session.scalar(select(PullState.generation).where(PullState.device_id == device_id)) or 0
    refused = read_refused(session, device_id)
    days: dict[date, DayHere] = {}
    for session_id, changed_ms, started_ms, generation in read_live(session, device_id, start, end):
        day = day_of(started_ms, zone)
        here = days.get(day)
        if here is None:
            here = days[day] = DayHere()
        if generation < present:
            here.kept += 1
        elif session_id not in refused:
            here.held += 1
            here.sum = wire.sum_digests([(session_id, changed_ms, started_ms)], here.sum)
        elif refused[session_id][0] <= changed_ms:
            del refused[session_id]  # what is stored is newer
            here.held += 1
            here.sum = wire.sum_digests([(session_id, changed_ms, started_ms)], here.sum)
    for session_id, (changed_ms, started_ms) in refused.items():
        if start <= started_ms < end:
            here = days.setdefault(day_of(started_ms, zone), DayHere())
            here.quarantined += 1
            here.sum = wire.sum_digests([(session_id, changed_ms, started_ms)], here.sum)
    return days


def read_live(session: Session, device_id: str, start: int, end: int) -> Iterator[tuple[str, int, int, int]]:
    """`(id, changed_ms, started_ms, generation)` of what starts in `[start, end)` and is not deleted."""
    connection, of_device = session.connection(), {"of_device": device_id}
    earliest = connection.execute(EARLIEST, of_device | {"first": start, "end": end}).scalar()
    for first in range(earliest, end, SLICE_MS) if earliest is not None else ():
        a_slice = {"first": first, "end": min(end, first + SLICE_MS)}
        yield from connection.execute(LIVE, of_device | a_slice).all()


def read_refused(session: Session, device_id: str) -> Refused:
    """The device's sessions in quarantine of which id and times could be read, dismissed ones too."""
    columns = (QuarantinedSession.session_id, QuarantinedSession.changed_ms, QuarantinedSession.started_ms)
    found: Refused = {}
    for session_id, changed_ms, started_ms in session.execute(
        select(*columns).where(QuarantinedSession.device_id == device_id)
    ):
        if session_id is None or changed_ms is None or started_ms is None:
            continue
        if session_id not in found or found[session_id][0] < changed_ms:
            found[session_id] = (changed_ms, started_ms)
    return found


def count_unread(session: Session, device_id: str) -> int:
    """How many in quarantine do not say what they are or on which day."""
    missing = or_(
        QuarantinedSession.session_id.is_(None),
        QuarantinedSession.changed_ms.is_(None),
        QuarantinedSession.started_ms.is_(None),
    )
    counted = select(func.count()).where(QuarantinedSession.device_id == device_id, missing)
    return session.scalars(counted).one()


def read_ledger(session: Session, device_id: str, first: date, last: date) -> dict[date, Verdict]:
    """What is written of the days from `first` to `last`."""
    wanted = select(*LEDGER).where(CoveredDay.device_id == device_id, CoveredDay.day.between(first, last))
    return {row[0]: Verdict(*row) for row in session.execute(wanted)}
