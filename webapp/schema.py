"""The database's schema: upgraded by the hub before it serves, awaited by the worker."""

import logging
import time
from pathlib import Path

from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from webapp.extensions import db, migrate

MIGRATIONS = Path(__file__).parent.parent / "migrations"
WAIT_SECONDS = 60.0

log = logging.getLogger(__name__)


def head() -> str | None:
    """The newest revision that this program knows."""
    return ScriptDirectory.from_config(migrate.get_config(str(MIGRATIONS))).get_current_head()


def current() -> str | None:
    """The revision that the database has; None for an empty one."""
    with db.engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade() -> bool:
    """Brings the database to the newest revision, one process at a time (migrations/env.py); False if it was there."""
    if current() == head():
        return False
    command.upgrade(migrate.get_config(str(MIGRATIONS)), "head")
    return True


def wait(seconds: float = WAIT_SECONDS) -> bool:
    """Waits until the hub has upgraded the database; False if that does not happen in time."""
    deadline = time.monotonic() + seconds
    while current() != head():
        if time.monotonic() > deadline:
            return False
        log.info("waiting for the hub to upgrade the database")
        time.sleep(0.5)
    return True
