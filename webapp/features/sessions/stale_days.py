"""Which local days have to be counted again: marked in the transaction that changes sessions, gone when counted."""

import random
from collections.abc import Iterable
from datetime import date
from zoneinfo import ZoneInfo

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from webapp.extensions import db
from webapp.features.sessions.models import StaleDay
from webapp.features.sessions.upserting import insert_into
from webapp.lib.local_days import QUARTER_MS, day_of, list_days
from webapp.lib.spans import Span

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
    insert = insert_into(session, StaleDay)
    newer = insert.on_conflict_do_update(index_elements=["account_id", "day"], set_={"stamp": insert.excluded.stamp})
    session.connection().execute(newer, rows)


def list_stale(account_id: int, limit: int) -> list[tuple[date, int]]:
    """`(day, stamp)` of the newest stale days."""
    wanted = select(StaleDay.day, StaleDay.stamp).where(StaleDay.account_id == account_id)
    found = db.session.execute(wanted.order_by(StaleDay.day.desc()).limit(limit))
    return [(day, stamp) for day, stamp in found]


def take_counted(session: Session, account_id: int, counted: dict[date, int]) -> set[date]:
    """Removes the days whose stamp is still the one in `counted`; those are the days that may be written."""
    wanted = select(StaleDay.day, StaleDay.stamp).where(StaleDay.account_id == account_id)
    found = session.execute(wanted.where(StaleDay.day.in_(counted)).with_for_update())
    unchanged = {day for day, stamp in found if counted[day] == stamp}
    session.execute(delete(StaleDay).where(StaleDay.account_id == account_id, StaleDay.day.in_(unchanged)))
    return unchanged


def list_stale_accounts() -> list[int]:
    """The accounts that have something to count."""
    return list(db.session.scalars(select(StaleDay.account_id).distinct()))
