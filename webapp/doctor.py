"""`flask --app app doctor`: what is wrong with this hub, in sentences that say what to do."""

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import redis
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError

from webapp import queue, schema
from webapp.config import Config, current_config
from webapp.database import has_wal_reset_bug
from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.jobs.service import list_processes
from webapp.lib import clock

GIBIBYTE = 1024**3
SKEW_SECONDS = 30
DEVICE_SKEW_MS = 120_000


@dataclass(frozen=True)
class Finding:
    """One sentence; `is_wrong` when somebody has to do something."""

    sentence: str
    is_wrong: bool = True


def examine() -> list[Finding]:
    """Everything that there is to say. Nothing is changed."""
    return [finding for check in CHECKS for finding in check(current_config())]


def check_database(config: Config) -> Iterator[Finding]:  # noqa: ARG001
    """Reachable, and at this program's revision."""
    try:
        if schema.current() != schema.head():
            yield Finding("The database is not at this version's schema. Start the hub (make run): it upgrades it.")
    except SQLAlchemyError as error:
        yield Finding(f"The database does not answer ({type(error).__name__}). Check DATABASE_URL.")


def check_sqlite(config: Config) -> Iterator[Finding]:
    """SQLite builds that can lose committed writes in WAL mode."""
    version = sqlite3.sqlite_version_info
    if config.database_url.startswith("sqlite") and has_wal_reset_bug(version):
        yield Finding(
            f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug. It does no harm here: the hub then uses the "
            "rollback journal (journal_mode=DELETE), which is not affected. SQLite 3.51.3 or newer is faster.",
            is_wrong=False,
        )


def check_processes(config: Config) -> Iterator[Finding]:  # noqa: ARG001
    """A worker, and one scheduler."""
    if schema.current() != schema.head():
        return
    if not list_processes("worker"):
        yield Finding("No worker is running, so nothing is pulled. Start one: make run, or python worker.py.")
    schedulers = list_processes("scheduler")
    if len(schedulers) > 1:
        names = " and ".join(process.name for process in schedulers)
        yield Finding(
            f"{len(schedulers)} schedulers are running ({names}). Run worker.py once; more hands: --workers N."
        )


def check_queue(config: Config) -> Iterator[Finding]:  # noqa: ARG001
    """Redis answers and keeps what it is told."""
    try:
        kept = queue.connection().info("persistence")
        if not kept.get("aof_enabled"):
            yield Finding(
                "Redis does not append to a file (appendonly no), so a restart of it forgets what was rung for. "
                "Nothing is lost, the janitor rings again within seconds; appendonly yes saves the wait.",
                is_wrong=False,
            )
        seconds, microseconds = queue.connection().time()
        yield from skew("Redis", seconds + microseconds / 1e6 - time.time())
    except redis.RedisError as error:
        yield Finding(f"Redis does not answer ({error}). Pulls and jobs wait until it does. Check REDIS_URL.")


def check_clocks(config: Config) -> Iterator[Finding]:
    """The database server's clock, and the devices' as they told it."""
    if schema.current() != schema.head():
        return
    if config.database_url.startswith("postgresql"):
        yield from skew("PostgreSQL", float(db.session.scalar(text("SELECT extract(epoch FROM now())"))) - time.time())
    lately = Device.last_seen_at > clock.utc_now() - timedelta(days=1)
    for device in db.session.scalars(select(Device).where(lately, Device.unpaired_at.is_(None))):
        if abs(device.clock_skew_ms or 0) > DEVICE_SKEW_MS:
            yield from skew(f"The machine {device.name}", (device.clock_skew_ms or 0) / 1000)


def skew(whose: str, seconds: float) -> Iterator[Finding]:
    """A sentence about a clock that differs from ours."""
    if abs(seconds) > SKEW_SECONDS:
        way = "ahead of" if seconds > 0 else "behind"
        yield Finding(f"{whose} has a clock {abs(seconds):.0f} s {way} the hub's. Turn on time synchronisation (NTP).")


def check_disk(config: Config) -> Iterator[Finding]:
    """Room in the data directory."""
    usage = shutil.disk_usage(config.data_dir)
    if usage.free < max(GIBIBYTE, usage.total // 20):
        yield Finding(
            f"Only {usage.free / GIBIBYTE:.1f} GiB are free for {config.data_dir}. Make room before it is full."
        )


def check_data_dir(config: Config) -> Iterator[Finding]:
    """Keys and data are the owner's alone."""
    for path in (config.data_dir, config.data_dir / "keys", config.data_dir / "keys" / "hub.key"):
        if path.exists() and path.stat().st_mode & 0o077:
            yield Finding(f"Others can read {path}. Take that away: chmod go-rwx {path}")


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    check_database,
    check_sqlite,
    check_processes,
    check_queue,
    check_clocks,
    check_disk,
    check_data_dir,
)
