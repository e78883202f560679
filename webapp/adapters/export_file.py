"""Reads an export file of a collector: streaming, bounded, and believed only when all of it proves the link's key.

A file is read twice: once to its end, to check it, and then page by page. At no time is more than a page in memory.
"""

import gzip
import hashlib
import hmac
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from collector import wire
from webapp.adapters.collector_errors import CollectorError
from webapp.adapters.export_pages import read_page

VERSION = 1
HEAD_BYTES = 4096
LINE_BYTES = 8_000_000
WHOLE_BYTES = 4 * 1024**3
MOST_PAGES = 20_000
MOST_SESSIONS = 2_000_000
"""Of each something is in memory at once, a cursor or an id: a file of tiny ones must not fill it.

A pull reads no more pages than these.
"""

NOT_ONE = "This is not an export file of a collector."
CUT_SHORT = "The file is cut short. Copy it again, whole, or write it again on the machine."
CHANGED = "The file was changed on its way, or belongs to another pairing of the machine. Write it again there."
DAMAGED = "The file was damaged on its way. Copy it again, or write it again on the machine."
NEWER = "The file was written by a newer collector than this hub can read. Update the hub first."
TOO_LARGE = "The file is larger than any that a collector writes."


class BadExportFile(CollectorError):
    """A file that cannot be believed or read; the sentence says why and what to do."""

    def __init__(self, detail: str) -> None:
        super().__init__("bad_answer", detail)


@dataclass(frozen=True)
class ExportFile:
    """A file that was checked to its end. `cursors` are the positions after its pages, in order."""

    path: Path
    head: wire.ExportFileHead
    tail: wire.ExportFileTail
    cursors: tuple[str | None, ...]
    last_sync_time: str

    def pages(self, first: int = 0) -> Iterator[wire.ExportPage]:
        """The pages from number `first` (from 0) on, one in memory at a time; close it to close the file."""
        with closing(read_lines(self.path)) as lines:
            next(lines)
            for number in range(self.tail.pages):
                line = next(lines, b"")
                if number >= first:
                    yield decode_page(line)


def read_head(path: Path) -> wire.ExportFileHead:
    """The first line, which is a claim until the file was checked. BadExportFile if it is none of ours."""
    with closing(read_lines(path)) as lines:
        return decode_head(next(lines, b""))


def open_export_file(path: Path, device_id: str, pull_secret: str) -> ExportFile:
    """The file at `path`, checked to its end: of this device, complete, and signed with its key. BadExportFile."""
    digest = hashlib.sha256()
    cursors: list[str | None] = []
    sessions, last_sync_time = 0, ""
    with closing(read_lines(path)) as lines:
        line = next(lines, b"")
        head = decode_head(line)
        if head.device_id != device_id:
            raise BadExportFile("The file comes from another machine. Import it on that machine's page.")
        last = b""
        for following in lines:
            digest.update(line)
            if last:
                page = decode_page(last)
                cursors.append(page.next_cursor)
                sessions += len(page.sessions)
                last_sync_time = page.last_sync_time
                if len(cursors) > MOST_PAGES or sessions > MOST_SESSIONS:
                    raise BadExportFile(TOO_LARGE)
            last = line = following
    tail = decode_tail(last)
    expected = wire.export_file_mac(pull_secret, digest.digest())
    if not hmac.compare_digest(tail.mac, expected):
        raise BadExportFile(CHANGED)
    if not cursors or (tail.pages, tail.sessions) != (len(cursors), sessions):
        raise BadExportFile(CUT_SHORT)
    return ExportFile(path, head, tail, tuple(cursors), last_sync_time)


def read_lines(path: Path) -> Generator[bytes, None, None]:
    """The lines, unpacked as they are needed, the first of at most HEAD_BYTES. BadExportFile for what is no gzip, or
    too much: a line of more than LINE_BYTES, or WHOLE_BYTES in all."""
    longest, whole = HEAD_BYTES, 0
    try:
        with path.open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
            while line := unpacked.readline(longest + 1):
                whole += len(line)
                if len(line) > longest or whole > WHOLE_BYTES:
                    raise BadExportFile(NOT_ONE if longest == HEAD_BYTES else TOO_LARGE)
                yield line
                longest = LINE_BYTES
    except EOFError as error:
        raise BadExportFile(CUT_SHORT) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise BadExportFile(DAMAGED if whole else NOT_ONE) from error
    except OSError as error:  # such as one that was put there by another user, and only that one may read
        raise BadExportFile(f"The hub cannot read the file: {error.strerror or error}.") from error


def decode_head(line: bytes) -> wire.ExportFileHead:
    """The first line; its version is looked at before its other fields, which a newer one may have changed."""
    try:
        version = msgspec.json.decode(line, type=_Versioned).version
        if version > VERSION:
            raise BadExportFile(NEWER)
        return msgspec.json.decode(line, type=wire.ExportFileHead)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadExportFile(NOT_ONE) from error


def decode_page(line: bytes) -> wire.ExportPage:
    """One page."""
    try:
        return read_page(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadExportFile(CHANGED) from error


def decode_tail(line: bytes) -> wire.ExportFileTail:
    """The last line. Where it is something else, the end is missing."""
    try:
        return msgspec.json.decode(line, type=wire.ExportFileTail)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadExportFile(CUT_SHORT) from error


class _Versioned(msgspec.Struct):
    """What every version's first line has."""

    version: int
