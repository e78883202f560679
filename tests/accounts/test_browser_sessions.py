"""Signed-in browsers: how long they live, and who may end them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account, BrowserSession

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"


@pytest.fixture
def time() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(datetime(2026, 3, 1, 9, tzinfo=UTC), tick=False) as coordinates:
        yield coordinates


def test_token_opens_its_account_and_is_not_stored(owner: Account) -> None:
    token = accounts.sign_in(owner.id, user_agent=FIREFOX, address="127.0.0.1")
    found = accounts.find_browser_session(token)
    assert found is not None
    assert found.account == owner
    assert found.title == "Firefox on Linux"
    assert token.encode() not in found.token_hash
    assert accounts.find_browser_session(token + "x") is None


def test_idle_session_ends_after_twelve_hours(owner: Account, time: time_machine.Traveller) -> None:
    token = accounts.sign_in(owner.id, user_agent="", address="")
    time.shift(timedelta(hours=11))
    assert accounts.find_browser_session(token) is not None
    time.shift(timedelta(hours=11))
    assert accounts.find_browser_session(token) is not None, "the use 11 hours ago should count"
    time.shift(timedelta(hours=12))
    assert accounts.find_browser_session(token) is None
    assert accounts.list_browser_sessions(owner.id) == []


def test_used_session_ends_after_seven_days(owner: Account, time: time_machine.Traveller) -> None:
    token = accounts.sign_in(owner.id, user_agent="", address="")
    for _ in range(16):
        time.shift(timedelta(hours=10))
        assert accounts.find_browser_session(token) is not None
    time.shift(timedelta(hours=10))
    assert accounts.find_browser_session(token) is None


def test_kept_session_may_rest_for_weeks(owner: Account, time: time_machine.Traveller) -> None:
    token = accounts.sign_in(owner.id, user_agent="", address="", is_kept=True)
    time.shift(timedelta(days=29))
    assert accounts.find_browser_session(token) is not None
    time.shift(timedelta(days=1))
    assert accounts.find_browser_session(token) is None


def test_use_is_noted_once_a_minute(owner: Account, time: time_machine.Traveller) -> None:
    token = accounts.sign_in(owner.id, user_agent="", address="")
    signed_in_at = datetime(2026, 3, 1, 9, tzinfo=UTC)
    time.shift(timedelta(seconds=59))
    first = accounts.find_browser_session(token)
    assert first is not None
    assert first.last_seen_at == signed_in_at
    time.shift(timedelta(seconds=2))
    second = accounts.find_browser_session(token)
    assert second is not None
    assert second.last_seen_at == signed_in_at + timedelta(seconds=61)


def test_expired_rows_are_swept_by_the_next_sign_in(owner: Account, time: time_machine.Traveller) -> None:
    accounts.sign_in(owner.id, user_agent="", address="")
    time.shift(timedelta(days=8))
    accounts.sign_in(owner.id, user_agent="", address="")
    assert db.session.query(BrowserSession).count() == 1


def test_sign_out_ends_only_that_browser(owner: Account) -> None:
    here, there = (accounts.sign_in(owner.id, user_agent="", address="") for _ in range(2))
    accounts.sign_out(here)
    assert accounts.find_browser_session(here) is None
    assert accounts.find_browser_session(there) is not None


def test_revoke_is_for_ones_own_browsers(owner: Account, stranger: Account) -> None:
    token = accounts.sign_in(owner.id, user_agent="", address="")
    found = accounts.find_browser_session(token)
    assert found is not None
    session_id = found.id
    with pytest.raises(NotFound):
        accounts.revoke_browser_session(stranger.id, session_id)
    accounts.revoke_browser_session(owner.id, session_id)
    assert accounts.find_browser_session(token) is None
    with pytest.raises(NotFound):
        accounts.revoke_browser_session(owner.id, session_id)


def test_list_shows_the_most_recent_first_and_nobody_elses(
    owner: Account, stranger: Account, time: time_machine.Traveller
) -> None:
    accounts.sign_in(stranger.id, user_agent="", address="")
    for address in ("first", "second"):
        accounts.sign_in(owner.id, user_agent="", address=address)
        time.shift(timedelta(minutes=1))
    assert [browser.address for browser in accounts.list_browser_sessions(owner.id)] == ["second", "first"]
