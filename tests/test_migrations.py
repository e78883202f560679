"""The migrations give the schema of the models, from nothing and back, whole or not at all, whoever races."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic import op
from flask import Flask

from tests import databases
from tests.databases import MIGRATIONS, bare_app
from webapp import schema
from webapp.extensions import Model, db


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Flask]:
    """An app on a database without any table."""
    with databases.make_empty(tmp_path) as url:
        app = bare_app(url)
        with app.app_context():
            yield app
            db.session.remove()
            db.engine.dispose()


def tables() -> set[str]:
    """The names of the tables that there are."""
    return set(sa.inspect(db.engine).get_table_names())


def test_an_empty_database_becomes_what_the_models_say(empty: Flask) -> None:
    assert schema.current() is None
    assert schema.upgrade() is True
    assert schema.upgrade() is False
    assert tables() == {*Model.metadata.tables, "alembic_version"}
    flask_migrate.check(directory=str(MIGRATIONS))


def test_down_and_up_again_is_the_same(empty: Flask) -> None:
    schema.upgrade()
    flask_migrate.downgrade(directory=str(MIGRATIONS), revision="base")
    assert tables() == {"alembic_version"}
    schema.upgrade()
    flask_migrate.check(directory=str(MIGRATIONS))


def test_an_interrupted_upgrade_leaves_nothing_and_runs_again(empty: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    create = op.create_table
    made: list[str] = []

    def break_at_the_fifth(name: str, *columns: object, **options: object) -> object:
        made.append(name)
        if len(made) == 5:
            raise KeyboardInterrupt
        return create(name, *columns, **options)

    monkeypatch.setattr(op, "create_table", break_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        schema.upgrade()
    assert len(made) == 5 and tables() - {"alembic_version"} == set()
    monkeypatch.undo()
    schema.upgrade()
    flask_migrate.check(directory=str(MIGRATIONS))


def test_an_upgrade_that_orphans_rows_is_refused(empty: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    if db.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL checks foreign keys itself")
    create = op.create_table

    def with_an_orphan(name: str, *columns: object, **options: object) -> object:
        made = create(name, *columns, **options)
        if name == "job_events":
            op.execute(
                "INSERT INTO job_events (job_id, at, kind, attempt, message) VALUES ('x', '2026-01-01', 'k', 1, 'm')"
            )
        return made

    monkeypatch.setattr(op, "create_table", with_an_orphan)
    with pytest.raises(RuntimeError, match="1 rows without their parent"):
        schema.upgrade()
    assert "jobs" not in tables()


def test_four_processes_at_once_upgrade_once(empty: Flask) -> None:
    url = db.engine.url.render_as_string(hide_password=False)
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.map(upgrade_at, [url] * 4) == [schema.head()] * 4
    flask_migrate.check(directory=str(MIGRATIONS))


def test_a_worker_waits_for_the_schema(empty: Flask) -> None:
    assert schema.wait(0.1) is False
    schema.upgrade()
    assert schema.wait(0.1) is True


def test_foreign_keys_hold_after_an_upgrade(empty: Flask) -> None:
    schema.upgrade()
    with db.engine.connect() as plain:
        writer = plain.execution_options(writes=True)
        with pytest.raises(sa.exc.IntegrityError), writer.begin():
            writer.execute(sa.text("INSERT INTO stale_days (account_id, day) VALUES (99, '2026-01-01')"))


def upgrade_at(url: str) -> str | None:
    """Upgrades in a process of its own; the revision it finds then."""
    with bare_app(url).app_context():
        schema.upgrade()
        return schema.current()
