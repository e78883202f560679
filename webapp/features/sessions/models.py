"""Stored file sessions, the pulls that brought them, where each device's pull stands, and the totals per day.

Session times are integer milliseconds (`*_ms`): these tables are the hot path of ingest and of every chart.
"""

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, ForeignKey, Index, LargeBinary, String, Text, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from webapp.database import UtcDateTime
from webapp.extensions import Model

LONG_MS = 4 * 3_600_000
"""Sessions that last longer have an index of their own, so that a day finds those that began long before it."""
EVERY_DEVICE = ""
"""Stands for all devices together in `DayTotal.device_id`."""


class StoredSession(Model):
    """One file session of one device. `record` is the JSON as received; the columns are what queries need of it.

    `segments` is what `segments.pack` made of the credited time. `rank` says who is believed when sources differ.
    `generation` is the life of the collector's database in which it was last sent: below the device's
    `PullState.generation` the session is kept only here.
    """

    __tablename__ = "file_sessions"
    __table_args__ = (
        Index("ix_file_sessions_account_started", "account_id", "started_ms"),
        Index("ix_file_sessions_device_started", "device_id", "started_ms"),
        Index(
            "ix_file_sessions_long",
            "account_id",
            "ended_ms",
            sqlite_where=text(f"ended_ms - started_ms > {LONG_MS}"),
            postgresql_where=text(f"ended_ms - started_ms > {LONG_MS}"),
        ),
    )

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[int]
    changed_ms: Mapped[int] = mapped_column(BigInteger)
    started_ms: Mapped[int] = mapped_column(BigInteger)
    ended_ms: Mapped[int] = mapped_column(BigInteger)
    duration_seconds: Mapped[int]
    project: Mapped[str] = mapped_column(String(512))
    language: Mapped[str] = mapped_column(String(128))
    file_path: Mapped[str] = mapped_column(String(4096))
    is_active: Mapped[bool]
    is_deleted: Mapped[bool]
    is_agent: Mapped[bool]
    rank: Mapped[int]
    pull_id: Mapped[int | None]
    generation: Mapped[int] = mapped_column(default=0, server_default="0")
    segments: Mapped[bytes] = mapped_column(LargeBinary)
    record: Mapped[bytes] = mapped_column(LargeBinary)

    @property
    def kind(self) -> str:
        """`human`, or `agent` for time that is counted beside a person's."""
        return "agent" if self.is_agent else "human"


class PullState(Model):
    """Where the pull of one device stands: cursor, lease, back-off. One row per device, changed only by the puller.

    `is_resetting` holds from the page that said `reset` to the last page of that restart: until then the collector's
    rows replace ours unconditionally. `last_sync_time` is where a plain collector is asked to go on. `generation`
    counts the lives of the collector's database: each restart from its beginning opens another. `reached_ms` is the
    change time (the device's clock) up to which everything is here; `is_behind` says that there was more.

    `road` is what the last pull took. While it is not `direct`, `direct_*` say why not, since when, and when the hub
    tries it again. `leased_by` is the RQ worker whose lease it is, so that it can be let go when that worker dies.
    """

    __tablename__ = "pull_states"
    __table_args__ = (Index("ix_pull_states_due", "due_at"),)

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    cursor: Mapped[str | None] = mapped_column(String(512))
    epoch: Mapped[str | None] = mapped_column(String(128))
    last_sync_time: Mapped[str | None] = mapped_column(String(40))
    is_resetting: Mapped[bool] = mapped_column(default=False)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    failures: Mapped[int] = mapped_column(default=0)
    attempt: Mapped[int] = mapped_column(default=0)
    lease_expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_pulled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_tried_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    problem: Mapped[str | None] = mapped_column(String(32))
    problem_detail: Mapped[str | None] = mapped_column(String(500))
    problem_since_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    leased_by: Mapped[str | None] = mapped_column(String(100))
    generation: Mapped[int] = mapped_column(default=0, server_default="0")
    reached_ms: Mapped[int | None] = mapped_column(BigInteger)
    is_behind: Mapped[bool] = mapped_column(default=False, server_default=false())
    road: Mapped[str] = mapped_column(String(8), default="direct", server_default="direct")
    direct_failures: Mapped[int] = mapped_column(default=0, server_default="0")
    direct_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    direct_since_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    direct_problem: Mapped[str | None] = mapped_column(String(32))
    direct_detail: Mapped[str | None] = mapped_column(String(500))


class Pull(Model):
    """One run of health, export, store for one device. `direct_detail` says why it did not go the direct road."""

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
    direct_detail: Mapped[str | None] = mapped_column(String(500))


class Restart(Model):
    """A collector that began again from its beginning: `reinstalled` (a new database) or `restored` (an old copy).

    Nothing is deleted for it. `held` sessions were here when it began, `received` came, `kept` of those that were here
    did not come again and are kept only here. All three are final when `ended_at` is set.
    """

    __tablename__ = "restarts"
    __table_args__ = (Index("ix_restarts_device_began", "device_id", "began_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))
    generation: Mapped[int]
    began_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    held: Mapped[int] = mapped_column(default=0)
    received: Mapped[int] = mapped_column(default=0)
    kept: Mapped[int] = mapped_column(default=0)


class QuarantinedSession(Model):
    """A session that could not be accepted, kept with the reason so that it never blocks the others.

    It leaves when an acceptable version of the same session arrives, or when somebody dismisses it: then it stays as a
    row without its text, so that the same bytes do not come back. `changed_ms` and `started_ms` are there if they
    could be read: coverage counts it on that day. `judged_by` is the version of the hub whose rules refused it last.
    """

    __tablename__ = "quarantined_sessions"
    __table_args__ = (Index("ix_quarantined_sessions_device", "device_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"))
    session_id: Mapped[str | None] = mapped_column(String(64))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    reason: Mapped[str] = mapped_column(String(500))
    record: Mapped[str] = mapped_column(Text)
    pull_id: Mapped[int | None]
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    changed_ms: Mapped[int | None] = mapped_column(BigInteger)
    started_ms: Mapped[int | None] = mapped_column(BigInteger)
    is_whole: Mapped[bool] = mapped_column(default=True, server_default=true())
    dismissed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    judged_by: Mapped[str] = mapped_column(String(32), default="", server_default="")


class CoverageState(Model):
    """Where the proof of a device stands: in which zone its days were compared, when, and when next.

    `since_at` is when the collector's present database was made: before that it cannot say whether it ran.
    `reached_ms` is `PullState.reached_ms` at that check: if it has moved, there is something that nobody compared.
    `problem` is `unsupported` for a collector that cannot be asked, else a word of the failed call; `failures` of them
    in a row make the pause until the next try longer. A check at `due_at` begins at the day `due_from`, without one at
    the beginning. `hole_from` is the earliest open hole, `refill_due_at` the earliest next try of any.
    """

    __tablename__ = "coverage_states"

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    zone: Mapped[str] = mapped_column(String(64))
    since_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_all_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    reached_ms: Mapped[int | None] = mapped_column(BigInteger)
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    due_from: Mapped[date | None] = mapped_column(Date)
    hole_from: Mapped[date | None] = mapped_column(Date)
    refill_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    problem: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(String(500))
    failures: Mapped[int] = mapped_column(default=0, server_default="0")


class CoveredDay(Model):
    """What was proven of one local day of one device. `status` is `complete`, `off` or `hole`.

    `sessions` is what the collector has, `held` what is stored here of that, `quarantined` what came and could not be
    accepted, `kept` what is only here. A hole says why in `reason`, since when, and when the hub tries next.
    """

    __tablename__ = "covered_days"
    __table_args__ = (
        Index(
            "ix_covered_days_holes",
            "device_id",
            "hole_since_at",
            sqlite_where=text("status = 'hole'"),
            postgresql_where=text("status = 'hole'"),
        ),
        {"sqlite_with_rowid": False},
    )

    device_id: Mapped[str] = mapped_column(ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    status: Mapped[str] = mapped_column(String(8))
    sessions: Mapped[int] = mapped_column(default=0)
    held: Mapped[int] = mapped_column(default=0)
    quarantined: Mapped[int] = mapped_column(default=0)
    kept: Mapped[int] = mapped_column(default=0)
    ran_seconds: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None] = mapped_column(String(500))
    hole_since_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    refills: Mapped[int] = mapped_column(default=0)
    refill_due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_at: Mapped[datetime] = mapped_column(UtcDateTime)


class DayTotal(Model):
    """What one local day of an account adds up to, for one device or, under EVERY_DEVICE, for all.

    All devices together partition the union of their time, so that no instant counts twice; a device's own row
    partitions its own. `detail` is a `day_details.DayDetail`: shares by project and language, hours, devices.
    """

    __tablename__ = "day_totals"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    device_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    ms: Mapped[int] = mapped_column(BigInteger)
    agent_ms: Mapped[int] = mapped_column(BigInteger)
    detail: Mapped[bytes] = mapped_column(LargeBinary)


class StaleDay(Model):
    """A local day whose totals must be counted again, written in the transaction that changed its sessions.

    `stamp` changes with every such transaction, so that a count of what was read before it is not taken for the newest.
    """

    __tablename__ = "stale_days"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    stamp: Mapped[int] = mapped_column(BigInteger)


class CountedZone(Model):
    """The time zone in which an account's totals were counted; another one means counting all again."""

    __tablename__ = "counted_zones"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    zone: Mapped[str] = mapped_column(String(64))


class KnownName(Model):
    """A project or language that an account's sessions name, in the order in which they first came."""

    __tablename__ = "known_names"

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    name: Mapped[str] = mapped_column(String(512), primary_key=True)
    number: Mapped[int]
