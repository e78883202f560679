"""INSERT ... ON CONFLICT for both databases. Rows are the second argument of `execute`: `.values(rows)` is slow."""

from typing import TypeVar

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from webapp.extensions import Model

Insert = sqlite.Insert | postgresql.Insert
M = TypeVar("M", bound=Model)


def insert_into(session: Session, model: type[M]) -> sqlite.Insert:
    """An INSERT into the table of `model` that can say what to do on conflict.

    Typed as SQLite's: PostgreSQL's has the same methods for what is used here.
    """
    table = model.__table__
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table)  # type: ignore[return-value, arg-type]
    return sqlite.insert(table)  # type: ignore[arg-type]
