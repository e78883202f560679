"""Hand-written stand-ins for what leaves the process, with the signatures of the real ones."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import msgspec

from collector import wire
from tests.collectors import Json
from webapp.adapters.collector_client import CollectorError, Sighted


@dataclass
class FakeMachine:
    """A collector in memory: its pages in the order in which they are handed out, then empty ones.

    `problem` is raised instead of any answer; `page_problems` by page number (from 0) instead of that page, once each.
    """

    device_id: str
    pages: list[Json] = field(default_factory=list)
    problem: CollectorError | None = None
    page_problems: dict[int, CollectorError] = field(default_factory=dict)
    answer_seconds: float = 0.0
    asked: list[wire.ExportRequest] = field(default_factory=list)
    covered: list[wire.CoverageRequest] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    skew_ms: int = 0
    coverage: wire.CoverageAnswer | None = None


class FakeCollectorClient:
    """Machines by URL. `calls` tells which method was called for which URL, in order."""

    def __init__(self, machines: dict[str, FakeMachine] | None = None) -> None:
        self.machines = machines or {}
        self.calls: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Nothing is open."""

    def hurried(self, seconds: float) -> Self:
        """Machines in memory need no hurry."""
        return self

    def find_endpoint(self, device_id: str, pull_secret: str, candidates: Sequence[str]) -> str:
        """The first candidate with that machine."""
        errors = []
        for url in candidates:
            try:
                self._meet("find_endpoint", url, device_id, pull_secret)
                return url
            except CollectorError as error:
                errors.append(error)
        raise (
            errors[0] if errors else CollectorError("unreachable", "The hub does not know where this machine listens.")
        )

    def check_health(self, url: str, device_id: str, pull_secret: str) -> wire.Health:
        """The machine's health."""
        machine = self._meet("check_health", url, device_id, pull_secret)
        told = wire.format_ms(wire.now_ms() + machine.skew_ms)
        return wire.Health(status="healthy", device_id=device_id, timestamp=told, version="0.1.0", paired=True)

    def export_page(self, url: str, device_id: str, pull_secret: str, request: wire.ExportRequest) -> wire.ExportPage:
        """The machine's next page."""
        machine = self._meet("export_page", url, device_id, pull_secret)
        number = len(machine.asked)
        if number in machine.page_problems:
            raise machine.page_problems.pop(number)
        machine.asked.append(request)
        last = request.since or "1970-01-01T00:00:00.000Z"
        empty = {"sessions": [], "hasMore": False, "lastSyncTime": last, "nextCursor": request.cursor}
        page = machine.pages[number] if number < len(machine.pages) else empty
        return msgspec.json.decode(msgspec.json.encode(page), type=wire.ExportPage)

    def cover_days(
        self, url: str, device_id: str, pull_secret: str, request: wire.CoverageRequest
    ) -> wire.CoverageAnswer:
        """What the machine was told to say of its days, else that it does not know this call."""
        machine = self._meet("cover_days", url, device_id, pull_secret)
        machine.covered.append(request)
        if machine.coverage is None:
            raise CollectorError("unsupported", "Its collector cannot say what it holds of each day.", status=404)
        return machine.coverage

    def sight(self, urls: Sequence[str]) -> list[Sighted]:
        """The machines at `urls` that answer."""
        found = [(url, self.machines[url]) for url in urls if url in self.machines]
        return [Sighted(url, seen.device_id, "fake", "0.1.0", False) for url, seen in found if seen.problem is None]

    def _meet(self, call: str, url: str, device_id: str, pull_secret: str) -> FakeMachine:
        with self._lock:
            self.calls.append((call, url))
            machine = self.machines.get(url)
        if machine is None:
            raise CollectorError("unreachable", f"Nothing answers at {url}. Is the collector running?", may_pass=True)
        time.sleep(machine.answer_seconds)
        if machine.problem is not None:
            raise machine.problem
        if machine.device_id != device_id:
            raise CollectorError("unreachable", f"Another collector answers at {url}.")
        machine.secrets.append(pull_secret)
        return machine
