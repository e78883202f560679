"""Signing in and out, the set-up page, and the settings pages."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account

ClientOf = Callable[[Account | None], FlaskClient]
PASSWORD = "correct horse battery"
SIGN_IN = {"name": "owner", "password": PASSWORD}


def test_sign_in_by_the_form_alone(app: Flask, owner: Account) -> None:
    browser = app.test_client()
    page = browser.get("/login").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert token is not None
    answer = browser.post("/login", data=SIGN_IN | {"csrf_token": token[1], "timezone": "Europe/Berlin"})
    assert (answer.status_code, answer.location) == (303, "/")
    assert "owner" in browser.get("/settings").text
    assert owner.timezone == "Europe/Berlin"


def test_sign_in_needs_the_token_of_its_form(app: Flask, owner: Account) -> None:
    assert app.test_client().post("/login", data=SIGN_IN).status_code == 400


@pytest.mark.parametrize("typed", [{"name": "nobody"}, {"password": "wrong one"}, {"password": ""}, {"name": "\0"}])
def test_wrong_name_and_wrong_password_read_the_same(
    owner: Account, client_of: ClientOf, typed: dict[str, str]
) -> None:
    answer = client_of(None).post("/login", data=SIGN_IN | typed)
    assert answer.status_code == 422
    assert "The name or the password is wrong." in answer.text
    assert PASSWORD not in answer.text


def test_sign_in_gives_a_new_cookie_that_scripts_cannot_read(owner: Account, client_of: ClientOf) -> None:
    browser = client_of(None)
    before = browser.get_cookie("muster")
    cookie = browser.post("/login", data=SIGN_IN).headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Expires" not in cookie
    assert before is not None
    assert before.value not in cookie


def test_kept_session_outlives_the_browser(owner: Account, client_of: ClientOf) -> None:
    answer = client_of(None).post("/login", data=SIGN_IN | {"keep": "on"})
    assert "Expires" in answer.headers["Set-Cookie"]
    assert [browser.is_kept for browser in accounts.list_browser_sessions(owner.id)] == [True]


@pytest.mark.parametrize(
    ("target", "goes_to"),
    [
        ("/sessions?day=2026-03-01", "/sessions?day=2026-03-01"),
        *(
            (evil, "/")
            for evil in ("//evil", "/\\evil", "https://evil", "javascript:x", "/\t/evil", "evil", "/\n/evil")
        ),
    ],
)
def test_next_leads_only_to_this_hub(owner: Account, client_of: ClientOf, target: str, goes_to: str) -> None:
    browser = client_of(None)
    assert browser.post("/login", data=SIGN_IN | {"next": target}).location == goes_to
    assert browser.get("/login", query_string={"next": target}).location == goes_to, "when signed in already"


def test_tries_are_counted_by_name(app: Flask, owner: Account, client_of: ClientOf) -> None:
    for number in range(10):
        place = {"REMOTE_ADDR": f"10.0.0.{number}"}
        assert client_of(None).post("/login", data=SIGN_IN | {"password": "x"}, environ_base=place).status_code == 422
    answer = client_of(None).post("/login", data=SIGN_IN | {"name": "OWNER"}, environ_base={"REMOTE_ADDR": "10.0.1.1"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert "Too many tries" in answer.text


def test_tries_are_counted_by_address(owner: Account, client_of: ClientOf) -> None:
    for number in range(10):
        assert client_of(None).post("/login", data=SIGN_IN | {"name": f"guess{number}"}).status_code == 422
    assert client_of(None).post("/login", data=SIGN_IN).status_code == 429
    place = {"REMOTE_ADDR": "10.0.0.9"}
    assert client_of(None).post("/login", data=SIGN_IN, environ_base=place).status_code == 303


def test_sign_out_ends_the_session_on_the_server(owner: Account, client_of: ClientOf) -> None:
    browser = client_of(owner)
    cookie = browser.get_cookie("muster")
    assert cookie is not None
    answer = browser.post("/logout")
    assert (answer.status_code, answer.location) == (303, "/login")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    browser.set_cookie("muster", cookie.value)
    assert browser.get("/settings").status_code == 303, "the old cookie opens nothing"


def test_first_visitor_becomes_the_owner(app: Flask, client_of: ClientOf) -> None:
    link = accounts.ensure_setup_link()
    assert link is not None
    visitor, late = client_of(None), client_of(None)
    assert "has no owner yet" in visitor.get("/login").text
    assert visitor.get("/setup/guess").status_code == 404
    assert visitor.get(link).status_code == 200
    typed = {"name": "Ada", "password": PASSWORD, "password_again": PASSWORD, "timezone": "Asia/Tokyo"}
    assert visitor.post(link, data=typed).location == "/"
    assert "ada" in visitor.get("/settings").text
    owner = accounts.get_account_by_name("ada")
    assert (owner.is_admin, owner.timezone) == (True, "Asia/Tokyo")
    assert late.get(link).location == "/login"
    assert late.post(link, data=typed | {"name": "eve"}).status_code == 404


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"password_again": "something else"}, "The two passwords are not the same."),
        ({"password": "short", "password_again": "short"}, "at least 10 characters"),
        ({"name": "a b"}, "letters, digits"),
    ],
)
def test_setup_says_what_is_wrong(app: Flask, client_of: ClientOf, typed: dict[str, str], sentence: str) -> None:
    link = accounts.ensure_setup_link()
    assert link is not None
    answer = client_of(None).post(link, data={"name": "ada", "password": PASSWORD, "password_again": PASSWORD} | typed)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert PASSWORD not in answer.text
    assert not accounts.has_accounts()


def test_change_password_keeps_this_browser_and_ends_the_others(owner: Account, client_of: ClientOf) -> None:
    here, there = client_of(owner), client_of(owner)
    new = {"old_password": PASSWORD, "password": "a new long password", "password_again": "a new long password"}
    assert here.post("/settings/password", data=new | {"old_password": "x"}).status_code == 422
    assert there.get("/settings").status_code == 200
    assert here.post("/settings/password", data=new).location == "/settings"
    assert "Your password is changed" in here.get("/settings").text
    assert there.get("/settings").status_code == 303


def test_change_timezone(owner: Account, client_of: ClientOf) -> None:
    browser = client_of(owner)
    assert browser.post("/settings/timezone", data={"timezone": "Mars/Olympus"}).status_code == 422
    assert browser.post("/settings/timezone", data={"timezone": "Asia/Tokyo"}).location == "/settings"
    assert "<option selected>Asia/Tokyo</option>" in browser.get("/settings").text


def test_another_browser_can_be_signed_out_but_not_a_strangers(
    owner: Account, stranger: Account, client_of: ClientOf
) -> None:
    here, there = client_of(owner), client_of(owner)
    latest = max(browser.id for browser in accounts.list_browser_sessions(owner.id))
    assert client_of(stranger).post(f"/settings/browsers/{latest}/revoke").status_code == 404
    assert there.get("/settings").status_code == 200
    assert here.post(f"/settings/browsers/{latest}/revoke").location == "/settings"
    assert there.get("/settings").status_code == 303


def test_token_is_shown_once(owner: Account, client_of: ClientOf) -> None:
    browser = client_of(owner)
    answer = browser.post("/settings/tokens", data={"label": "<status line>"})
    assert answer.status_code == 201
    secret = re.search(r"mat_[\w-]{40,}", answer.text)
    assert secret is not None
    found = accounts.find_api_token(secret[0])
    assert found is not None
    assert found.account == owner
    page = browser.get("/settings/tokens").text
    assert secret[0] not in page
    assert "&lt;status line&gt;" in page


def test_token_is_revoked_by_its_owner_only(owner: Account, stranger: Account, client_of: ClientOf) -> None:
    made, secret = accounts.create_api_token(owner.id, "script")
    url = f"/settings/tokens/{made.id}/revoke"
    assert client_of(stranger).post(url).status_code == 404
    assert accounts.find_api_token(secret) is not None
    assert client_of(owner).post(url).location == "/settings/tokens"
    assert accounts.find_api_token(secret) is None


def test_token_cannot_make_another(app: Flask, owner: Account) -> None:
    headers = {"Authorization": f"Bearer {accounts.create_api_token(owner.id, 'script')[1]}"}
    answer = app.test_client().post("/settings/tokens", data={"label": "more"}, headers=headers)
    assert answer.status_code == 403
    assert len(accounts.list_api_tokens(owner.id)) == 1
