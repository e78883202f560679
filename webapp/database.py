"""How the hub talks to its database: reads that cannot write, and write transactions that never lose an update.

On SQLite a plain transaction that reads and then writes loses updates or fails with "database is locked". So every
write runs in `transaction()`, which begins IMMEDIATE, and every other one is `query_only`: a stray write fails at once.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, CursorResult, DateTime, Dialect, Engine, TypeDecorator, UpdateBase, event
from sqlalchemy.orm import Session

from webapp.extensions import db

BUSY_TIMEOUT_MS = 10_000
WRITES = {"writes": True}


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database; refuses a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@contextmanager
def transaction() -> Iterator[Session]:
    """One write transaction: commits at the end, rolls back on any error. Not to be nested.

    It starts by ending the read transaction that may be open, so what is read inside is what is true now.
    """
    session = db.session
    if session.info.get("in_transaction"):
        raise RuntimeError("transaction() inside transaction(): a use case commits once")
    session.rollback()
    session.info["in_transaction"] = True
    try:
        session.connection(execution_options=WRITES)
        yield session()
        session.commit()
    except BaseException:
        session.rollback()
        raise
    finally:
        session.info.pop("in_transaction", None)


def change(session: Session, statement: UpdateBase) -> int:
    """Runs an UPDATE or DELETE; how many rows it touched, which is what a compare-and-set goes by."""
    result = session.execute(statement)
    assert isinstance(result, CursorResult)
    return result.rowcount


def has_wal_reset_bug(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite can lose committed WAL writes when two processes checkpoint at once (3.7.0 to 3.51.2)."""
    return not (version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51, 0) or (3, 44, 6) <= version < (3, 45, 0))


def attach(engine: Engine) -> None:
    """Gives `engine` the rules above; a no-op for PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    version = sqlite3.sqlite_version_info
    journal = "DELETE" if has_wal_reset_bug(version) else "WAL"
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        f"journal_mode={journal}",
        "synchronous=FULL",
        "foreign_keys=ON",
        "secure_delete=ON",
        "temp_store=MEMORY",
        "cache_size=-32768",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    if writes:  # a read takes no BEGIN: left open, it would keep a shared lock that stops every writer
        connection.exec_driver_sql("BEGIN IMMEDIATE")
