"""Stores parsed sessions of one device: upserts what is new, and marks the days whose totals that changes.

A session is newer when the device's change clock says so. Without that clock (`changed_ms` 0), and after a reset, it is
newer when its bytes differ. Absence deletes nothing.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, and_, bindparam, literal_column, or_, select, update
from sqlalchemy.orm import Session

from webapp.features.sessions import quarantine
from webapp.features.sessions.models import StoredSession
from webapp.features.sessions.parsing import Parsed, Row
from webapp.features.sessions.stale_days import find_days, mark_stale
from webapp.features.sessions.upserting import (
    Prepared,
    dialect_of,
    insert_into,
    is_one_of,
    list_values,
    prepare,
)
from webapp.lib.spans import Span

KEY = ("device_id", "id")
_upserts: dict[tuple[str, bool], Prepared] = {}


def store_parsed(
    session: Session,
    parsed: Parsed,
    *,
    device_id: str,
    account_id: int,
    zone: ZoneInfo,
    pull_id: int | None,
    generation: int = 0,
    is_reset: bool = False,
) -> int:
    """Stores the rows of `parsed`, in the caller's transaction; how many were new or changed."""
    old = read_old(session, device_id, parsed.rows, is_reset=is_reset)
    fresh = choose_fresh(parsed.rows, old, is_reset=is_reset)
    if fresh:
        for row in fresh:
            row.update(device_id=device_id, account_id=account_id, pull_id=pull_id, generation=generation)
        prepare_upsert(session, is_reset=is_reset).execute(session, fresh)
        mark_stale(session, account_id, find_days(_touched(fresh, old), zone))
        quarantine.clear(session, device_id, {row["id"] for row in fresh})
    if len(old) > len(fresh) or is_reset:
        renew_generation(session, device_id, old, fresh, generation)
    if parsed.rejected:
        quarantine.quarantine(session, device_id, parsed.rejected, pull_id)
    return len(fresh)


def renew_generation(
    session: Session, device_id: str, old: dict[str, Any], fresh: Sequence[Row], generation: int
) -> None:
    """What came again as it is here belongs to the collector's present database too. One statement, or none."""
    written = {row["id"] for row in fresh}
    again = [key for key, row in old.items() if row.generation != generation and key not in written]
    if again:
        of_device = update(StoredSession).where(StoredSession.device_id == device_id)
        wanted = of_device.where(is_one_of(dialect_of(session), StoredSession.id, "ids")).values(generation=generation)
        given = {"ids": list_values(dialect_of(session), again)}
        session.connection().execute(wanted, given)


def read_old(session: Session, device_id: str, rows: Sequence[Row], *, is_reset: bool) -> dict[str, Any]:
    """What is stored of the sessions in `rows`, by id: changed_ms, started_ms, ended_ms, the record where it counts."""
    dialect = dialect_of(session)
    wanted = make_read_old(dialect, with_record=is_reset or any(row["changed_ms"] == 0 for row in rows))
    given = {"of_device": device_id, "ids": list_values(dialect, [row["id"] for row in rows])}
    return {row.id: row for row in session.connection().execute(wanted, given).all()}


@cache
def make_read_old(dialect: str, *, with_record: bool) -> Select[Any]:
    """The statement of `read_old`."""
    columns: list[Any] = [StoredSession.id, StoredSession.changed_ms, StoredSession.started_ms, StoredSession.ended_ms]
    columns.append(StoredSession.generation)
    if with_record:
        columns.append(StoredSession.record)
    is_asked = is_one_of(dialect, StoredSession.id, "ids")
    return select(*columns).where(StoredSession.device_id == bindparam("of_device"), is_asked)


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


def prepare_upsert(session: Session, *, is_reset: bool) -> Prepared:
    """INSERT of sessions that replaces older versions. It asks again what `is_newer` asked, in the database."""
    kept = _upserts.get((dialect_of(session), is_reset))
    if kept is not None:
        return kept
    table = StoredSession.__table__
    insert = insert_into(session, StoredSession)
    new = insert.excluded
    is_other = new.record != table.c.record
    is_later = or_(new.changed_ms > table.c.changed_ms, and_(new.changed_ms == literal_column("0"), is_other))
    replaced = {column.name: new[column.name] for column in table.columns if column.name not in KEY}
    upsert = insert.on_conflict_do_update(index_elements=KEY, set_=replaced, where=is_other if is_reset else is_later)
    made = prepare(session, upsert, [column.name for column in table.columns])
    _upserts[dialect_of(session), is_reset] = made
    return made


def _touched(rows: Iterable[Row], old: dict[str, Any]) -> Iterable[Span]:
    """When the rows are, and when what they replace was."""
    for row in rows:
        yield row["started_ms"], row["ended_ms"]
        stored = old.get(row["id"])
        if stored is not None:
            yield stored.started_ms, stored.ended_ms
