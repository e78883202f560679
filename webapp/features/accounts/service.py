"""Who may use the hub: accounts, and the one-time link with which the first visitor becomes the owner."""

import hmac
import os
import secrets

from sqlalchemy import exists, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from webapp.config import current_config
from webapp.database import transaction
from webapp.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.features.accounts.api_tokens import create_api_token, find_api_token, list_api_tokens, revoke_api_token
from webapp.features.accounts.browser_sessions import (
    find_browser_session,
    list_browser_sessions,
    revoke_browser_session,
    revoke_other_sessions,
    sign_in,
    sign_out,
)
from webapp.features.accounts.models import Account
from webapp.features.accounts.names import check_name, check_zone, known_zone, list_zones, normalise_name
from webapp.features.accounts.passwords import check_new_password, hash_password, is_password
from webapp.lib import clock

DEAD_LINK = "This set-up link is not valid any more. Start the hub again for a new one."


def has_accounts() -> bool:
    """Whether anybody has an account yet."""
    return bool(db.session.scalar(select(exists().where(Account.id.is_not(None)))))


def create_account(name: str, password: str, *, is_admin: bool = False, timezone: str | None = None) -> Account:
    """A new account; Invalid for a bad name, password or zone, Conflict if the name is taken."""
    made = _new_account(name, password, is_admin=is_admin, timezone=timezone)
    with transaction() as session:
        _add_account(session, made)
    return made


def create_owner(setup_token: str, name: str, password: str, timezone: str | None) -> Account:
    """The first account, an admin, for whoever holds the set-up link. NotFound once it is used."""
    made = _new_account(name, password, is_admin=True, timezone=timezone)
    with transaction() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("LOCK TABLE accounts IN EXCLUSIVE MODE"))  # SQLite's transaction is alone already
        if has_accounts() or not is_setup_token(setup_token):
            raise NotFound(DEAD_LINK, code="setup_link_used")
        _add_account(session, made)
    current_config().setup_link_path.unlink(missing_ok=True)
    return made


def ensure_setup_link() -> str | None:
    """The path that makes the first account (`/setup/...`, the same until it is used); None once somebody has one."""
    path = current_config().setup_link_path
    if has_accounts():
        path.unlink(missing_ok=True)
        return None
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(24))
    return f"/setup/{path.read_text().strip()}"


def is_setup_token(token: str) -> bool:
    """Whether `token` is the one of the set-up link."""
    path = current_config().setup_link_path
    expected = path.read_text().strip() if path.exists() else ""
    return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())


def get_account_by_name(name: str) -> Account:
    """The account called `name`."""
    account = _find_by_name(name)
    if account is None:
        raise NotFound(f"There is no account called {name}.")
    return account


def find_account_by_password(name: str, password: str) -> Account | None:
    """Whose name and password these are. Takes the same time whether or not the account exists."""
    account = _find_by_name(name)
    is_right = is_password(password, account.password_hash if account else None)
    return account if is_right else None


def reset_password(name: str, new: str) -> None:
    """Sets a password without knowing the old one (from the hub's own command line) and signs out every browser."""
    _set_password(get_account_by_name(name), new)


def change_password(account_id: int, old: str, new: str, *, keep_session_id: int | None = None) -> None:
    """Sets a new password and signs out every browser but the one asking."""
    account = db.session.get_one(Account, account_id)
    if not is_password(old, account.password_hash):
        raise Invalid("That is not your password now.", field="old_password")
    _set_password(account, new, keep_session_id=keep_session_id)


def set_timezone(account_id: int, zone: str) -> bool:
    """Makes `zone` the one in which the account's days are counted; whether that changed anything."""
    check_zone(zone)
    with transaction() as session:
        account = session.get_one(Account, account_id)
        is_change = account.timezone != zone
        account.timezone, account.is_timezone_chosen = zone, True
    return is_change


def adopt_timezone(account_id: int, zone: str) -> bool:
    """Takes over a browser's zone for an account that never chose one; whether that changed anything."""
    account = db.session.get_one(Account, account_id)
    return not account.is_timezone_chosen and known_zone(zone) is not None and set_timezone(account_id, zone)


def _new_account(name: str, password: str, *, is_admin: bool, timezone: str | None) -> Account:
    name = check_name(name)
    check_new_password(password, name)
    return Account(
        name=name,
        password_hash=hash_password(password),
        is_admin=is_admin,
        timezone=check_zone(timezone) if timezone else "UTC",
        is_timezone_chosen=timezone is not None,
        created_at=clock.utc_now(),
    )


def _set_password(account: Account, new: str, *, keep_session_id: int | None = None) -> None:
    check_new_password(new, account.name)
    account_id, password_hash = account.id, hash_password(new)
    with transaction() as session:
        session.get_one(Account, account_id).password_hash = password_hash
        revoke_other_sessions(session, account_id, keep_session_id)


def _add_account(session: Session, account: Account) -> None:
    name = account.name
    session.add(account)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(f"There is already an account called {name}.", code="name_taken") from error


def _find_by_name(name: str) -> Account | None:
    return db.session.scalar(select(Account).where(Account.name == normalise_name(name)))


__all__ = [
    "adopt_timezone",
    "change_password",
    "create_account",
    "create_api_token",
    "create_owner",
    "ensure_setup_link",
    "find_account_by_password",
    "find_api_token",
    "find_browser_session",
    "get_account_by_name",
    "has_accounts",
    "is_setup_token",
    "list_api_tokens",
    "list_browser_sessions",
    "list_zones",
    "reset_password",
    "revoke_api_token",
    "revoke_browser_session",
    "set_timezone",
    "sign_in",
    "sign_out",
]
