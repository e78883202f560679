"""Runs the revisions on the app's database: all of them in one transaction, one process at a time.

An interrupted upgrade leaves the old schema. SQLite's batch mode copies and drops tables, so foreign keys are off
meanwhile (a drop would cascade) and are checked before the commit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import context
from alembic.operations.ops import MigrationScript
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import Connection, text

from webapp import models  # noqa: F401  (fills the metadata)
from webapp.database import WRITES, UtcDateTime
from webapp.extensions import Model, db

ONE_AT_A_TIME = 7_041_914_302
"""Key of the PostgreSQL lock that makes a second upgrade wait; on SQLite BEGIN IMMEDIATE does that."""


def render_item(kind: str, item: object, _autogen_context: object) -> str | bool:
    """Revisions name SQLAlchemy's types only, so that they run whatever becomes of ours."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def number_revision(_context: object, _revision: object, directives: list[MigrationScript]) -> None:
    """Numbers a new revision after the newest one; `flask db migrate` makes none when the models have not changed."""
    (made,) = directives
    made.rev_id = f"{int(ScriptDirectory.from_config(context.config).get_current_head() or 0) + 1:04}"
    is_compared = getattr(context.config.cmd_opts, "autogenerate", False)
    if is_compared and made.upgrade_ops is not None and made.upgrade_ops.is_empty():
        directives.clear()


@contextmanager
def foreign_keys_off(connection: Connection) -> Iterator[None]:
    """SQLite ignores this pragma inside a transaction, hence around it, on the driver's connection."""
    if connection.dialect.name != "sqlite":
        yield
        return
    driver = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def check_foreign_keys(connection: Connection) -> None:
    """Refuses (and so rolls back) an upgrade that would leave rows without their parent."""
    if connection.dialect.name == "sqlite":
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
        if orphans:
            raise RuntimeError(f"the upgrade would leave {len(orphans)} rows without their parent: {orphans[:5]}")


def migrate(connection: Connection) -> None:
    """Brings the schema to the revision that the command asks for."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
    context.configure(
        connection=connection,
        target_metadata=Model.metadata,
        transactional_ddl=True,
        render_item=render_item,
        process_revision_directives=number_revision,
        **current_app.extensions["migrate"].configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()
    check_foreign_keys(connection)


with db.engine.connect() as plain:
    writer = plain.execution_options(**WRITES)
    with foreign_keys_off(writer), writer.begin():
        migrate(writer)
