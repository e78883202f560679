"""A migrated template database and cheap copies of it, on SQLite or PostgreSQL."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from flask import Flask
from flask_migrate import upgrade

from tests.postgresql import run_postgresql
from webapp import database, models  # noqa: F401  (fills the metadata)
from webapp.extensions import db, migrate

MIGRATIONS = Path(__file__).parent.parent / "migrations"


@dataclass(frozen=True)
class Template:
    """A database with the newest schema and no rows."""

    url: str

    @contextmanager
    def copy(self, directory: Path) -> Iterator[str]:
        """The URL of a fresh copy, gone afterwards."""
        if self.url.startswith("sqlite"):
            path = directory / "muster.db"
            shutil.copyfile(self.url.removeprefix("sqlite:///"), path)
            yield f"sqlite:///{path}"
        else:
            name = f"t_{uuid.uuid4().hex}"
            base = sa.make_url(self.url)
            _administer(self.url, f'CREATE DATABASE {name} TEMPLATE "{base.database}"')
            yield base.set(database=name).render_as_string(hide_password=False)
            _administer(self.url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def make_template(directory: Path) -> Iterator[Template]:
    """The template on the database that TEST_DATABASE asks for."""
    if os.environ.get("TEST_DATABASE", "sqlite") == "sqlite":
        yield _migrated(f"sqlite:///{directory / 'template.db'}")
        return
    with _postgresql_server() as server_url:
        name = f"template_{uuid.uuid4().hex}"
        _administer(server_url, f"CREATE DATABASE {name}")
        url = sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
        yield _migrated(url)
        _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def make_empty(directory: Path) -> Iterator[str]:
    """The URL of a database without any table, gone afterwards."""
    if os.environ.get("TEST_DATABASE", "sqlite") == "sqlite":
        yield f"sqlite:///{directory / 'empty.db'}"
        return
    with _postgresql_server() as url:
        yield url


def _migrated(url: str) -> Template:
    with bare_app(url).app_context():
        upgrade(directory=str(MIGRATIONS))
        db.engine.dispose()
    return Template(url)


def bare_app(url: str) -> Flask:
    """Just enough app to have a database; models that change need not wait for views that do not import yet."""
    app = Flask("webapp")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db.init_app(app)
    migrate.init_app(app, db)
    with app.app_context():
        database.attach(db.engine)
    return app


@contextmanager
def _postgresql_server() -> Iterator[str]:
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    with run_postgresql() as url:
        yield url


def _administer(url: str, statement: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()
