"""`flask --app app doctor`: what is wrong with this hub, in sentences that say what to do."""

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import redis
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from webapp import queue, schema
from webapp.config import Config, current_config
from webapp.database import has_wal_reset_bug
from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.jobs.service import list_processes
from webapp.lib import clock
from webapp.lib.mounts import find_network_filesystem

GIBIBYTE = 1024**3
MEBIBYTE = 1024**2
FULL_BYTES = 64 * MEBIBYTE
PROBE_BYTES = 64 * 1024
SKEW_SECONDS = 30
DEVICE_SKEW_MS = 120_000


@dataclass(frozen=True)
class Finding:
    """One sentence; `is_wrong` when somebody has to do something."""

    sentence: str
    is_wrong: bool = True


def examine() -> list[Finding]:
    """Everything that there is to say. Nothing is changed; a small file is written and removed to see if that works."""
    return [finding for check in CHECKS for finding in check(current_config())]


def check_database(config: Config) -> Iterator[Finding]:  # noqa: ARG001
    """Reachable, and at this program's revision."""
    try:
        if schema.current() != schema.head():
            yield Finding("The database is not at this version's schema. Start the hub (make run): it upgrades it.")
    except SQLAlchemyError as error:
        yield Finding(f"The database does not answer ({type(error).__name__}). Check DATABASE_URL.")


def check_sqlite(config: Config) -> Iterator[Finding]:
    """SQLite builds that can lose committed writes in WAL mode, and folders on which no lock can be trusted."""
    path = find_sqlite(config)
    if path is None:
        return
    if path.exists() and has_wal_reset_bug(sqlite3.sqlite_version_info):
        yield judge_journal(path)
    kind = find_network_filesystem(path.resolve())
    if kind is not None:
        yield Finding(
            f"{path} lies on a network or shared file system ({kind}), where SQLite's locks do not hold and the "
            "database breaks sooner or later. Move the data directory to a local disk, or use PostgreSQL."
        )


def judge_journal(path: Path) -> Finding:
    """What the WAL-reset bug means for this file, by the journal mode that it really has."""
    try:
        mode = read_journal_mode(path)
    except sqlite3.Error as error:
        return Finding(f"{path} cannot be opened ({error}). Is it a database, and may this user read it?")
    if mode == "wal":
        return Finding(
            f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug, and {path} is in WAL mode: committed writes can "
            "be lost. Stop every program that has it open and start the hub again, which leaves WAL mode; or update "
            "SQLite to 3.51.3 or newer."
        )
    return Finding(
        f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug. It does no harm here: the hub then uses the "
        f"rollback journal (journal_mode={mode.upper()}), which is not affected. SQLite 3.51.3 or newer is faster.",
        is_wrong=False,
    )


def read_journal_mode(path: Path) -> str:
    """The journal mode of the file as it is now, read back on a connection that changes nothing."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)
    try:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        connection.close()


def find_sqlite(config: Config) -> Path | None:
    """The database file; None on PostgreSQL."""
    url = make_url(config.database_url)
    is_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
    return Path(url.database or "") if is_file else None


def check_processes(config: Config) -> Iterator[Finding]:  # noqa: ARG001
    """A worker, and one scheduler."""
    if not has_schema():
        return
    if not list_processes("worker"):
        yield Finding("No worker is running, so nothing is pulled. Start one: make run, or python worker.py.")
    schedulers = list_processes("scheduler")
    if len(schedulers) > 1:
        names = " and ".join(f"{one.name} since {one.started_at:%Y-%m-%d %H:%M} UTC" for one in schedulers)
        yield Finding(
            f"{len(schedulers)} schedulers are running ({names}): worker.py was started more than once. It does no "
            "harm, but each does all the work of the clock again. Stop all but one (kill the number after the host's "
            "name); more hands are worker.py --workers N."
        )
    elif not schedulers and list_processes("worker"):
        yield Finding("Workers run but no scheduler, so nothing is due by itself. Start worker.py, which is both.")


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
        elif kept.get("aof_last_write_status") == "err":
            yield Finding("Redis cannot write its file any more, and refuses what it is told. Is its disk full?")
        seconds, microseconds = queue.connection().time()
        yield from skew("Redis", seconds + microseconds / 1e6 - time.time())
    except redis.RedisError as error:
        yield Finding(f"Redis does not answer ({error}). Pulls and jobs wait until it does. Check REDIS_URL.")


def check_clocks(config: Config) -> Iterator[Finding]:
    """The database server's clock, and the devices' as they told it."""
    if not has_schema():
        return
    if config.database_url.startswith("postgresql"):
        asked = text("SELECT extract(epoch FROM clock_timestamp())")
        yield from skew("PostgreSQL", float(db.session.scalar(asked)) - time.time())
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
    """Room for the data directory, and for the database where that lies elsewhere."""
    database = find_sqlite(config)
    folders = {config.data_dir, database.resolve().parent if database is not None else config.data_dir}
    for folder in sorted(folders):
        yield from judge_disk(folder)


def judge_disk(folder: Path) -> Iterator[Finding]:
    """Whether something can be written there, and for how long still."""
    trouble = try_to_write(folder)
    if trouble is not None:
        yield Finding(
            f"Nothing can be written to {folder} ({trouble}), so nothing can be stored. Is its disk full, or the "
            "folder gone or somebody else's?"
        )
        return
    usage = shutil.disk_usage(folder)
    if usage.free < FULL_BYTES:
        room = usage.free // MEBIBYTE
        yield Finding(f"The disk of {folder} is full: {room} MiB are left. Make room; pulls go on by themselves.")
    elif usage.free < max(GIBIBYTE, usage.total // 20):
        yield Finding(f"Only {usage.free / GIBIBYTE:.1f} GiB are free for {folder}. Make room before it is full.")


def try_to_write(folder: Path) -> str | None:
    """Why a small file cannot be written there; None when it can. It is removed at once."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


def check_data_dir(config: Config) -> Iterator[Finding]:
    """Keys and data are the owner's alone."""
    for path in (config.data_dir, config.data_dir / "keys", config.data_dir / "keys" / "hub.key"):
        if path.exists() and path.stat().st_mode & 0o077:
            yield Finding(f"Others can read {path}. Take that away: chmod go-rwx {path}")


def check_inbox(config: Config) -> Iterator[Finding]:
    """Export files that could not be imported."""
    refused = config.data_dir / "inbox" / "refused"
    count = len(list(refused.glob("*.muster"))) if refused.is_dir() else 0
    if count:
        files = "One export file was" if count == 1 else f"{count} export files were"
        yield Finding(
            f"{files} refused. A text beside each in {refused} says why. Export again from that machine, or delete it."
        )


def has_schema() -> bool:
    """Whether the tables can be asked; `check_database` says why not."""
    try:
        return schema.current() == schema.head()
    except SQLAlchemyError:
        return False


CHECKS: tuple[Callable[[Config], Iterator[Finding]], ...] = (
    check_database,
    check_sqlite,
    check_processes,
    check_queue,
    check_clocks,
    check_disk,
    check_data_dir,
    check_inbox,
)
