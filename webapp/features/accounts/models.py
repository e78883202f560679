"""Accounts and what proves that somebody is one: browser sessions and API tokens, kept as keyed hashes."""

from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.database import UtcDateTime
from webapp.extensions import Model
from webapp.features.accounts.browser_names import describe_browser


class Account(Model):
    """A person. Everything in the hub hangs off the account that owns the device."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(256))
    is_admin: Mapped[bool] = mapped_column(default=False)
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    is_timezone_chosen: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    @property
    def is_authenticated(self) -> bool:
        """What templates ask of `current_user`, which may also be nobody."""
        return True


class BrowserSession(Model):
    """One signed-in browser; deleting the row signs it out within a request."""

    __tablename__ = "browser_sessions"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    is_kept: Mapped[bool] = mapped_column(default=False)
    user_agent: Mapped[str] = mapped_column(String(256), default="")
    address: Mapped[str] = mapped_column(String(64), default="")

    account: Mapped[Account] = relationship(lazy="joined")

    @property
    def title(self) -> str:
        """Which browser it is, in words."""
        return describe_browser(self.user_agent)

    def is_alive(self, now: datetime, idle_limit: timedelta) -> bool:
        """Whether the session still counts: not expired and, unless kept, not idle for longer than `idle_limit`."""
        return now < self.expires_at and (self.is_kept or now - self.last_seen_at < idle_limit)


class ApiToken(Model):
    """A key for scripts. Only its hash is kept; `prefix` lets its owner recognise it."""

    __tablename__ = "api_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    label: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(16))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    account: Mapped[Account] = relationship(lazy="joined")
