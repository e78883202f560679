"""The export as one file: the pages of `POST /api/sessions/export`, signed, for a hub that no network reaches."""

import gzip
import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from collector import __version__, wire
from collector.runs import list_runs
from collector.store import Store

VERSION = 1
SUFFIX = ".muster"
PAGE_ROWS = 2000


class ExportFileError(Exception):
    """No file was written; the message says why and what to do."""


@dataclass(frozen=True)
class Written:
    """What the file holds: `sessions` counts tombstones too, `size` is in bytes on the disk."""

    sessions: int
    pages: int
    size: int


class Lines:
    """Writes JSON lines and keeps the digest of them all, line ends included."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def write(self, value: object) -> None:
        """Adds one line."""
        line = msgspec.json.encode(value) + b"\n"
        self._stream.write(line)
        self._digest.update(line)

    def digest(self) -> bytes:
        """The SHA-256 of every line so far."""
        return self._digest.digest()


def write_export_file(store: Store, target: Path) -> Written:
    """Writes everything that the store holds into `target`, whole or not at all; one read transaction per page.

    What changes while it writes stands again on a later page. ExportFileError when it is not paired, or cannot write.
    """
    link = store.find_link()
    if link is None:
        raise ExportFileError("This machine is not paired, so no hub could believe the file. Pair it first.")
    try:
        with whole_file(target) as stream, gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed:
            sessions, pages = write_lines(store, Lines(packed), link.pull_secret)
        return Written(sessions, pages, target.stat().st_size)
    except OSError as error:
        raise ExportFileError(f"{target} cannot be written: {error.strerror or error}.") from error


def write_lines(store: Store, lines: Lines, pull_secret: str) -> tuple[int, int]:
    """Head, pages, tail; how many sessions and pages. ExportFileError when the database was begun anew meanwhile."""
    identity = store.identity
    head = wire.ExportFileHead(
        format="muster-export",
        version=VERSION,
        device_id=identity.device_id,
        epoch=identity.epoch,
        created_at=wire.format_ms(wire.now_ms()),
        collector_version=__version__,
    )
    lines.write(head)
    sessions = pages = 0
    for page in read_pages(store):
        if page["epoch"] != identity.epoch or page.get("reset"):
            raise ExportFileError("This machine was paired again while the file was written. Run it once more.")
        lines.write(page)
        sessions, pages = sessions + len(page["sessions"]), pages + 1
    with store.read() as connection:
        runs = list_runs(connection, 0, wire.now_ms())
    mac = wire.export_file_mac(pull_secret, lines.digest())
    since = wire.format_ms(store.since_ms)
    lines.write(wire.ExportFileTail(pages=pages, sessions=sessions, since=since, runs=list(runs), mac=mac))
    return sessions, pages


def read_pages(store: Store) -> Iterator[dict]:
    """Every page from the beginning."""
    cursor: str | None = None
    while True:
        page: dict = store.export(wire.ExportRequest(limit=PAGE_ROWS, cursor=cursor))
        yield page
        if not page["hasMore"]:
            return
        cursor = page["nextCursor"]


@contextmanager
def whole_file(target: Path) -> Iterator[BinaryIO]:
    """A private file beside `target` that takes its place when the block ends well, and is gone when it does not."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Puts the new name on the disk too, where the system can (Windows cannot open a folder)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
