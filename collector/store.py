"""The collector's one SQLite file: identity, link, local keys, watched paths, observations and sessions.

Every write is one `BEGIN IMMEDIATE` transaction and is on disk when the call returns.
"""

import os
import secrets
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, time, tzinfo
from pathlib import Path

import msgspec

from collector import coverage, exports, store_schema, wire
from collector.observations import insert_observations, list_observations
from collector.runs import known_since_ms
from collector.timeline import spans
from collector.timeline.observation import Observation

BUSY_SECONDS = 10
IDLE_CONNECTIONS = 4
LAST_PULL = "last_pull"
PULL_NOTE_MS = 10_000


class Identity(msgspec.Struct, frozen=True):
    """Who this collector is, and which life of its database this is."""

    device_id: str
    epoch: str


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """The credentials that pairing made."""

    hub_url: str
    device_id: str
    token: str
    pull_secret: str
    poll_interval: int
    hub_name: str
    paired_at_ms: int


class WatchedPath(msgspec.Struct, frozen=True):
    """A folder that the file system source watches."""

    id: int
    path: str
    added_at_ms: int


class Store:
    """The database at `path`; made, with its folder, on first use. Safe to share between threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        with self._borrow() as connection:
            # In a fresh file two openers may meet here; the busy timeout makes the second one wait.
            connection.execute(f"PRAGMA journal_mode = {journal_mode()}")
            store_schema.upgrade(connection)
        self._settle("device_id", str(uuid.uuid4()))
        self._settle("epoch", secrets.token_hex(8))
        self._settle("cursor_key", secrets.token_hex(32))
        self._settle("made_at_ms", str(wire.now_ms()))

    def close(self) -> None:
        """Closes the idle connections; the store may be used again afterwards."""
        with self._lock:
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One read transaction: every statement in it sees the same state."""
        with self._borrow() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed when the block ends, rolled back when it raises."""
        with self._borrow() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @property
    def identity(self) -> Identity:
        """Read each time: pairing from the command line may change it while the daemon runs."""
        with self.read() as connection:
            return read_identity(connection)

    def adopt_device_id(self, device_id: str) -> None:
        """Takes the id that the hub gave. Session ids hang on it, so the sessions are derived again, in a new epoch."""
        with self.write() as connection:
            if read_identity(connection).device_id == device_id:
                return
            put_meta(connection, "device_id", device_id)
            put_meta(connection, "epoch", secrets.token_hex(8))
            connection.execute("DELETE FROM meta WHERE key = 'derived_seq'")
            connection.execute("DELETE FROM sessions")

    def get_meta(self, key: str) -> str | None:
        """A small fact, or None."""
        with self.read() as connection:
            return find_meta(connection, key)

    def set_meta(self, key: str, value: str) -> None:
        """Keeps a small fact."""
        with self.write() as connection:
            put_meta(connection, key, value)

    def delete_meta(self, key: str) -> None:
        """Forgets a small fact; nothing happens when there is none."""
        with self.write() as connection:
            connection.execute("DELETE FROM meta WHERE key = ?", (key,))

    def local_token(self) -> str:
        """The bearer token of this machine's own user."""
        return self._settle("local_token", secrets.token_urlsafe(32))

    def wakatime_key(self) -> str:
        """The key for editor plug-ins: a UUIDv4, because they refuse anything else before sending."""
        return self._settle("wakatime_key", str(uuid.uuid4()))

    def find_link(self) -> Link | None:
        """The link to the hub, or None while unpaired."""
        text = self.get_meta("link")
        return None if text is None else msgspec.json.decode(text, type=Link)

    def save_link(self, link: Link) -> None:
        """Keeps the link that pairing made. What was pulled before was pulled by another."""
        with self.write() as connection:
            put_meta(connection, "link", msgspec.json.encode(link).decode())
            connection.execute("DELETE FROM meta WHERE key = ?", (LAST_PULL,))

    def clear_link(self) -> None:
        """Forgets the link and its secrets."""
        self.delete_meta("link")

    def list_paths(self) -> list[WatchedPath]:
        """The watched paths, oldest first."""
        with self.read() as connection:
            rows = connection.execute("SELECT id, path, added_at_ms FROM paths ORDER BY id").fetchall()
        return [WatchedPath(*row) for row in rows]

    def add_path(self, path: str | Path) -> WatchedPath:
        """Watches a path from now on; the same path again gives the same row."""
        text = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - resolve() would follow symlinks
        with self.write() as connection:
            connection.execute("INSERT OR IGNORE INTO paths (path, added_at_ms) VALUES (?, ?)", (text, wire.now_ms()))
            row = connection.execute("SELECT id, path, added_at_ms FROM paths WHERE path = ?", (text,)).fetchone()
        return WatchedPath(*row)

    def remove_path(self, path_id: int) -> bool:
        """Stops watching. What was observed there stays. False when there is no such path."""
        with self.write() as connection:
            connection.execute("DELETE FROM manifest WHERE path_id = ?", (path_id,))
            connection.execute("DELETE FROM scans WHERE path_id = ?", (path_id,))
            return connection.execute("DELETE FROM paths WHERE id = ?", (path_id,)).rowcount > 0

    def add_observations(self, observations: Sequence[Observation]) -> int:
        """Keeps observations and returns how many were new; a repeated delivery is not."""
        if not observations:
            return 0
        with self.write() as connection:
            return insert_observations(connection, observations)

    def find_last_observation(self, source: str) -> Observation | None:
        """The latest observation of a source by its own time."""
        with self.read() as connection:
            rows = list_observations(connection, "source = ? ORDER BY at_ms DESC, seq DESC LIMIT 1", (source,))
        return rows[0] if rows else None

    def last_observation_ms(self, source: str) -> int | None:
        """When a source last saw something, or None."""
        last = self.find_last_observation(source)
        return None if last is None else last.at_ms

    @property
    def since_ms(self) -> int:
        """From when on it is known whether the collector ran: since this database was made, or runs are kept."""
        with self.read() as connection:
            return read_since(connection)

    def export(self, request: wire.ExportRequest) -> dict[str, object]:
        """The answer of `POST /api/sessions/export`. ValueError, `field: reason`, for a cursor or time that is none."""
        with self.read() as connection:
            identity = read_identity(connection)
            page = exports.export_page(connection, request, identity.device_id, identity.epoch, read_key(connection))
            is_noted = exports.is_noted(connection, page.end)
        if not is_noted:  # on disk before anybody can come back with it
            with self.write() as connection:
                exports.note_told(connection, page.end)
        return page.answer

    def cover(self, request: wire.CoverageRequest) -> wire.CoverageAnswer:
        """The answer of `POST /api/sessions/coverage`, of one state of the database. ValueError as for `export`."""
        days = coverage.read_days(request)
        with self.read() as connection:
            epoch = read_identity(connection).epoch
            read_from: exports.Position | None = exports.START
            if request.cursor is not None:
                read_from = exports.find_cursor(connection, request.cursor, epoch, read_key(connection))
            return wire.CoverageAnswer(
                epoch=epoch,
                since=wire.format_ms(read_since(connection)),
                timestamp=wire.format_ms(wire.now_ms()),
                days=coverage.cover_days(connection, days, 0 if read_from is None else read_from.rev),
                reset=read_from is None,
            )

    def note_pull(self, now_ms: int, road: str) -> None:
        """Keeps when a hub last read from here and by which road, written at most every ten seconds."""
        text = self.get_meta(LAST_PULL)
        if text is None or abs(now_ms - msgspec.json.decode(text)["atMs"]) >= PULL_NOTE_MS:
            self.set_meta(LAST_PULL, msgspec.json.encode({"atMs": now_ms, "road": road}).decode())

    def count_sessions(self) -> int:
        """Sessions that exist now, without tombstones."""
        with self.read() as connection:
            return connection.execute("SELECT count(*) FROM sessions WHERE deleted = 0").fetchone()[0]

    def today_seconds(self, zone: tzinfo) -> int:
        """Seconds worked since the last midnight in `zone`: the union of all sessions, so nothing counts twice."""
        today = datetime.now(zone).date()
        start_ms = wire.to_ms(datetime.combine(today, time.min, tzinfo=zone).astimezone(UTC))
        with self.read() as connection:
            rows = connection.execute(
                "SELECT body FROM sessions WHERE deleted = 0 AND last_ms >= ?", (start_ms,)
            ).fetchall()
        segments = [tuple(pair) for (body,) in rows for pair in msgspec.json.decode(body)["activeSegments"]]
        return spans.measure(spans.clip(spans.union(segments), start_ms, wire.now_ms())) // 1000

    def note_jti(self, jti: str, exp: int) -> bool:
        """Notes that a one-call token was used; False when it had been. On disk, so that a restart forgets nothing."""
        with self.write() as connection:
            # A clock that is behind the hub's may still accept a token for this long after its end.
            oldest = wire.now_ms() // 1000 - 2 * wire.CLOCK_LEEWAY_SECONDS
            connection.execute("DELETE FROM seen_calls WHERE expires_at < ?", (oldest,))
            cursor = connection.execute("INSERT OR IGNORE INTO seen_calls VALUES (?, ?)", (jti, exp))
            return cursor.rowcount > 0

    def _settle(self, key: str, value: str) -> str:
        """The fact under `key`, which is `value` if there was none; two processes agree on the first."""
        existing = self.get_meta(key)
        if existing is not None:
            return existing
        with self.write() as connection:
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))
            return connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0]

    @contextmanager
    def _borrow(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = connect(self.path)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """An open connection on which transactions are begun and ended by hand."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA cache_size = -2000")
    return connection


def journal_mode(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """WAL where it is safe: older libraries can lose a commit when a checkpoint meets a reset of the WAL."""
    fixed = version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    return "WAL" if fixed else "DELETE"


def find_meta(connection: sqlite3.Connection, key: str) -> str | None:
    """A small fact inside an open transaction, or None."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def put_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Keeps a small fact inside an open write transaction."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def read_key(connection: sqlite3.Connection) -> bytes:
    """The key that signs cursors, inside an open transaction."""
    return bytes.fromhex(find_meta(connection, "cursor_key") or "")


def read_since(connection: sqlite3.Connection) -> int:
    """`Store.since_ms` inside an open transaction."""
    return known_since_ms(int(find_meta(connection, "made_at_ms") or 0), wire.now_ms())


def read_identity(connection: sqlite3.Connection) -> Identity:
    """The identity inside an open transaction."""
    rows = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('device_id', 'epoch')"))
    return Identity(rows["device_id"], rows["epoch"])
