"""Which local days have to be counted again: marked in the transaction that changes sessions, gone when counted."""

import random
from collections.abc import Iterable
from datetime import date
from functools import cache
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from webapp.extensions import db
from webapp.features.sessions.models import StaleDay
from webapp.features.sessions.upserting import Insert, dialect_of, make_insert
from webapp.lib.local_days import QUARTER_MS, day_of, list_days
from webapp.lib.spans import Span

OF_ACCOUNT = StaleDay.account_id == bindparam("of_account")
AMONG = StaleDay.day.in_(bindparam("days", expanding=True))
MARKS = select(StaleDay.day, StaleDay.stamp).where(OF_ACCOUNT)
NEWEST = MARKS.order_by(StaleDay.day.desc()).limit(bindparam("most"))
LOCKED = MARKS.where(AMONG).with_for_update()
TAKEN = delete(StaleDay.__table__).where(OF_ACCOUNT, AMONG)  # type: ignore[arg-type]

SHORTEST_DAY_MS = 20 * 3_600_000
"""What is shorter touches no day besides those of its ends."""


def find_days(spans: Iterable[Span], zone: ZoneInfo) -> set[date]:
    """The local days that `spans` touch; the last instant of a span is the one before its end."""
    quarters: set[int] = set()
    days: set[date] = set()
    for start, end in spans:
        last = end - 1 if end > start else start
        if last - start < SHORTEST_DAY_MS:
            quarters.add(start // QUARTER_MS)
            quarters.add(last // QUARTER_MS)
        else:
            days.update(list_days(day_of(start, zone), day_of(last, zone)))
    return days | {day_of(quarter * QUARTER_MS, zone) for quarter in quarters}


def mark_stale(session: Session, account_id: int, days: Iterable[date]) -> None:
    """Notes that `days` have to be counted again, in the caller's transaction."""
    stamp = random.getrandbits(62)
    rows = [{"account_id": account_id, "day": day, "stamp": stamp} for day in sorted(days)]
    if not rows:
        return
    session.connection().execute(make_mark(dialect_of(session)), rows)


@cache
def make_mark(dialect: str) -> Insert:
    """The statement of `mark_stale`."""
    insert = make_insert(dialect, StaleDay)
    return insert.on_conflict_do_update(index_elements=["account_id", "day"], set_={"stamp": insert.excluded.stamp})


def list_stale(account_id: int, limit: int) -> list[tuple[date, int]]:
    """`(day, stamp)` of the newest stale days."""
    found = db.session.connection().execute(NEWEST, {"of_account": account_id, "most": limit})
    return [(day, stamp) for day, stamp in found]


def take_counted(session: Session, account_id: int, counted: dict[date, int]) -> set[date]:
    """Removes the days whose stamp is still the one in `counted`; those are the days that may be written."""
    connection, given = session.connection(), {"of_account": account_id}
    found = connection.execute(LOCKED, given | {"days": list(counted)})
    unchanged = {day for day, stamp in found if counted[day] == stamp}
    connection.execute(TAKEN, given | {"days": list(unchanged)})
    return unchanged


def list_stale_accounts() -> list[int]:
    """The accounts that have something to count."""
    return list(db.session.scalars(select(StaleDay.account_id).distinct()))
