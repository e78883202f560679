"""The smallest part of a stream that changed observations can touch, walked again.

A walk may begin anew where a stretch began before the first change, and may stop where, after the last change, one
begins in the old and in the new walk alike: from there on both see the same observations in the same state.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from collector.timeline.neighbours import read_stream
from collector.timeline.walking import Stretch, Walker, order_of

Place = tuple[int, int]
"""Where an observation stands in its stream: its time and its number."""

BEGINNING: Place = (-(2**62), 0)
END: Place = (2**62, 2**62)
AFTER_ALL = 2**62
"""In place of a number: after everything that happened at that time."""


@dataclass(frozen=True, slots=True)
class Window:
    """The stretches that begin in `[start, end)` of a stream, as they are now."""

    stream: str
    start: Place
    end: Place
    stretches: list[Stretch]


def derive_windows(
    connection: sqlite3.Connection, stream: str, places: Iterable[Place], idle_timeout_ms: int
) -> Iterator[Window]:
    """The windows of one stream around the changed `places`, in order and without overlap."""
    floor = BEGINNING
    waiting = sorted(places)
    while waiting:
        start = max(find_start(connection, stream, waiting[0], idle_timeout_ms), floor)
        window, waiting = derive_window(connection, stream, start, waiting, idle_timeout_ms)
        floor = window.end
        yield window


def find_start(connection: sqlite3.Connection, stream: str, place: Place, idle_timeout_ms: int) -> Place:
    """The last place before `place` where a stretch surely begins: a stored one's start, or after a long pause."""
    row = connection.execute(
        "SELECT first_ms, first_seq FROM sessions WHERE deleted = 0 AND stream = ? AND (first_ms, first_seq) < (?, ?)"
        " ORDER BY first_ms DESC, first_seq DESC LIMIT 1",
        (stream, *place),
    ).fetchone()
    stored = BEGINNING if row is None else (row[0], row[1])
    earliest = place
    rows = connection.execute(
        "SELECT at_ms, seq, at_ms + coalesce(end_ms - time_ms, 0) FROM observations"
        " WHERE stream = ? AND (at_ms, seq) < (?, ?) ORDER BY at_ms DESC, seq DESC",
        (stream, *place),
    )
    for at_ms, seq, stop_ms in rows:
        if earliest[0] - stop_ms >= idle_timeout_ms:
            return earliest
        earliest = (at_ms, seq)
        if earliest <= stored:
            return stored
    return earliest


def derive_window(
    connection: sqlite3.Connection, stream: str, start: Place, places: list[Place], idle_timeout_ms: int
) -> tuple[Window, list[Place]]:
    """The window from `start` over the first of `places` to the next safe end, and the places that lie beyond it."""
    walker = Walker(idle_timeout_ms)
    passed = 0
    reached_ms: int | None = None  # by the longest span so far: a shorter one after it makes a pause that is new
    for observation, is_standing in read_stream(connection, stream, start):
        place = order_of(observation)
        is_pause = reached_ms is not None and observation.at_ms - reached_ms >= idle_timeout_ms
        reached_ms = observation.stop_ms if reached_ms is None else max(reached_ms, observation.stop_ms)
        while passed < len(places) and places[passed] <= place:
            passed += 1
        is_start = is_standing and walker.step(observation)
        if passed == 0 or places[passed - 1] == place:
            continue
        if is_pause or (is_start and is_stored_start(connection, stream, place)):
            stretches = walker.stretches[:-1] if is_start else walker.stretches
            return Window(stream, start, place, stretches), places[passed:]
    return Window(stream, start, END, walker.finish()), []


def is_stored_start(connection: sqlite3.Connection, stream: str, place: Place) -> bool:
    """Whether a session of the last derivation begins at this place."""
    query = "SELECT 1 FROM sessions WHERE deleted = 0 AND stream = ? AND first_ms = ? AND first_seq = ?"
    return connection.execute(query, (stream, *place)).fetchone() is not None
