"""One page of the incremental export: exact by cursor, and still right for a client that only echoes `lastSyncTime`."""

import base64
import binascii
import hashlib
import hmac
import sqlite3
from typing import NamedTuple

import msgspec

from collector import wire

PAGE_BYTES = 4_000_000
"""A page ends early here, so that neither side has to hold a huge answer."""

ROW_BYTES = 300
"""More than what `as_session` adds to a body."""

KEPT_CHANGES = 500_000
"""Places that readers were told are forgotten so many changes later; who comes back with one then starts over."""

EVER = 2**62

SELECT_ROWS = "SELECT id, rev, changed_at_ms, mark, revision, deleted, superseded_by, body FROM sessions WHERE "
NEXT_ROWS = SELECT_ROWS + "rev > ? ORDER BY rev LIMIT ?"
WITHIN = (
    "SELECT id FROM sessions INDEXED BY sessions_by_start"
    " WHERE start_ms >= ? AND start_ms < ? AND rev > ? ORDER BY rev LIMIT ?"
)
NEXT_ROWS_WITHIN = SELECT_ROWS + f"id IN ({WITHIN}) ORDER BY rev"


class Position(NamedTuple):
    """A place in the order of changes: after the change number `rev`, which was made at `changed_at_ms`.

    `mark` is its random number: another history of this database may have a change with the same number and time.
    """

    rev: int
    changed_at_ms: int
    mark: int = 0


class Start(NamedTuple):
    """Where a reader goes on; `sync_ms` is its lastSyncTime if nothing follows."""

    position: Position
    sync_ms: int
    is_reset: bool


class Page(NamedTuple):
    """An answer, and the position in its `nextCursor`."""

    answer: dict[str, object]
    end: Position


START = Position(0, 0)


def export_page(
    connection: sqlite3.Connection, request: wire.ExportRequest, device_id: str, epoch: str, key: bytes
) -> Page:
    """The answer to one export request, read inside one transaction. ValueError, `field: reason`, if it is none."""
    start = find_start(connection, request, epoch, key)
    rows, has_more = read_rows(connection, start.position, request)
    end = Position(*rows[-1][1:4]) if rows else start.position
    answer: dict[str, object] = {
        "sessions": [as_session(row, device_id) for row in rows],
        "hasMore": has_more,
        "lastSyncTime": wire.format_ms(end.changed_at_ms if rows else start.sync_ms),
        "nextCursor": write_cursor(end, epoch, key),
        "epoch": epoch,
    }
    if start.is_reset:
        answer["reset"] = True
    return Page(answer, end)


def find_start(connection: sqlite3.Connection, request: wire.ExportRequest, epoch: str, key: bytes) -> Start:
    """Where the page begins, and whether the reader must start over."""
    if request.cursor is not None:
        position = find_cursor(connection, request.cursor, epoch, key)
        return Start(START, 0, True) if position is None else Start(position, position.changed_at_ms, False)
    if request.since is None:
        return Start(START, 0, False)
    return find_since(connection, read_moment("since", request.since))


def find_cursor(connection: sqlite3.Connection, cursor: str, epoch: str, key: bytes) -> Position | None:
    """The position in a cursor, None if it is not one of this database's present history; ValueError if unreadable."""
    read = read_cursor(cursor, epoch, key)
    if read is None:
        return None
    version, position = read
    is_ours = has_not_overtaken if version == "v1" else was_told
    return position if is_ours(connection, position) else None


def was_told(connection: sqlite3.Connection, position: Position) -> bool:
    """Whether this database has had this position.

    An old backup that was restored has not, even when it has grown past it since: neither does it know that it told
    it, nor did it make that change.
    """
    if position.rev == 0 or is_noted(connection, position):
        return True
    query = "SELECT 1 FROM sessions WHERE (rev, mark) = (?, ?)"
    return connection.execute(query, (position.rev, position.mark)).fetchone() is not None


def has_not_overtaken(connection: sqlite3.Connection, position: Position) -> bool:
    """The weaker check for cursors from before positions were kept: nothing up to `rev` changed after the position."""
    if position.rev > read_clock(connection).rev:
        return False
    row = connection.execute(
        "SELECT changed_at_ms FROM sessions WHERE rev <= ? ORDER BY rev DESC LIMIT 1", (position.rev,)
    ).fetchone()
    return row is None or row[0] <= position.changed_at_ms


def is_noted(connection: sqlite3.Connection, position: Position) -> bool:
    """Whether `note_told` has nothing to do."""
    query = "SELECT 1 FROM told_positions WHERE (rev, mark) = (?, ?)"
    return position.rev == 0 or connection.execute(query, (position.rev, position.mark)).fetchone() is not None


def note_told(connection: sqlite3.Connection, position: Position) -> None:
    """Keeps, inside an open write transaction, that a reader is told this position."""
    connection.execute("INSERT OR REPLACE INTO told_positions VALUES (?, ?)", (position.rev, position.mark))
    connection.execute("DELETE FROM told_positions WHERE rev < ?", (position.rev - KEPT_CHANGES,))


def find_since(connection: sqlite3.Connection, since_ms: int) -> Start:
    """The place after every change up to `since_ms`; a `since` in the future means after the newest."""
    newest = read_clock(connection)
    if since_ms >= newest.changed_at_ms:
        return Start(newest, newest.changed_at_ms, False)
    row = connection.execute(
        "SELECT rev, changed_at_ms, mark FROM sessions WHERE changed_at_ms <= ? ORDER BY changed_at_ms DESC LIMIT 1",
        (since_ms,),
    ).fetchone()
    return Start(START if row is None else Position(*row), max(since_ms, 0), False)


def read_rows(
    connection: sqlite3.Connection, position: Position, request: wire.ExportRequest
) -> tuple[list[tuple], bool]:
    """At most `limit` changes after `position`, in order, and whether there are more."""
    query = NEXT_ROWS
    values: tuple[int, ...] = (position.rev, request.limit + 1)
    if request.started_from is not None or request.started_before is not None:
        query, values = NEXT_ROWS_WITHIN, (*read_window(request), *values)
    rows: list[tuple] = []
    size = 0
    for row in connection.execute(query, values):
        size += count_bytes(row[7]) + ROW_BYTES
        if len(rows) == request.limit or (rows and size > PAGE_BYTES):
            return rows, True
        rows.append(row)
    return rows, False


def read_window(request: wire.ExportRequest) -> tuple[int, int]:
    """The half-open time in milliseconds in which sessions have to start. ValueError if a side is no time."""
    from_ms = -EVER if request.started_from is None else read_moment("from", request.started_from)
    to_ms = EVER if request.started_before is None else read_moment("to", request.started_before)
    return from_ms, to_ms


def read_moment(field: str, text: str) -> int:
    """An RFC 3339 time in milliseconds. ValueError if it is none."""
    try:
        return wire.parse_ms(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{field}: RFC 3339, e.g. 2026-01-05T13:00:00Z") from error


def count_bytes(text: str) -> int:
    """The length in UTF-8, at no cost where it is that of the text."""
    return len(text) if text.isascii() else len(text.encode())


def read_clock(connection: sqlite3.Connection) -> Position:
    """The newest change of this database."""
    return Position(*connection.execute("SELECT rev, changed_at_ms, mark FROM change_clock").fetchone())


def as_session(row: tuple, device_id: str) -> dict[str, object]:
    """A stored row as a FileSession in JSON."""
    session_id, _, changed_at_ms, _, revision, deleted, superseded_by, body = row
    session = {"id": session_id, **msgspec.json.decode(body)}
    session |= {"deviceId": device_id, "revision": revision, "changedAt": wire.format_ms(changed_at_ms)}
    if deleted:
        session |= {"deleted": True, "isActive": False}
        if superseded_by is not None:
            session["supersededBy"] = superseded_by
    return session


def write_cursor(position: Position, epoch: str, key: bytes) -> str:
    """The opaque cursor for a position."""
    text = f"v2.{epoch}.{position.rev}.{position.changed_at_ms}.{position.mark}"
    return base64.urlsafe_b64encode(f"{text}.{sign(text, key)}".encode()).rstrip(b"=").decode()


def read_cursor(cursor: str, epoch: str, key: bytes) -> tuple[str, Position] | None:
    """Version and position of a cursor, None when another database made it, ValueError when nobody did."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        signed, signature = text.rsplit(".", 1)
        version, foreign_epoch, *numbers = signed.split(".")
        position = Position(*map(int, numbers))
    except (binascii.Error, UnicodeError, ValueError, TypeError) as error:
        raise ValueError("cursor: not one that this collector made") from error
    if version not in ("v1", "v2"):
        raise ValueError("cursor: made by another version")
    if foreign_epoch != epoch:
        return None
    if not hmac.compare_digest(signature.encode(), sign(signed, key).encode()):
        raise ValueError("cursor: changed on the way")
    return version, position


def sign(text: str, key: bytes) -> str:
    """Eight bytes of HMAC in hex: enough to tell a mangled cursor, which is no secret."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:16]
