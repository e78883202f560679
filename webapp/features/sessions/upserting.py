"""INSERT ... ON CONFLICT for both databases, and the fast way to run one statement for many rows."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, String, any_, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from webapp.extensions import Model

Insert = sqlite.Insert
"""Stands for PostgreSQL's too, which has the same methods for what is used here."""
M = TypeVar("M", bound=Model)
NAMED = re.compile(r"%\((\w+)\)s")


def insert_into(session: Session, model: type[M]) -> Insert:
    """An INSERT into the table of `model` that can say what to do on conflict."""
    table = model.__table__
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)  # type: ignore[return-value, arg-type]
    return sqlite.insert(table)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Prepared:
    """A statement as the driver takes it, and the order of its parameters."""

    text: str
    names: Sequence[str]

    def execute(self, session: Session, rows: Sequence[dict[str, Any]]) -> None:
        """The driver's executemany: SQLAlchemy's own spends about as long on a row as the database does.

        Values are what the driver takes: numbers, text, bytes, booleans.
        """
        session.connection().exec_driver_sql(self.text, list(map(itemgetter(*self.names), rows)))


def prepare(session: Session, statement: Insert, columns: Sequence[str]) -> Prepared:
    """`statement` with a value for each of `columns` and no other parameter."""
    compiled = statement.compile(dialect=session.get_bind().dialect, column_keys=list(columns))
    names = getattr(compiled, "positiontup", None)
    if names is not None:
        return Prepared(str(compiled), tuple(names))
    # PostgreSQL's parameters have names, and looking each up costs psycopg more than taking them in order.
    text = str(compiled)
    return Prepared(NAMED.sub("%s", text), tuple(NAMED.findall(text)))


def is_one_of(session: Session, column: InstrumentedAttribute[str], values: Sequence[str]) -> ColumnElement[bool]:
    """`column IN values` with one parameter for all of them: a list of five hundred costs more to write than to run."""
    if session.get_bind().dialect.name == "postgresql":
        return column == any_(literal(list(values), postgresql.ARRAY(String)))
    listed = func.json_each(literal(json.dumps(list(values)))).table_valued("value")
    return column.in_(select(listed.c.value))
