"""The page that pairs a machine."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from collector import wire
from tests.pages import story
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import PairingCode
from webapp.lib import clock


def make_code(browser: FlaskClient) -> str:
    answer = browser.post("/pairing")
    assert answer.status_code == 303
    return answer.location.rsplit("/", 1)[-1]


def claim(code: str) -> None:
    request = wire.ClaimRequest(
        code=code, device_id="new-machine", name="garden-pi", platform="linux", version="0.1.0", port=8003
    )
    devices.claim_code(request, address="127.0.0.1")


def test_looking_makes_no_code(browser: FlaskClient) -> None:
    page = browser.get("/pairing").text
    assert "Make a pairing code" in page
    assert "stays on the machine" in page
    db.session.rollback()
    assert db.session.scalar(select(func.count(PairingCode.id))) == 0


def test_collectors_seen_nearby_are_offered_by_name_and_port(browser: FlaskClient) -> None:
    page = browser.get("/pairing").text
    assert 'href="http://127.0.0.1:8003"' in page
    assert "garden-pi" in page


def test_code_comes_with_its_command_and_its_end(browser: FlaskClient) -> None:
    code = make_code(browser)
    page = browser.get(f"/pairing/{code}").text
    assert re.fullmatch(f"[{wire.CODE_ALPHABET}]{{6}}", code)
    assert f".venv/bin/python -m collector pair http://localhost {code}" in page
    assert "valid until 16:52" in page
    assert 'hx-trigger="every 2s"' in page
    assert "<noscript>" in page


def test_claimed_code_becomes_the_machine_and_stops_polling(
    browser: FlaskClient, ask: Callable[..., TestResponse]
) -> None:
    code = make_code(browser)
    claim(code)
    partial = ask(f"/pairing/{code}", "pairing-code").text
    assert "Paired" in partial
    assert "garden-pi" in partial
    assert "hx-trigger" not in partial


def test_expired_code_offers_another(
    browser: FlaskClient, ask: Callable[..., TestResponse], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = make_code(browser)
    monkeypatch.setattr(clock, "utc_now", lambda: story.NOW + timedelta(minutes=10))
    partial = ask(f"/pairing/{code}", "pairing-code").text
    assert "Make another code" in partial
    assert "hx-trigger" not in partial


def test_strangers_code_is_not_found(browser: FlaskClient, stranger: Account, client_of: Callable) -> None:
    code = make_code(browser)
    assert client_of(stranger).get(f"/pairing/{code}").status_code == 404
