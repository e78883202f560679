"""Which database errors pass by themselves, and what to tell people meanwhile."""

from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError, OperationalError

RETRY_SOON = {"Retry-After": "5"}


@dataclass(frozen=True)
class DatabaseTrouble:
    """What a database error means for whoever asked."""

    status: int
    code: str
    detail: str
    headers: dict[str, str] = field(default_factory=dict)


BUSY = DatabaseTrouble(503, "database_busy", "The database is busy. Try again in a few seconds.", RETRY_SOON)
AWAY = DatabaseTrouble(503, "database_away", "The database does not answer. Try again in a few seconds.", RETRY_SOON)
OLD = DatabaseTrouble(503, "database_upgrading", "The database is being upgraded. Try again in a minute.", RETRY_SOON)
FULL = DatabaseTrouble(507, "storage_full", "The hub's storage is full. Free some space on its disk.")

BY_WORDS = {
    "database is locked": BUSY,
    "database table is locked": BUSY,
    "deadlock detected": BUSY,
    "could not serialize access": BUSY,
    "lock timeout": BUSY,
    "no such table": OLD,
    "no such column": OLD,
    "database or disk is full": FULL,
    "no space left on device": FULL,
}


def describe_database_error(error: DBAPIError) -> DatabaseTrouble | None:
    """What `error` means; None when it is no passing trouble but a fault of the hub's own."""
    words = str(error.orig).lower()
    known = next((trouble for part, trouble in BY_WORDS.items() if part in words), None)
    if known is None and error.connection_invalidated:
        return AWAY
    if known is None and isinstance(error, OperationalError) and "connection" in words:
        return AWAY
    return known
