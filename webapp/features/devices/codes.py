"""Pairing codes: six letters that live ten minutes, work once, and die of five wrong tries."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from collector import wire
from webapp.config import current_config
from webapp.database import transaction
from webapp.errors import NotFound
from webapp.extensions import db
from webapp.features.devices.models import PairingCode
from webapp.lib import clock
from webapp.lib.secrets import keyed_hash

LIFE = timedelta(minutes=10)
KEPT = timedelta(days=1)
MOST_OPEN = 3
MOST_WRONG_TRIES = 5


@dataclass(frozen=True)
class CodeStatus:
    """What became of a code."""

    status: Literal["waiting", "claimed", "expired"]
    device_id: str | None
    expires_at: datetime


def create_code(account_id: int) -> tuple[PairingCode, str]:
    """A new code and its text. At most three of an account are open: the oldest gives way."""
    now = clock.utc_now()
    with transaction() as session:
        stand_alone(session)
        session.execute(delete(PairingCode).where(PairingCode.expires_at < now - KEPT))
        _end_oldest(session, account_id, now)
        spelling = _new_spelling(session)
        hashed = hash_code(spelling)
        code = PairingCode(account_id=account_id, code_hash=hashed, created_at=now, expires_at=now + LIFE)
        session.add(code)
    return code, spelling


def find_code(account_id: int, code: str) -> CodeStatus:
    """What became of the account's code; NotFound if it has no such code, or had it more than a day ago."""
    mine = (PairingCode.account_id == account_id, PairingCode.code_hash == hash_code(code))
    found = db.session.scalar(select(PairingCode).where(*mine))
    if found is None:
        raise NotFound("There is no such code. Make a new one.")
    if found.claimed_at is not None:
        return CodeStatus("claimed", found.device_id, found.expires_at)
    is_dead = found.killed_at is not None or found.expires_at <= clock.utc_now()
    return CodeStatus("expired" if is_dead else "waiting", None, found.expires_at)


def hash_code(spelling: str) -> bytes:
    """What is stored in place of a code, however a person typed it."""
    return keyed_hash(current_config().hub_key, "pairing-code", wire.normalise_code(spelling))


def stand_alone(session: Session) -> None:
    """Makes creating and claiming codes wait for each other, as every write on SQLite does anyway."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE pairing_codes IN EXCLUSIVE MODE"))


def is_open(now: datetime) -> tuple[Any, ...]:
    """The conditions under which a code can be claimed."""
    return PairingCode.claimed_at.is_(None), PairingCode.killed_at.is_(None), PairingCode.expires_at > now


def count_wrong_try(session: Session, now: datetime) -> None:
    """A guess may have been meant for any open code, so it counts against each of them."""
    session.execute(update(PairingCode).where(*is_open(now)).values(wrong_tries=PairingCode.wrong_tries + 1))
    worn_out = (*is_open(now), PairingCode.wrong_tries >= MOST_WRONG_TRIES)
    session.execute(update(PairingCode).where(*worn_out).values(killed_at=now))


def last_killing(session: Session, now: datetime) -> datetime | None:
    """When guessing last killed a code, if that was within a code's life."""
    newest = select(PairingCode.killed_at).where(PairingCode.killed_at > now - LIFE)
    return session.scalar(newest.order_by(PairingCode.killed_at.desc()).limit(1))


def _new_spelling(session: Session) -> str:
    while True:
        spelling = "".join(secrets.choice(wire.CODE_ALPHABET) for _ in range(wire.CODE_LENGTH))
        if session.scalar(select(PairingCode.id).where(PairingCode.code_hash == hash_code(spelling))) is None:
            return spelling


def _end_oldest(session: Session, account_id: int, now: datetime) -> None:
    mine = select(PairingCode.id).where(PairingCode.account_id == account_id, *is_open(now))
    kept = session.scalars(mine.order_by(PairingCode.created_at.desc(), PairingCode.id.desc())).all()
    surplus = kept[MOST_OPEN - 1 :]
    session.execute(update(PairingCode).where(PairingCode.id.in_(surplus)).values(expires_at=now))
