"""Which places of the streams new observations and changed sessions touch."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable

from collector.timeline.neighbours import list_crowded
from collector.timeline.observation import FILESYSTEM_STREAM, GIT_STREAM, Observation
from collector.timeline.saves import REACH_MS
from collector.timeline.spans import Span
from collector.timeline.walking import order_of
from collector.timeline.windows import AFTER_ALL, Place

LONGEST_SPAN_MS = 2 * 3_600_000
"""No observation that is a span is longer than this."""

Touched = dict[str, set[Place]]


def find_touched(connection: sqlite3.Connection, observations: Iterable[Observation]) -> Touched:
    """The places of new observations, and of the old ones whose meaning they may change."""
    touched: Touched = defaultdict(set)
    for o in observations:
        touched[o.stream].add(order_of(o))
        if o.stream != GIT_STREAM:
            touch_same_file(connection, touched, o)
    saves = touched.get(FILESYSTEM_STREAM)
    if saves:
        touch_crowds(connection, saves)
    return touched


def touch_same_file(connection: sqlite3.Connection, touched: Touched, observation: Observation) -> None:
    """Adds what an editor and the disk said about the same file at about the same time."""
    rows = connection.execute(
        "SELECT stream, at_ms, seq FROM observations WHERE entity = ? AND at_ms BETWEEN ? AND ? AND stream <> ?",
        (observation.entity, observation.at_ms - REACH_MS, observation.at_ms + REACH_MS, GIT_STREAM),
    )
    for stream, at_ms, seq in rows:
        touched[stream].add((at_ms, seq))


def touch_crowds(connection: sqlite3.Connection, places: set[Place]) -> None:
    """Adds every save of a second in which many files were written: the last of them made the first ones a tool's."""
    for second in {at_ms // 1000 for at_ms, _ in places}:
        if list_crowded(connection, second * 1000, second * 1000):
            places |= list_places(connection, FILESYSTEM_STREAM, second * 1000, second * 1000 + 999)


def touch_finished(connection: sqlite3.Connection, touched: Touched, now_ms: int, idle_timeout_ms: int) -> None:
    """Adds the sessions that were growing and have now been quiet for too long."""
    rows = connection.execute(
        "SELECT stream, last_ms FROM sessions WHERE is_active = 1 AND last_ms <= ?", (now_ms - idle_timeout_ms,)
    )
    for stream, last_ms in rows.fetchall():
        touched[stream].add((last_ms, AFTER_ALL))


def find_covered(
    connection: sqlite3.Connection, stream: str, changed: Iterable[Span], idle_timeout_ms: int
) -> set[Place]:
    """The places of a weaker stream whose time lies where better sources have changed their claims."""
    reach_ms = LONGEST_SPAN_MS if stream == GIT_STREAM else idle_timeout_ms
    places: set[Place] = set()
    for start_ms, end_ms in changed:
        places |= list_places(connection, stream, start_ms - reach_ms, end_ms)
    return places


def list_places(connection: sqlite3.Connection, stream: str, start_ms: int, end_ms: int) -> set[Place]:
    """The places of the observations of a stream from `start_ms` to `end_ms`, both included."""
    query = "SELECT at_ms, seq FROM observations WHERE stream = ? AND at_ms BETWEEN ? AND ?"
    return set(connection.execute(query, (stream, start_ms, end_ms)))
