"""Keeps the stored totals true: counts stale days again, all days when the account's time zone changes.

Sessions are read before the write transaction begins, so counting never keeps a writer waiting. A day that was marked
again meanwhile keeps its mark and is counted in the next round.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Integer,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    type_coerce,
    union_all,
)
from sqlalchemy.orm import Session

from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.sessions import known_names, stale_days
from webapp.features.sessions.counting import CountedSession, count_days
from webapp.features.sessions.day_details import DayDetail, write_detail
from webapp.features.sessions.models import EVERY_DEVICE, LONG_MS, CountedZone, DayTotal, StaleDay, StoredSession
from webapp.lib.local_days import day_bounds, day_of, list_days, read_zone

DAYS_PER_ROUND = 31
SMALL_GAP = timedelta(days=2)
IS_LONG = text(f"ended_ms - started_ms > {LONG_MS}")  # literally the condition of the index, or it is not used

OWN_DEVICES = select(Device.id).where(Device.account_id == bindparam("of_account"))
NEW_TOTALS = insert(DayTotal.__table__)  # type: ignore[arg-type]
OLD_TOTALS = delete(DayTotal.__table__).where(  # type: ignore[arg-type]
    DayTotal.account_id == bindparam("of_account"),
    DayTotal.device_id.in_(bindparam("of_devices", expanding=True)),
    DayTotal.day.in_(bindparam("of_days", expanding=True)),
)

Details = dict[tuple[date, str], DayDetail]


def refresh_stale_days(account_id: int | None = None) -> int:
    """Counts every stale day of one account, or of all; how many days were written."""
    accounts = stale_days.list_stale_accounts() if account_id is None else [account_id]
    return sum(refresh_account(each) for each in accounts)


def refresh_account(account_id: int, report: Callable[[int], None] = lambda _: None) -> int:
    """The same for one account, the newest days first; `report` is told the number of days done so far."""
    zone = read_zone(check_zone(account_id))
    done = 0
    while stale := stale_days.list_stale(account_id, DAYS_PER_ROUND):
        written = count_again(account_id, dict(stale), zone)
        if not written:  # another process counts the same days
            break
        done += written
        report(done)
    return done


def count_again(account_id: int, stale: dict[date, int], zone: ZoneInfo) -> int:
    """One round: reads, counts, and writes the days that nobody changed meanwhile."""
    details: Details = {}
    for first, last in find_runs(sorted(stale)):
        details |= count_days(read_sessions(account_id, first, last, zone), first, last, zone)
    with transaction() as session:
        days = stale_days.take_counted(session, account_id, stale)
        if days:
            replace_totals(session, account_id, days, details)
    return len(days)


def find_runs(days: Sequence[date]) -> list[tuple[date, date]]:
    """Sorted days as `(first, last)` runs: neighbours share a query, far apart days do not read what lies between."""
    runs = [(days[0], days[0])]
    for day in days[1:]:
        if day - runs[-1][1] <= SMALL_GAP:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def read_sessions(account_id: int, first: date, last: date, zone: ZoneInfo) -> Iterable[CountedSession]:
    """The columns to count of every session that touches the days `first` to `last`."""
    start, end = day_bounds(first, zone)[0], day_bounds(last, zone)[1]
    given = {"of_account": account_id, "start": start, "end": end, "far_start": start - LONG_MS}
    return db.session.connection().execute(make_read_sessions(), given).all()  # type: ignore[return-value]  # tuples


@cache
def make_read_sessions() -> CompoundSelect[Any]:
    """The statement of `read_sessions`. On SQLite the flag stays the number that it is: that saves a call a row."""
    columns = {name: getattr(StoredSession, name) for name in CountedSession._fields}
    columns["is_agent"] = type_coerce(StoredSession.is_agent, Integer)
    is_own = StoredSession.account_id == bindparam("of_account")
    wanted = select(*columns.values()).where(is_own, StoredSession.is_deleted.is_(False))
    started, far_start = StoredSession.started_ms, bindparam("far_start", type_=BigInteger)
    near = wanted.where(started >= far_start, started < bindparam("end"))
    long = wanted.where(IS_LONG, StoredSession.ended_ms > bindparam("start"), started < far_start)
    return union_all(near, long)


def replace_totals(session: Session, account_id: int, days: set[date], details: Details) -> None:
    """Writes the totals of `days` in place of what stood there."""
    connection = session.connection()
    device_ids = connection.execute(OWN_DEVICES, {"of_account": account_id}).scalars()
    old = {"of_account": account_id, "of_devices": [EVERY_DEVICE, *device_ids], "of_days": list(days)}
    connection.execute(OLD_TOTALS, old)
    rows = [
        {
            "account_id": account_id,
            "device_id": device_id,
            "day": day,
            "ms": sum(detail.hours),
            "agent_ms": sum(ms for *_, ms in detail.agent_shares),
            "detail": write_detail(detail),
        }
        for (day, device_id), detail in details.items()
        if day in days
    ]
    if rows:
        connection.execute(NEW_TOTALS, rows)
    fresh = [details[day, EVERY_DEVICE] for day in sorted(days) if (day, EVERY_DEVICE) in details]
    known_names.remember(session, account_id, fresh)


def check_zone(account_id: int) -> str:
    """The account's time zone; when the totals were counted in another, every day is stale."""
    zone = db.session.scalar(select(Account.timezone).where(Account.id == account_id)) or "UTC"
    if db.session.scalar(select(CountedZone.zone).where(CountedZone.account_id == account_id)) != zone:
        mark_all(account_id)
    return zone


def mark_all(account_id: int) -> int:
    """Marks every day that has, or may have, totals in the account's zone; how many."""
    with transaction() as session:
        zone = session.get_one(Account, account_id).timezone
        days = list_all_days(session, account_id, read_zone(zone))
        stale_days.mark_stale(session, account_id, days)
        session.merge(CountedZone(account_id=account_id, zone=zone))
    return len(days)


def list_all_days(session: Session, account_id: int, zone: ZoneInfo) -> set[date]:
    """The days from the first session to the last, and those that have totals or a mark now."""
    days: set[date] = set()
    for column in (DayTotal.day, StaleDay.day):
        days |= set(session.scalars(select(column).where(column.class_.account_id == account_id).distinct()))
    own = StoredSession.account_id == account_id
    first = session.scalar(select(func.min(StoredSession.started_ms)).where(own))
    if first is not None:
        last = session.scalars(select(func.max(StoredSession.started_ms)).where(own)).one() + LONG_MS
        longest = session.scalar(select(func.max(StoredSession.ended_ms)).where(own, IS_LONG)) or last
        days |= set(list_days(day_of(first, zone), day_of(max(last, longest), zone)))
    return days


def list_moved_accounts() -> list[int]:
    """The accounts whose totals were counted in another zone than theirs."""
    moved = select(CountedZone.account_id).join(Account, Account.id == CountedZone.account_id)
    return list(db.session.scalars(moved.where(Account.timezone != CountedZone.zone)))
