"""Signed-in browsers. The cookie holds a random token; the row is the session, so deleting it signs out."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from webapp.config import current_config
from webapp.database import transaction
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.features.accounts.models import BrowserSession
from webapp.features.accounts.names import printable
from webapp.lib import clock
from webapp.lib.secrets import keyed_hash, new_token

IDLE_LIMIT = timedelta(hours=12)
LIFE = timedelta(days=7)
KEPT_LIFE = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=1)


def sign_in(account_id: int, *, user_agent: str, address: str, is_kept: bool = False) -> str:
    """The token of a new session: 12 h idle and 7 days at most, or 30 days when the person asked to be kept."""
    token, now = new_token("mbs"), clock.utc_now()
    with transaction() as session:
        session.execute(delete(BrowserSession).where(BrowserSession.expires_at < now))
        session.add(
            BrowserSession(
                account_id=account_id,
                token_hash=_hash(token),
                created_at=now,
                last_seen_at=now,
                expires_at=now + (KEPT_LIFE if is_kept else LIFE),
                is_kept=is_kept,
                user_agent=printable(user_agent)[:256],
                address=address[:64],
            )
        )
    return token


def find_browser_session(token: str) -> BrowserSession | None:
    """The live session of `token`; None once it is expired, idle for too long, or revoked."""
    now = clock.utc_now()
    same = BrowserSession.token_hash == _hash(token)
    found = db.session.scalar(select(BrowserSession).where(same))
    if found is None or not found.is_alive(now, IDLE_LIMIT):
        return None
    if now - found.last_seen_at <= SEEN_EVERY:
        return found
    with transaction() as session:
        session.execute(update(BrowserSession).where(same).values(last_seen_at=now))
    return db.session.scalar(select(BrowserSession).where(same))


def sign_out(token: str) -> None:
    """Ends the session of `token`, if there is one."""
    with transaction() as session:
        session.execute(delete(BrowserSession).where(BrowserSession.token_hash == _hash(token)))


def list_browser_sessions(account_id: int) -> Sequence[BrowserSession]:
    """The account's live sessions, the most recently used first."""
    mine = select(BrowserSession).where(BrowserSession.account_id == account_id)
    found = db.session.scalars(mine.order_by(BrowserSession.last_seen_at.desc()))
    return [browser for browser in found if browser.is_alive(clock.utc_now(), IDLE_LIMIT)]


def revoke_browser_session(account_id: int, session_id: int) -> None:
    """Signs out one of the account's browsers."""
    mine = (BrowserSession.account_id == account_id, BrowserSession.id == session_id)
    with transaction() as session:
        if session.scalar(delete(BrowserSession).where(*mine).returning(BrowserSession.id)) is None:
            raise NotFound("That browser is not signed in any more.")


def revoke_other_sessions(session: Session, account_id: int, keep_session_id: int | None) -> None:
    """Signs out all of the account's browsers but one, in the caller's transaction."""
    others = (BrowserSession.account_id == account_id, BrowserSession.id != (keep_session_id or 0))
    session.execute(delete(BrowserSession).where(*others))


def _hash(token: str) -> bytes:
    return keyed_hash(current_config().hub_key, "browser-session", token)
