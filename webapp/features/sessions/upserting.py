"""INSERT ... ON CONFLICT for both databases, and the fast way to run one statement for many rows."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, String, any_, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from webapp.extensions import Model

Insert = sqlite.Insert
"""Stands for PostgreSQL's too, which has the same methods for what is used here."""
M = TypeVar("M", bound=Model)
NAMED = re.compile(r"%\((\w+)\)s")
COPY_ROWS = 100


def dialect_of(session: Session) -> str:
    """`sqlite` or `postgresql`: statements that run for every page are made once for each and kept."""
    return session.get_bind().dialect.name


def insert_into(session: Session, model: type[M]) -> Insert:
    """An INSERT into the table of `model` that can say what to do on conflict."""
    return make_insert(dialect_of(session), model)


def make_insert(dialect: str, model: type[M]) -> Insert:
    """The same for a dialect by name."""
    table = model.__table__
    if dialect == "postgresql":
        return postgresql.insert(table)  # type: ignore[return-value, arg-type]
    return sqlite.insert(table)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Prepared:
    """A statement as the driver takes it, and the order of its parameters. `table` is set where rows can be copied."""

    text: str
    names: Sequence[str]
    table: str | None = None

    def execute(self, session: Session, rows: Sequence[dict[str, Any]]) -> None:
        """The driver's executemany: SQLAlchemy's own spends about as long on a row as the database does.

        Values are what the driver takes: numbers, text, bytes, booleans.
        """
        values = map(itemgetter(*self.names), rows)
        if self.table is not None and len(rows) >= COPY_ROWS:
            self._copy(session, self.table, values)
        else:
            session.connection().exec_driver_sql(self.text, list(values))

    def _copy(self, session: Session, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """PostgreSQL takes many rows three times as fast by COPY; they are merged from a table of this connection."""
        columns, conflict = ", ".join(self.names), self.text[self.text.index(" ON CONFLICT ") :]
        incoming, driver = f"incoming_{table}", session.connection().connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor:
            cursor.execute(f"CREATE TEMP TABLE IF NOT EXISTS {incoming} (LIKE {table}) ON COMMIT DELETE ROWS")
            with cursor.copy(f"COPY {incoming} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            merged = f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {incoming}{conflict}"  # noqa: S608  (names)
            cursor.execute(merged)
            cursor.execute(f"DELETE FROM {incoming}")  # noqa: S608


def prepare(session: Session, statement: Insert, columns: Sequence[str]) -> Prepared:
    """`statement`, an upsert with a value for each of `columns` and no other parameter."""
    compiled = statement.compile(dialect=session.get_bind().dialect, column_keys=list(columns))
    names = getattr(compiled, "positiontup", None)
    if names is not None:
        return Prepared(str(compiled), tuple(names))
    # PostgreSQL's parameters have names, and looking each up costs psycopg more than taking them in order.
    text = str(compiled)
    return Prepared(NAMED.sub("%s", text), tuple(NAMED.findall(text)), statement.table.name)


def is_one_of(dialect: str, column: InstrumentedAttribute[str], parameter: str) -> ColumnElement[bool]:
    """`column IN` what `list_values` put into `parameter`: one parameter for all, so that the statement never changes.

    A list of five hundred costs more to write into a statement than to run.
    """
    if dialect == "postgresql":
        return column == any_(bindparam(parameter, type_=postgresql.ARRAY(String)))
    listed = func.json_each(bindparam(parameter, type_=String)).table_valued("value")
    return column.in_(select(listed.c.value))


def list_values(dialect: str, values: Sequence[str]) -> Sequence[str]:
    """The value of a parameter of `is_one_of`."""
    return values if dialect == "postgresql" else json.dumps(values)
