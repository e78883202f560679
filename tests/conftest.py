"""Fixtures for every test: a hub on a database of its own, three people, and clients that are signed in as them.

The database is SQLite, or PostgreSQL when TEST_DATABASE=postgresql (TEST_DATABASE_URL names a server, else a private
one starts).
"""

import dataclasses
import shutil
from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session
from flask.testing import FlaskClient
from flask_wtf.csrf import generate_csrf
from werkzeug.test import TestResponse

from tests import databases
from tests.valkey import run_valkey
from webapp import create_app
from webapp.config import Config, read_config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import create_account, sign_in


@pytest.fixture(scope="session")
def template_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[databases.Template]:
    """A migrated, empty database that each test copies."""
    with databases.make_template(tmp_path_factory.mktemp("database")) as template:
        yield template


@pytest.fixture
def config(tmp_path: Path, template_database: databases.Template) -> Iterator[Config]:
    """The configuration of a hub with a data directory and database of its own."""
    data_dir = tmp_path / "hub"
    with template_database.copy(tmp_path) as url:
        made = read_config({"MUSTER_DATA_DIR": str(data_dir), "DATABASE_URL": url, "REDIS_URL": "unix:///nowhere.sock"})
        yield dataclasses.replace(made, is_testing=True)
    shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture(scope="module")
def valkey() -> Iterator[str]:
    """The URL of a real Valkey."""
    with run_valkey() as url:
        yield url


class Browser(FlaskClient):
    """A client whose requests run as they do in the server: with an app context and a database session of their own."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        db.session.rollback()  # the test's own read transaction would keep the request's writes waiting
        return Context().run(super().open, *args, **({"buffered": True} | kwargs))


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    """The hub, inside its app context."""
    app = create_app(config)
    app.test_client_class = Browser
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def owner(app: Flask) -> Account:
    """The person whose hub this is (an admin)."""
    return create_account("owner", "correct horse battery", is_admin=True)


@pytest.fixture
def stranger(app: Flask) -> Account:
    """Somebody with an account on the same hub who must see nothing of the owner's."""
    return create_account("stranger", "another long password")


@pytest.fixture
def client_of(app: Flask) -> Callable[[Account | None], FlaskClient]:
    """A browser signed in as an account (or as nobody) with its CSRF token: `client_of(owner).post("/logout")`."""

    def csrf_pair() -> tuple[str, str]:
        with app.test_request_context():
            return generate_csrf(), session["csrf_token"]

    def make(account: Account | None = None) -> FlaskClient:
        client = app.test_client()
        sid = sign_in(account.id, user_agent="pytest", address="127.0.0.1") if account is not None else None
        signed, secret = Context().run(csrf_pair)
        with client.session_transaction() as browser:
            browser.update({"csrf_token": secret} | ({"sid": sid} if sid else {}))
        client.environ_base["HTTP_X_CSRFTOKEN"] = signed
        return client

    return make
