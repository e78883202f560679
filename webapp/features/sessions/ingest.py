"""Stores parsed sessions of one device: upserts what is new, and marks the days whose totals that changes.

A session is newer when the device's change clock says so. Without that clock (`changed_ms` 0), and after a reset, it is
newer when its bytes differ. Absence deletes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from webapp.features.sessions import quarantine
from webapp.features.sessions.models import StoredSession
from webapp.features.sessions.parsing import Parsed, Row
from webapp.features.sessions.stale_days import find_days, mark_stale
from webapp.features.sessions.upserting import insert_into
from webapp.lib.spans import Span

IDS_PER_QUERY = 500
KEY = ("device_id", "id")


def store_parsed(
    session: Session,
    parsed: Parsed,
    *,
    device_id: str,
    account_id: int,
    zone: ZoneInfo,
    pull_id: int | None,
    is_reset: bool = False,
) -> int:
    """Stores the rows of `parsed`, in the caller's transaction; how many were new or changed."""
    old = read_old(session, device_id, parsed.rows)
    fresh = choose_fresh(parsed.rows, old, is_reset=is_reset)
    if fresh:
        mine = {"device_id": device_id, "account_id": account_id, "pull_id": pull_id}
        upsert(session, [{**row, **mine} for row in fresh], is_reset=is_reset)
        mark_stale(session, account_id, find_days(_touched(fresh, old), zone))
        quarantine.clear(session, device_id, {row["id"] for row in fresh})
    if parsed.rejected:
        quarantine.quarantine(session, device_id, parsed.rejected, pull_id)
    return len(fresh)


def read_old(session: Session, device_id: str, rows: Sequence[Row]) -> dict[str, Any]:
    """What is stored of the sessions in `rows`, by id: changed_ms, started_ms, ended_ms, and the record."""
    ids = [row["id"] for row in rows]
    columns = (StoredSession.id, StoredSession.changed_ms, StoredSession.started_ms, StoredSession.ended_ms)
    wanted = select(*columns, StoredSession.record).where(StoredSession.device_id == device_id)
    old: dict[str, Any] = {}
    for first in range(0, len(ids), IDS_PER_QUERY):
        found = session.connection().execute(wanted.where(StoredSession.id.in_(ids[first : first + IDS_PER_QUERY])))
        old |= {row.id: row for row in found}
    return old


def choose_fresh(rows: Iterable[Row], old: dict[str, Any], *, is_reset: bool) -> list[Row]:
    """The rows that are newer than what is stored, each session once: its newest version."""
    chosen: dict[str, Row] = {}
    for row in rows:
        known = chosen.get(row["id"])
        if known is not None and 0 < row["changed_ms"] <= known["changed_ms"] and not is_reset:
            continue
        stored = old.get(row["id"])
        if stored is None or is_newer(row, stored, is_reset=is_reset):
            chosen[row["id"]] = row
        else:
            chosen.pop(row["id"], None)
    return list(chosen.values())


def is_newer(row: Row, stored: Any, *, is_reset: bool) -> bool:
    """Whether `row` replaces what is `stored`."""
    if is_reset or row["changed_ms"] == 0:
        return bool(row["record"] != stored.record)
    return bool(row["changed_ms"] > stored.changed_ms)


def upsert(session: Session, rows: Sequence[Row], *, is_reset: bool) -> None:
    """One statement for all rows. It asks again what `is_newer` asked, in case another writer came between."""
    table = StoredSession.__table__
    insert = insert_into(session, StoredSession)
    new = insert.excluded
    is_other = new.record != table.c.record
    is_later = or_(new.changed_ms > table.c.changed_ms, and_(new.changed_ms == 0, is_other))
    replaced = {column.name: new[column.name] for column in table.columns if column.name not in KEY}
    statement = insert.on_conflict_do_update(
        index_elements=KEY, set_=replaced, where=is_other if is_reset else is_later
    )
    session.connection().execute(statement, rows)


def _touched(rows: Iterable[Row], old: dict[str, Any]) -> Iterable[Span]:
    """When the rows are, and when what they replace was."""
    for row in rows:
        yield row["started_ms"], row["ended_ms"]
        stored = old.get(row["id"])
        if stored is not None:
            yield stored.started_ms, stored.ended_ms
