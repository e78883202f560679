"""What the scan saw last, in the store: the only way to know what changed while nobody was looking."""

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple


class FileStamp(NamedTuple):
    """What tells that a file is not the same any more."""

    size: int
    mtime_ns: int
    inode: int


Listing = dict[str, FileStamp]
"""The files of one folder by name."""


def read_listing(connection: sqlite3.Connection, path_id: int, folder: str) -> Listing:
    """The files of a folder as they were."""
    rows = connection.execute(
        "SELECT name, size, mtime_ns, inode FROM manifest WHERE path_id = ? AND folder = ?", (path_id, folder)
    )
    return {name: FileStamp(*stamp) for name, *stamp in rows}


def write_listing(connection: sqlite3.Connection, path_id: int, folder: str, before: Listing, now: Listing) -> None:
    """Makes the manifest of a folder equal to `now`, where it was `before`."""
    gone = [(path_id, folder, name) for name in before.keys() - now.keys()]
    changed = [(path_id, folder, name, *stamp) for name, stamp in now.items() if before.get(name) != stamp]
    connection.executemany("DELETE FROM manifest WHERE path_id = ? AND folder = ? AND name = ?", gone)
    connection.executemany("INSERT OR REPLACE INTO manifest VALUES (?, ?, ?, ?, ?, ?)", changed)


def list_folders(connection: sqlite3.Connection, path_id: int) -> set[str]:
    """Every folder in which files are known."""
    rows = connection.execute("SELECT DISTINCT folder FROM manifest WHERE path_id = ?", (path_id,))
    return {folder for (folder,) in rows}


def forget_folders(connection: sqlite3.Connection, path_id: int, folders: Iterable[str]) -> None:
    """Drops folders that are no longer there."""
    connection.executemany(
        "DELETE FROM manifest WHERE path_id = ? AND folder = ?", [(path_id, folder) for folder in folders]
    )


def is_empty(connection: sqlite3.Connection, path_id: int) -> bool:
    """Whether no file is known below a path."""
    return connection.execute("SELECT 1 FROM manifest WHERE path_id = ?", (path_id,)).fetchone() is None


def last_scan_ms(connection: sqlite3.Connection, path_id: int) -> int | None:
    """When a path was last looked through completely, None before the first time."""
    row = connection.execute("SELECT finished_ms FROM scans WHERE path_id = ?", (path_id,)).fetchone()
    return None if row is None else row[0]


def note_scan(connection: sqlite3.Connection, path_id: int, finished_ms: int) -> None:
    """Notes that a path was looked through completely."""
    # A path that was removed meanwhile must not leave a row behind that a later path could inherit.
    connection.execute("INSERT OR REPLACE INTO scans SELECT id, ? FROM paths WHERE id = ?", (finished_ms, path_id))
