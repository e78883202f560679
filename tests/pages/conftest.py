"""The sample hub at a fixed hour, and its owner's browser."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.pages import sample, story
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import set_timezone
from webapp.lib import clock

HTMX = {"HX-Request": "true"}


@pytest.fixture
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the hub's clock at the hour in which the story ends."""
    monkeypatch.setattr(clock, "utc_now", lambda: story.NOW)
    monkeypatch.setattr(clock, "now_ms", lambda: int(story.NOW.timestamp() * 1000))


@pytest.fixture
def hub(app: Flask, at_noon: None, owner: Account) -> Account:
    """The owner of three machines with five weeks of work."""
    set_timezone(owner.id, "Europe/Berlin")
    sample.fill(owner.id)
    return owner


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
