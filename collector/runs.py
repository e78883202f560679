"""When the collector ran, as it notes about itself: a day without work is told from a day without a collector."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from collector import wire
from collector.timeline import spans
from collector.timeline.spans import Span

if TYPE_CHECKING:
    from collector.store import Store

BEAT_SECONDS = 30.0
LONGEST_PAUSE_MS = 90_000
"""After a longer silence nobody knows whether the machine slept, so a new run begins."""

LARGEST_DRIFT_MS = 5_000
"""A wall clock that moves further than this against the monotonic one within a beat was set, or the machine slept."""

KEPT_MS = 400 * 86_400_000
SETTLED_MS = 3_600_000
"""Old runs go only after an unbroken hour, so that a clock that is wrong for a moment takes none with it."""

log = logging.getLogger(__name__)


class LifeSigns:
    """Notes every BEAT_SECONDS that the collector lives: one small write each, none between.

    The clocks answer in milliseconds; tests replace them.
    """

    def __init__(
        self,
        store: "Store",
        wall_ms: Callable[[], int] = wire.now_ms,
        steady_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._wall_ms, self._steady_ms = wall_ms, steady_ms
        self._stopping = threading.Event()
        self._noted_ms = self._seen_wall_ms = wall_ms()
        self._seen_steady_ms = self._began_steady_ms = steady_ms()

    def run(self) -> None:
        """The thread's work, until `stop`."""
        while not self._stopping.wait(BEAT_SECONDS):
            self._try_beat()
        self._try_beat()

    def stop(self) -> None:
        """Ends `run`, which notes the time up to now."""
        self._stopping.set()

    def beat(self) -> None:
        """Notes the time since the last beat, or begins a new run where it cannot be vouched for."""
        wall_ms, steady_ms = self._wall_ms(), self._steady_ms()
        passed_ms = steady_ms - self._seen_steady_ms
        drift_ms = wall_ms - self._seen_wall_ms - passed_ms
        self._seen_wall_ms, self._seen_steady_ms = wall_ms, steady_ms
        if passed_ms > LONGEST_PAUSE_MS or abs(drift_ms) > LARGEST_DRIFT_MS:
            self._noted_ms, self._began_steady_ms = wall_ms, steady_ms
            return
        if wall_ms <= self._noted_ms:
            return
        is_settled = steady_ms - self._began_steady_ms >= SETTLED_MS
        with self._store.write() as connection:
            add_run(connection, self._noted_ms, wall_ms)
            if is_settled:
                connection.execute("DELETE FROM runs WHERE ended_ms < ?", (wall_ms - KEPT_MS,))
        self._noted_ms = wall_ms

    def _try_beat(self) -> None:
        try:
            self.beat()
        except sqlite3.Error as error:  # a full disk or a busy file; the next beat notes this time too
            log.warning("Cannot note that the collector runs: %s. Trying again.", error)


def add_run(connection: sqlite3.Connection, start_ms: int, end_ms: int) -> None:
    """Adds `[start_ms, end_ms)` inside an open write transaction; what it touches or overlaps becomes one run with it.

    So runs stay disjoint and longer than nothing, also when the clock was set back into a run of before.
    """
    if start_ms >= end_ms:
        return
    rows = connection.execute(
        "SELECT started_ms, ended_ms FROM runs WHERE started_ms <= ? AND ended_ms >= ?", (end_ms, start_ms)
    ).fetchall()
    started_ms = min([start_ms, *(row[0] for row in rows)])
    ended_ms = max([end_ms, *(row[1] for row in rows)])
    connection.executemany("DELETE FROM runs WHERE started_ms = ?", [row[:1] for row in rows if row[0] != started_ms])
    connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?)", (started_ms, ended_ms))


def list_runs(connection: sqlite3.Connection, from_ms: int, to_ms: int) -> list[Span]:
    """When the collector ran within `[from_ms, to_ms)`: half-open spans in ms, sorted, disjoint and cut to it.

    The present run is noted up to BEAT_SECONDS late.
    """
    rows = connection.execute(
        "SELECT started_ms, ended_ms FROM runs WHERE started_ms < ? AND ended_ms > ? ORDER BY started_ms",
        (to_ms, from_ms),
    )
    return spans.clip(rows.fetchall(), from_ms, to_ms)


def known_since_ms(made_ms: int, now_ms: int) -> int:
    """From when on a time without a run is one in which the collector did not run; before, nothing is known."""
    return max(made_ms, now_ms - KEPT_MS)
