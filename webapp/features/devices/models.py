"""Devices, the links that pairing made, pairing codes, and collectors seen nearby."""

import secrets
import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column, relationship

from webapp.database import UtcDateTime
from webapp.extensions import Model


def new_settings_epoch() -> str:
    """What tells one history of settings versions from another; it changes when a device is paired anew."""
    return secrets.token_hex(8)


class Device(Model):
    """The hub's record of one paired collector. `id` is the collector's own id, or one that the hub gave it."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(16), default="collector")
    platform: Mapped[str] = mapped_column(String(64), default="")
    version: Mapped[str] = mapped_column(String(32), default="")
    host: Mapped[str | None] = mapped_column(String(64))
    port: Mapped[int | None]
    endpoint_url: Mapped[str | None] = mapped_column(String(128))
    endpoint_proven_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_identity_doubtful: Mapped[bool] = mapped_column(default=False)
    settings_version: Mapped[int] = mapped_column(default=1)
    settings_epoch: Mapped[str] = mapped_column(String(32), default=new_settings_epoch)
    applied_version: Mapped[int] = mapped_column(default=0)
    apply_state: Mapped[str] = mapped_column(String(16), default="")
    apply_error: Mapped[str | None] = mapped_column(String(2000))
    reported_status: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    reported_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    watched_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    clock_skew_ms: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    paired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    unpaired_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def is_paired(self) -> bool:
        """Whether a collector still holds a link to this record."""
        return self.kind == "collector" and self.paired_at is not None and self.unpaired_at is None


class Link(Model):
    """The credentials that one pairing made. The token is kept as a keyed hash; the pull secret is derived from the
    hub's key, `id` and `salt`, so the database alone opens nothing.

    A revoked link outlives its device (`device` is then None), so that the collector is told to forget it.
    """

    __tablename__ = "links"

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="SET NULL"), index=True, nullable=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    salt: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    device: Mapped[Device] = relationship(lazy="joined")


class PairingCode(Model):
    """A code that one person made to pair one machine: ten minutes, one use, killed by five wrong tries.

    `claimed_by` is the id that the collector sent; `device_id` is the device that came of it.
    """

    __tablename__ = "pairing_codes"

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), index=True)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    wrong_tries: Mapped[int] = mapped_column(default=0)
    killed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    claimed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    claimed_by: Mapped[str | None] = mapped_column(String(64))
    device_id: Mapped[str | None] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    link_id: Mapped[uuid.UUID | None] = mapped_column(Uuid)


class Sighting(Model):
    """A collector that discovery saw on this machine or its configured hosts; a claim, proven only by pairing."""

    __tablename__ = "sightings"

    url: Mapped[str] = mapped_column(String(128), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200), default="")
    version: Mapped[str] = mapped_column(String(32), default="")
    is_paired: Mapped[bool] = mapped_column(default=False)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class RelayedCall(Model):
    """A request of a worker that waits for a device's next poll, and then the answer that the device sent.

    Whoever asked deletes the row when it has read the answer; after `expires_at` nobody waits for it any more.
    """

    __tablename__ = "relayed_calls"
    __table_args__ = (Index("ix_relayed_calls_device", "device_id"),)

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=uuid.uuid4)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    op: Mapped[str] = mapped_column(String(32))
    args: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    answered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answer: Mapped[bytes | None] = mapped_column(LargeBinary)
