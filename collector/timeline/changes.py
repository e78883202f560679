"""Writes what a derivation changed: every inserted, changed or vanished session gets the next place in the order."""

import sqlite3
from collections.abc import Sequence

import msgspec

from collector.timeline import spans
from collector.timeline.spans import Span
from collector.timeline.summary import FileWork
from collector.timeline.windows import Window

UPSERT = """
INSERT INTO sessions
    (id, rev, changed_at_ms, mark, revision, stream, first_ms, first_seq, last_ms, is_active, deleted, body)
VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, 0, ?)
ON CONFLICT (id) DO UPDATE SET
    rev = excluded.rev, changed_at_ms = excluded.changed_at_ms, mark = excluded.mark, revision = revision + 1,
    first_ms = excluded.first_ms, first_seq = excluded.first_seq, last_ms = excluded.last_ms,
    is_active = excluded.is_active, deleted = 0, superseded_by = NULL, body = excluded.body
"""


def replace_sessions(
    connection: sqlite3.Connection, window: Window, works: Sequence[FileWork], now_ms: int
) -> tuple[int, list[Span]]:
    """Makes the stored sessions of a window equal to `works`; returns how many changed, and the time that moved."""
    stored = read_stored(connection, window)
    changed = [work for work in works if stored.get(work.id) != (work.first_seq, work.last_ms, work.body.decode())]
    kept = {work.id for work in works}
    vanished = {session_id: first_seq for session_id, (first_seq, _, _) in stored.items() if session_id not in kept}
    for work in changed:
        change = tick(connection, now_ms)
        connection.execute(UPSERT, (work.id, *change, *work[1:6], work.body.decode()))
    owners = find_owners(window, works)
    for session_id, first_seq in vanished.items():
        bury(connection, session_id, owners.get(first_seq), now_ms)
    before = [stored[i][2] for i in (*(work.id for work in changed), *vanished) if i in stored]
    moved = difference(read_spans(before), read_spans([work.body for work in changed]))
    return len(changed) + len(vanished), moved


def read_stored(connection: sqlite3.Connection, window: Window) -> dict[str, tuple[int, int, str]]:
    """The window's sessions as stored: first observation, end and body, by id."""
    rows = connection.execute(
        "SELECT id, first_seq, last_ms, body FROM sessions WHERE deleted = 0 AND stream = ?"
        " AND (first_ms, first_seq) >= (?, ?) AND (first_ms, first_seq) < (?, ?)",
        (window.stream, *window.start, *window.end),
    )
    return {session_id: (first_seq, last_ms, body) for session_id, first_seq, last_ms, body in rows}


def tick(connection: sqlite3.Connection, now_ms: int) -> tuple[int, int, int]:
    """The next change number and change time, which grow with every change whatever the clock does, and its mark."""
    return connection.execute(
        "UPDATE change_clock SET rev = rev + 1, changed_at_ms = max(?, changed_at_ms + 1), mark = random()"
        " RETURNING rev, changed_at_ms, mark",
        (now_ms,),
    ).fetchone()


def bury(connection: sqlite3.Connection, session_id: str, superseded_by: str | None, now_ms: int) -> None:
    """Leaves a tombstone: readers learn that the session is gone, and which one took its place."""
    connection.execute(
        "UPDATE sessions SET rev = ?, changed_at_ms = ?, mark = ?, revision = revision + 1, is_active = 0, deleted = 1,"
        " superseded_by = ? WHERE id = ?",
        (*tick(connection, now_ms), superseded_by, session_id),
    )


def find_owners(window: Window, works: Sequence[FileWork]) -> dict[int, str]:
    """The session that an observation is part of now, by the observation's number."""
    ids = {work.first_seq: work.id for work in works}
    return {
        observation.seq: ids[stretch.first.seq]
        for stretch in window.stretches
        if stretch.first.seq in ids
        for observation in stretch.observations
    }


def read_spans(bodies: Sequence[str | bytes]) -> list[Span]:
    """The time that bodies account for together."""
    return spans.union(tuple(span) for body in bodies for span in msgspec.json.decode(body)["activeSegments"])


def difference(one: list[Span], other: list[Span]) -> list[Span]:
    """The time that is in exactly one of the two."""
    return spans.union([*spans.subtract(one, other), *spans.subtract(other, one)])
