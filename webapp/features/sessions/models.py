"""Stored file sessions, the pulls that brought them, where each device's pull stands, and the totals per day.

Session times are integer milliseconds (`*_ms`): these tables are the hot path of ingest and of every chart.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database import UtcDateTime
from webapp.extensions import Model


class StoredSession(Model):
    """One file session of one device. `record` is the JSON as received; the columns are what queries need of it."""

    __tablename__ = "file_sessions"
    __table_args__ = (
        Index("ix_file_sessions_started", "started_ms"),
        Index("ix_file_sessions_device_started", "device_id", "started_ms"),
        {"sqlite_with_rowid": False},
    )

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    changed_ms: Mapped[int] = mapped_column(BigInteger)
    started_ms: Mapped[int] = mapped_column(BigInteger)
    ended_ms: Mapped[int] = mapped_column(BigInteger)
    duration_seconds: Mapped[int]
    project: Mapped[str] = mapped_column(String(512))
    language: Mapped[str] = mapped_column(String(128))
    file_path: Mapped[str] = mapped_column(String(4096))
    is_active: Mapped[bool]
    is_deleted: Mapped[bool]
    rank: Mapped[int]
    segments: Mapped[bytes] = mapped_column(LargeBinary)
    record: Mapped[bytes] = mapped_column(LargeBinary)
    pull_id: Mapped[int | None]


class PullState(Model):
    """Where the pull of one device stands: cursor, lease, back-off. One row per device, changed only by the puller."""

    __tablename__ = "pull_states"
    __table_args__ = (Index("ix_pull_states_due", "due_at"),)

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    cursor: Mapped[str | None] = mapped_column(String(512))
    epoch: Mapped[str | None] = mapped_column(String(128))
    last_sync_time: Mapped[str | None] = mapped_column(String(40))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_pulled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    problem: Mapped[str | None] = mapped_column(String(32))
    problem_detail: Mapped[str | None] = mapped_column(String(500))
    problem_since_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class Pull(Model):
    """One run of health, export, store for one device."""

    __tablename__ = "pulls"
    __table_args__ = (Index("ix_pulls_device_started", "device_id", "started_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    job_id: Mapped[str | None] = mapped_column(String(36))
    road: Mapped[str] = mapped_column(String(8), default="direct")
    status: Mapped[str] = mapped_column(String(16), default="running")
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pages: Mapped[int] = mapped_column(default=0)
    rows: Mapped[int] = mapped_column(default=0)
    changed_rows: Mapped[int] = mapped_column(default=0)
    milliseconds: Mapped[int] = mapped_column(default=0)
    problem: Mapped[str | None] = mapped_column(String(32))
    error: Mapped[str | None] = mapped_column(String(500))


class QuarantinedSession(Model):
    """A session that could not be accepted, kept with the reason so that it never blocks the others."""

    __tablename__ = "quarantined_sessions"
    __table_args__ = (Index("ix_quarantined_sessions_device", "device_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    reason: Mapped[str] = mapped_column(String(500))
    record: Mapped[str] = mapped_column(Text)
    pull_id: Mapped[int | None]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DailyTotal(Model):
    """Credited milliseconds of one local day of an account, by device, project, language and kind.

    `ms` partitions the union over all devices (sums never count an instant twice); `device_ms` partitions the device's own.
    """

    __tablename__ = "daily_totals"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    project: Mapped[str] = mapped_column(String(512), primary_key=True)
    language: Mapped[str] = mapped_column(String(128), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    ms: Mapped[int] = mapped_column(BigInteger)
    device_ms: Mapped[int] = mapped_column(BigInteger)


class HourlyTotal(Model):
    """The same by local hour (0 to 23), without project and language: the picture of when."""

    __tablename__ = "hourly_totals"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    hour: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    ms: Mapped[int] = mapped_column(BigInteger)
    device_ms: Mapped[int] = mapped_column(BigInteger)


class StaleDay(Model):
    """A local day whose totals must be counted again, written in the transaction that changed its sessions."""

    __tablename__ = "stale_days"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
