"""Keeps the sessions in the store equal to what `derive_sessions` would say, at the cost of what is new."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator

import msgspec

from collector.observations import list_observations
from collector.store import Store, find_meta, put_meta, read_identity
from collector.timeline import changes, spans
from collector.timeline.derive import IDLE_TIMEOUT_RANGE, IDLE_TIMEOUT_SECONDS
from collector.timeline.neighbours import read_writes
from collector.timeline.observation import FILESYSTEM_STREAM, GIT_STREAM
from collector.timeline.spans import Span
from collector.timeline.summary import FileWork, summarise
from collector.timeline.touched import Touched, find_covered, find_touched, touch_finished
from collector.timeline.walking import Stretch
from collector.timeline.windows import Window, derive_windows

BATCH = 5000
"""Observations taken in one transaction, so that a long import does not lock the others out."""

LONGEST_SESSION_MS = 12 * 3_600_000
WEAK_STREAMS = (FILESYSTEM_STREAM, GIT_STREAM)


def materialise(store: Store, now_ms: int, *, idle_timeout_seconds: int = IDLE_TIMEOUT_SECONDS) -> int:
    """Brings the stored sessions up to date and returns how many changed. Cheap when nothing is new."""
    if idle_timeout_seconds not in IDLE_TIMEOUT_RANGE:
        raise ValueError(f"idle timeout: {idle_timeout_seconds} is not within 60 to 3600 seconds")
    changed = 0
    has_more = is_due(store, now_ms, idle_timeout_seconds)
    while has_more:
        with store.write() as connection:
            changed += Derivation(connection, now_ms, idle_timeout_seconds).run()
            has_more = has_new(connection)
    return changed


def is_due(store: Store, now_ms: int, idle_timeout_seconds: int) -> bool:
    """Whether there is an observation that no session knows yet, a session to close, or another idle timeout."""
    with store.read() as connection:
        quiet_ms = now_ms - idle_timeout_seconds * 1000
        finished = connection.execute("SELECT 1 FROM sessions WHERE is_active = 1 AND last_ms <= ?", (quiet_ms,))
        is_other = find_meta(connection, "derived_idle") != str(idle_timeout_seconds)
        return is_other or finished.fetchone() is not None or has_new(connection)


def has_new(connection: sqlite3.Connection) -> bool:
    """Whether there is an observation that no session knows yet."""
    newest_seq = connection.execute("SELECT coalesce(max(seq), 0) FROM observations").fetchone()[0]
    return newest_seq > int(find_meta(connection, "derived_seq") or 0)


class Derivation:
    """One round of deriving again what is touched, inside one write transaction."""

    def __init__(self, connection: sqlite3.Connection, now_ms: int, idle_timeout_seconds: int) -> None:
        self._connection = connection
        self._now_ms = now_ms
        self._idle_timeout_ms = idle_timeout_seconds * 1000
        self._device_id = read_identity(connection).device_id
        self._changed_spans: list[Span] = []

    def run(self) -> int:
        """Derives, stores what changed, and returns how many sessions that were."""
        touched = self._find_touched()
        editors = [stream for stream in touched if stream not in WEAK_STREAMS]
        changed = sum(self._derive_stream(stream, touched[stream]) for stream in editors)
        for stream in WEAK_STREAMS:
            claims = spans.union(self._changed_spans)
            covered = find_covered(self._connection, stream, claims, self._idle_timeout_ms)
            changed += self._derive_stream(stream, touched.get(stream, set()) | covered)
        return changed

    def _find_touched(self) -> Touched:
        connection = self._connection
        idle_timeout = str(self._idle_timeout_ms // 1000)
        touched: Touched = defaultdict(set)
        last_timeout = find_meta(connection, "derived_idle")
        put_meta(connection, "derived_idle", idle_timeout)
        if last_timeout not in (None, idle_timeout):
            newest = connection.execute("SELECT coalesce(max(seq), 0) FROM observations").fetchone()[0]
            put_meta(connection, "derived_seq", str(newest))
            return touch_everything(connection)
        derived_seq = int(find_meta(connection, "derived_seq") or 0)
        new = list_observations(connection, "seq > ? ORDER BY seq LIMIT ?", (derived_seq, BATCH))
        if new:
            touched = find_touched(connection, new)
            put_meta(connection, "derived_seq", str(new[-1].seq))
        touch_finished(connection, touched, self._now_ms, self._idle_timeout_ms)
        return touched

    def _derive_stream(self, stream: str, places: Iterable[tuple[int, int]]) -> int:
        changed = 0
        for window in derive_windows(self._connection, stream, places, self._idle_timeout_ms):
            works = list(self._summarise(window))
            count, changed_spans = changes.replace_sessions(self._connection, window, works, self._now_ms)
            self._changed_spans += changed_spans
            changed += count
        return changed

    def _summarise(self, window: Window) -> Iterator[FileWork]:
        is_weak = window.stream in WEAK_STREAMS
        writes = {} if is_weak else read_writes(self._connection, window.stretches)
        if is_weak and window.stretches:
            self._yield_to_better(window.stream, window.stretches)
        for stretch in window.stretches:
            work = summarise(
                stretch,
                device_id=self._device_id,
                now_ms=self._now_ms,
                idle_timeout_ms=self._idle_timeout_ms,
                extra_writes=writes,
            )
            if work:
                yield work

    def _yield_to_better(self, stream: str, stretches: list[Stretch]) -> None:
        weaker = WEAK_STREAMS[WEAK_STREAMS.index(stream) :]
        for stretch in stretches:
            if stretch.spans:
                start_ms, end_ms = stretch.spans[0][0], stretch.spans[-1][1]
                taken = read_claims(self._connection, weaker, start_ms, end_ms)
                stretch.spans = spans.subtract(stretch.spans, taken)


def read_claims(connection: sqlite3.Connection, weaker: tuple[str, ...], start_ms: int, end_ms: int) -> list[Span]:
    """The time that sessions of all other streams than `weaker` account for, near `[start_ms, end_ms)`."""
    rows = connection.execute(
        "SELECT stream, body FROM sessions WHERE deleted = 0 AND last_ms > ? AND last_ms < ? AND first_ms < ?",
        (start_ms, end_ms + LONGEST_SESSION_MS, end_ms),
    )
    bodies = [body for stream, body in rows if stream not in weaker]
    return spans.union(tuple(span) for body in bodies for span in msgspec.json.decode(body)["activeSegments"])


def touch_everything(connection: sqlite3.Connection) -> Touched:
    """Every observation of every stream: with another idle timeout no old boundary can be trusted."""
    touched: Touched = defaultdict(set)
    for stream, at_ms, seq in connection.execute("SELECT stream, at_ms, seq FROM observations"):
        touched[stream].add((at_ms, seq))
    return touched
