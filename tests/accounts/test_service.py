"""Accounts: making them, the set-up link, passwords, zones."""

import stat
import threading

import pytest
from flask import Flask

from webapp.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account

PASSWORD = "correct horse battery"


def setup_token(app: Flask) -> str:
    link = accounts.ensure_setup_link()
    assert link is not None
    return link.removeprefix("/setup/")


def test_name_is_one_person_however_it_is_typed(app: Flask) -> None:
    made = accounts.create_account("  Ada.L ", PASSWORD)
    assert made.name == "ada.l"
    assert accounts.find_account_by_password("ADA.l", PASSWORD) == made
    with pytest.raises(Conflict):
        accounts.create_account("ADA.L", PASSWORD)


@pytest.mark.parametrize("name", ["", "  ", "a" * 65, "a b", "a/b", "<b>"])
def test_name_that_cannot_be_is_refused(app: Flask, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        accounts.create_account(name, PASSWORD)
    assert caught.value.field == "name"


@pytest.mark.parametrize("password", ["", "nine char", "x" * 201, "aaaaaaaaaaaa", "administrator"])
def test_weak_password_is_refused(app: Flask, password: str) -> None:
    with pytest.raises(Invalid) as caught:
        accounts.create_account("administrator", password)
    assert caught.value.field == "password"
    assert not accounts.has_accounts()


def test_password_is_stored_as_argon2_hash(owner: Account) -> None:
    assert owner.password_hash.startswith("$argon2id$")
    assert PASSWORD not in owner.password_hash


def test_password_opens_only_its_own_account(owner: Account, stranger: Account) -> None:
    assert accounts.find_account_by_password("owner", PASSWORD) == owner
    assert accounts.find_account_by_password("stranger", PASSWORD) is None
    assert accounts.find_account_by_password("nobody", PASSWORD) is None
    assert accounts.find_account_by_password("owner\0", "") is None


def test_password_counts_the_same_however_it_is_composed(app: Flask) -> None:
    made = accounts.create_account("uwe", "gro\u00dfe b\u00fcffel")
    assert accounts.find_account_by_password("uwe", "gro\u00dfe bu\u0308ffel") == made


def test_change_password_signs_out_every_other_browser(owner: Account) -> None:
    here = accounts.sign_in(owner.id, user_agent="", address="")
    there = accounts.sign_in(owner.id, user_agent="", address="")
    kept = accounts.find_browser_session(here)
    assert kept is not None
    accounts.change_password(owner.id, PASSWORD, "a new long password", keep_session_id=kept.id)
    assert accounts.find_browser_session(here) is not None
    assert accounts.find_browser_session(there) is None
    assert accounts.find_account_by_password("owner", "a new long password") == owner


def test_change_password_needs_the_old_one(owner: Account) -> None:
    with pytest.raises(Invalid) as caught:
        accounts.change_password(owner.id, "not the password", "a new long password")
    assert caught.value.field == "old_password"
    assert accounts.find_account_by_password("owner", PASSWORD) == owner


def test_setup_link_stays_the_same_and_private_until_it_is_used(app: Flask) -> None:
    path = app.extensions["muster"].setup_link_path
    token = setup_token(app)
    assert setup_token(app) == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = accounts.create_owner(token, "ada", PASSWORD, "Europe/Berlin")
    assert (made.is_admin, made.timezone) == (True, "Europe/Berlin")
    assert not path.exists()
    assert accounts.ensure_setup_link() is None


def test_setup_link_works_once(app: Flask) -> None:
    token = setup_token(app)
    accounts.create_owner(token, "ada", PASSWORD, None)
    with pytest.raises(NotFound):
        accounts.create_owner(token, "eve", PASSWORD, None)


@pytest.mark.parametrize("token", ["", "guess", "\u2603"])
def test_wrong_setup_token_makes_nobody(app: Flask, token: str) -> None:
    setup_token(app)
    with pytest.raises(NotFound):
        accounts.create_owner(token, "eve", PASSWORD, None)
    assert not accounts.has_accounts()


def test_two_racing_visitors_make_one_owner(app: Flask) -> None:
    token = setup_token(app)
    db.session.rollback()
    start = threading.Barrier(4)
    outcomes: list[str] = []

    def visit(name: str) -> None:
        with app.app_context():
            start.wait()
            try:
                accounts.create_owner(token, name, PASSWORD, None)
                outcomes.append("made")
            except NotFound:
                outcomes.append("refused")

    visitors = [threading.Thread(target=visit, args=(name,)) for name in ("ada", "eve", "bob", "kim")]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join()
    assert sorted(outcomes) == ["made", "refused", "refused", "refused"]
    assert db.session.query(Account).count() == 1


def test_zone_of_a_browser_is_taken_over_once(owner: Account) -> None:
    assert accounts.adopt_timezone(owner.id, "Mars/Olympus") is False
    assert accounts.adopt_timezone(owner.id, "Asia/Tokyo") is True
    assert accounts.adopt_timezone(owner.id, "Europe/Berlin") is False
    assert owner.timezone == "Asia/Tokyo"


def test_zone_that_does_not_exist_is_refused(owner: Account) -> None:
    with pytest.raises(Invalid):
        accounts.set_timezone(owner.id, "Mars/Olympus")
    assert accounts.set_timezone(owner.id, "UTC") is False
    assert accounts.set_timezone(owner.id, "Europe/Berlin") is True


def test_zones_on_offer_are_all_usable() -> None:
    zones = accounts.list_zones()
    assert zones[0] == "UTC"
    assert {"Europe/Berlin", "America/New_York", "Asia/Kathmandu"} <= set(zones)
    assert all(len(zone) <= 64 for zone in zones)
