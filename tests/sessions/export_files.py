"""Export files for tests: written by a real collector's store, or put together line by line to be wrong."""

import gzip
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from collector import export_file, wire
from collector.runs import add_run
from collector.store import Link, Store
from collector.timeline.materialise import materialise
from collector.timeline.observation import Observation

MONDAY_MS = 1_767_603_600_000
"""2026-01-05 09:00:00 UTC."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
SECRET = "a secret of at least thirty-two characters, of one pairing"


class Laptop:
    """A collector's real database, paired; nothing listens. `work` makes sessions, `write` an export file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "collector" / "collector.db")

    def pair(self, device_id: str, pull_secret: str) -> None:
        """Takes over what a hub gave."""
        self.store.adopt_device_id(device_id)
        link = Link(
            hub_url="http://127.0.0.1:8000",
            device_id=device_id,
            token="the device token",
            pull_secret=pull_secret,
            poll_interval=5,
            hub_name="Home",
            paired_at_ms=wire.now_ms(),
        )
        self.store.save_link(link)

    def work(self, name: str, start_ms: int = MONDAY_MS, minutes: int = 2) -> None:
        """A stretch of work on one file, long over."""
        beats = [
            Observation(
                source="wakatime",
                editor=name,
                entity=f"/p/{name}.py",
                time_ms=start_ms + minute * 60_000,
                received_ms=start_ms + minute * 60_000,
            )
            for minute in range(minutes + 1)
        ]
        self.store.add_observations(beats)
        materialise(self.store, start_ms + 2 * HOUR_MS)

    def run(self, start_ms: int, end_ms: int) -> None:
        """The collector ran then."""
        with self.store.write() as connection:
            add_run(connection, start_ms, end_ms)

    def write(self, name: str = "laptop.muster", *, rows: int = 2000) -> Path:
        """An export file with so many sessions on a page."""
        path = self.folder / name
        with page_rows(rows):
            export_file.write_export_file(self.store, path)
        return path

    def list_sessions(self) -> list[dict[str, Any]]:
        """What a pull of everything brings, by id."""
        sessions: list[dict[str, Any]] = self.store.export(wire.ExportRequest(limit=5000))["sessions"]  # type: ignore[assignment]
        return sorted(sessions, key=lambda session: session["id"])


@contextmanager
def page_rows(rows: int) -> Iterator[None]:
    """Smaller pages for a while."""
    usual, export_file.PAGE_ROWS = export_file.PAGE_ROWS, rows
    try:
        yield
    finally:
        export_file.PAGE_ROWS = usual


def read_lines(path: Path) -> list[bytes]:
    """The lines of a file, with their ends."""
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def write_lines(path: Path, lines: Sequence[bytes]) -> Path:
    """A file of these lines."""
    path.write_bytes(gzip.compress(b"".join(lines)))
    return path


def sign(lines: Sequence[bytes], secret: str, **changes: Any) -> list[bytes]:
    """Head and pages with an end that fits to them."""
    pages = [msgspec.json.decode(line) for line in lines[1:]]
    tail = {
        "pages": len(pages),
        "sessions": sum(len(page["sessions"]) for page in pages),
        "since": wire.format_ms(MONDAY_MS),
        "runs": [],
        "mac": wire.export_file_mac(secret, hashlib.sha256(b"".join(lines)).digest()),
    }
    return [*lines, msgspec.json.encode(tail | changes) + b"\n"]
