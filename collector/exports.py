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

SELECT_ROWS = "SELECT id, rev, changed_at_ms, revision, deleted, superseded_by, body FROM sessions WHERE "


class Position(NamedTuple):
    """A place in the order of changes: after the change number `rev`, which was made at `changed_at_ms`."""

    rev: int
    changed_at_ms: int


START = Position(0, 0)


def export_page(
    connection: sqlite3.Connection, request: wire.ExportRequest, device_id: str, epoch: str, key: bytes
) -> dict[str, object]:
    """The answer to one export request, read inside one transaction. ValueError for an unreadable cursor or `since`."""
    newest = read_clock(connection)
    position, is_reset = find_start(connection, request, epoch, key, newest)
    rows, has_more = read_rows(connection, position, request.limit)
    end = Position(rows[-1][1], rows[-1][2]) if rows else position
    answer: dict[str, object] = {
        "sessions": [as_session(row, device_id) for row in rows],
        "hasMore": has_more,
        "lastSyncTime": wire.format_ms(end.changed_at_ms),
        "nextCursor": write_cursor(end, epoch, key),
        "epoch": epoch,
    }
    if is_reset:
        answer["reset"] = True
    return answer


def find_start(
    connection: sqlite3.Connection, request: wire.ExportRequest, epoch: str, key: bytes, newest: Position
) -> tuple[Position, bool]:
    """Where the page begins, and whether the reader must start over."""
    if request.cursor is not None:
        position = read_cursor(request.cursor, epoch, key)
        if position is None or is_ahead(connection, position, newest):
            return START, True
        return position, False
    if request.since is None:
        return START, False
    return find_position(connection, wire.parse_ms(request.since), newest), False


def is_ahead(connection: sqlite3.Connection, position: Position, newest: Position) -> bool:
    """Whether the reader has seen changes that this database has not: an old backup was restored here.

    It shows at once while the counter is behind the reader, and by the change times once it has grown past it.
    """
    if position.rev > newest.rev:
        return True
    row = connection.execute(
        "SELECT changed_at_ms FROM sessions WHERE rev <= ? ORDER BY rev DESC LIMIT 1", (position.rev,)
    ).fetchone()
    return row is not None and row[0] > position.changed_at_ms


def find_position(connection: sqlite3.Connection, since_ms: int, newest: Position) -> Position:
    """The place after every change up to `since_ms`; a `since` in the future means after the newest."""
    if since_ms >= newest.changed_at_ms:
        return newest
    since_ms = max(since_ms, 0)
    row = connection.execute(
        "SELECT rev FROM sessions WHERE changed_at_ms <= ? ORDER BY changed_at_ms DESC LIMIT 1", (since_ms,)
    ).fetchone()
    return Position(0 if row is None else row[0], since_ms)


def read_rows(connection: sqlite3.Connection, position: Position, limit: int) -> tuple[list[tuple], bool]:
    """At most `limit` changes after `position`, in order, and whether there are more."""
    query = SELECT_ROWS + "rev > ? ORDER BY rev LIMIT ?"
    rows: list[tuple] = []
    size = 0
    for row in connection.execute(query, (position.rev, limit + 1)):
        size += len(row[6])
        if len(rows) == limit or (rows and size > PAGE_BYTES):
            return rows, True
        rows.append(row)
    return rows, False


def read_clock(connection: sqlite3.Connection) -> Position:
    """The newest change of this database."""
    return Position(*connection.execute("SELECT rev, changed_at_ms FROM change_clock").fetchone())


def as_session(row: tuple, device_id: str) -> dict[str, object]:
    """A stored row as a FileSession in JSON."""
    session_id, _, changed_at_ms, revision, deleted, superseded_by, body = row
    session = {"id": session_id, **msgspec.json.decode(body)}
    session |= {"deviceId": device_id, "revision": revision, "changedAt": wire.format_ms(changed_at_ms)}
    if deleted:
        session |= {"deleted": True, "isActive": False}
        if superseded_by is not None:
            session["supersededBy"] = superseded_by
    return session


def write_cursor(position: Position, epoch: str, key: bytes) -> str:
    """The opaque cursor for a position."""
    text = f"v1.{epoch}.{position.rev}.{position.changed_at_ms}"
    return base64.urlsafe_b64encode(f"{text}.{sign(text, key)}".encode()).rstrip(b"=").decode()


def read_cursor(cursor: str, epoch: str, key: bytes) -> Position | None:
    """The position in a cursor, None when another database made it, ValueError when nobody did."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
        signed, signature = text.rsplit(".", 1)
        version, foreign_epoch, rev, changed_at_ms = signed.split(".")
        position = Position(int(rev), int(changed_at_ms))
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise ValueError("cursor: not one that this collector made") from error
    if version != "v1":
        raise ValueError("cursor: made by another version")
    if foreign_epoch != epoch:
        return None
    if not hmac.compare_digest(signature.encode(), sign(signed, key).encode()):
        raise ValueError("cursor: changed on the way")
    return position


def sign(text: str, key: bytes) -> str:
    """Eight bytes of HMAC in hex: enough to tell a mangled cursor, which is no secret."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:16]
