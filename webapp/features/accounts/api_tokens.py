"""API tokens: keys for scripts, shown once and kept as keyed hashes."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Select, select, update

from webapp.config import current_config
from webapp.database import transaction
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.features.accounts.models import ApiToken
from webapp.features.accounts.names import check_label
from webapp.lib import clock
from webapp.lib.secrets import keyed_hash, new_token

PREFIX = "mat"
SHOWN_LENGTH = 10
USED_EVERY = timedelta(minutes=1)


def create_api_token(account_id: int, label: str) -> tuple[ApiToken, str]:
    """A new token and its text, which nobody can read again."""
    secret = new_token(PREFIX)
    made = ApiToken(
        account_id=account_id,
        label=check_label(label),
        prefix=secret[:SHOWN_LENGTH],
        token_hash=_hash(secret),
        created_at=clock.utc_now(),
    )
    with transaction() as session:
        session.add(made)
    return made, secret


def find_api_token(secret: str) -> ApiToken | None:
    """The live token with this text. Notes its use, once a minute at most."""
    if not secret.startswith(f"{PREFIX}_"):
        return None
    now = clock.utc_now()
    found = db.session.scalar(_live(secret))
    if found is None or (found.last_used_at is not None and now - found.last_used_at <= USED_EVERY):
        return found
    with transaction() as session:
        session.execute(update(ApiToken).where(ApiToken.id == found.id).values(last_used_at=now))
    return db.session.scalar(_live(secret))


def list_api_tokens(account_id: int) -> Sequence[ApiToken]:
    """The account's tokens that still open something, the newest first."""
    mine = select(ApiToken).where(ApiToken.account_id == account_id, ApiToken.revoked_at.is_(None))
    return db.session.scalars(mine.order_by(ApiToken.id.desc())).all()


def revoke_api_token(account_id: int, token_id: int) -> None:
    """Closes one of the account's tokens for good."""
    with transaction() as session:
        found = session.get(ApiToken, token_id)
        if found is None or found.account_id != account_id or found.revoked_at is not None:
            raise NotFound("There is no such token.")
        found.revoked_at = clock.utc_now()


def _live(secret: str) -> Select[ApiToken]:
    return select(ApiToken).where(ApiToken.token_hash == _hash(secret), ApiToken.revoked_at.is_(None))


def _hash(secret: str) -> bytes:
    return keyed_hash(current_config().hub_key, "api-token", secret)
