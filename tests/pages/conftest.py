"""The sample hub at a fixed hour, and its owner's browser."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests import databases
from tests.pages import fleet, sample, story
from webapp import create_app
from webapp.config import Config, read_config
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import create_account
from webapp.lib import clock

HTMX = {"HX-Request": "true"}


@pytest.fixture(scope="session")
def sample_database(
    template_database: databases.Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[databases.Template]:
    """A database with the sample in it, filled once and copied by each test."""
    folder = tmp_path_factory.mktemp("sample")
    with template_database.copy(folder) as url:
        app = create_app(read_config({"MUSTER_DATA_DIR": str(folder / "hub"), "DATABASE_URL": url}))
        with app.app_context(), pytest.MonkeyPatch.context() as patch:
            stop_clock(patch)
            sample.fill(create_account("owner", "correct horse battery", is_admin=True, timezone="Europe/Berlin").id)
            db.session.remove()
            db.engine.dispose()
        yield databases.Template(url)


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path, template_database: databases.Template) -> Iterator[Config]:
    """The configuration of a hub of its own: with the sample in it for a test that asks for `hub`, else empty."""
    is_filled = "hub" in request.fixturenames
    template = request.getfixturevalue("sample_database") if is_filled else template_database
    with template.copy(tmp_path) as url:
        made = read_config(
            {"MUSTER_DATA_DIR": str(tmp_path / "hub"), "DATABASE_URL": url, "REDIS_URL": "unix:///nowhere.sock"}
        )
        yield dataclasses.replace(made, is_testing=True)


def stop_clock(patch: pytest.MonkeyPatch) -> None:
    """Stops the hub's clock at the hour in which the story ends."""
    patch.setattr(clock, "utc_now", lambda: story.NOW)
    patch.setattr(clock, "now_ms", lambda: int(story.NOW.timestamp() * 1000))


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the hub's clock for one test."""
    stop_clock(monkeypatch)


@pytest.fixture
def hub(app: Flask, at_noon: None) -> Account:
    """The owner of three machines with five weeks of work."""
    return db.session.scalars(select(Account).where(Account.name == "owner")).one()


@pytest.fixture
def fleet_browser(app: Flask, at_noon: None, client_of: Callable[..., FlaskClient]) -> FlaskClient:
    """The browser of somebody with a machine in every state."""
    grace = create_account("grace", "correct horse battery", timezone="Europe/Berlin")
    fleet.fill(grace.id)
    client: FlaskClient = client_of(grace)
    return client


@pytest.fixture
def browser(hub: Account, client_of: Callable[..., FlaskClient]) -> FlaskClient:
    """The owner's browser."""
    client: FlaskClient = client_of(hub)
    return client


@pytest.fixture
def ask(browser: FlaskClient) -> Callable[..., TestResponse]:
    """What htmx would ask for: `ask("/", "overview-live")`."""

    def get(url: str, target: str, **headers: str) -> TestResponse:
        return browser.get(url, headers={**HTMX, "HX-Target": target, **headers})

    return get
