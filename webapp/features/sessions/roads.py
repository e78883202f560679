"""The roads that a pull can take to a device, and how it chooses: the direct one, the relay, a file. No database."""

import time
from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from collector import wire
from webapp.adapters.collector_client import CollectorError, read_skew_ms
from webapp.features.sessions.targets import Target
from webapp.lib import clock

T = TypeVar("T")
Name = Literal["direct", "relay", "file"]

RELAY_PAGE_ROWS = 2000
RELAY_SECONDS = 25.0
"""How long a machine has to answer over its own connection: it looks for questions every few seconds."""
NEW_SECONDS = 12.0
"""The same for one that was paired a moment ago and has not looked yet."""
KNOCK_SECONDS = 3.0
FIRST_SECONDS = 8.0
"""How long a machine that reports in, or that a person waits for, has for the first answer on the direct road."""
ELSEWHERE = {"unreachable", "timeout", "identity", "bad_answer", "redirected"}
"""Problems after which the collector is looked for at its other addresses."""
RELAYED = {"unreachable", "timeout", "identity", "address"}
"""Problems of the direct road that the relay does not have."""


class Road(Protocol):
    """Brings pages and answers of one device, however they travel. Both raise CollectorError."""

    @property
    def name(self) -> Name:
        """What a pull says that it took."""

    def export(self, request: wire.ExportRequest) -> wire.ExportPage:
        """One page of its sessions."""

    def cover(self, request: wire.CoverageRequest) -> wire.CoverageAnswer:
        """What it holds of each day."""


class Collectors(Protocol):
    """What is needed of `webapp.adapters.collector_client.CollectorClient`."""

    def hurried(self, seconds: float) -> "Collectors": ...

    def find_endpoint(self, device_id: str, pull_secret: str, candidates: Sequence[str]) -> str: ...

    def check_health(self, url: str, device_id: str, pull_secret: str) -> wire.Health: ...

    def export_page(
        self, url: str, device_id: str, pull_secret: str, request: wire.ExportRequest
    ) -> wire.ExportPage: ...

    def cover_days(
        self, url: str, device_id: str, pull_secret: str, request: wire.CoverageRequest
    ) -> wire.CoverageAnswer: ...


class Desk(Protocol):
    """What is needed of `relaying.RelayDesk`."""

    def ask(self, device_id: str, op: str, args: msgspec.Struct, kind: type[T], deadline: float) -> T: ...


class DirectRoad:
    """The hub calls the machine: at its known endpoint, else wherever the machine proves its key."""

    name: Name = "direct"

    def __init__(self, client: Collectors, target: Target) -> None:
        self._client = client
        self._first = client.hurried(FIRST_SECONDS) if target.is_hurried else client
        self._target = target
        self._url: str | None = None

    def export(self, request: wire.ExportRequest) -> wire.ExportPage:
        """One page. The first question finds out where the machine is."""
        return self._ask_first(request) if self._url is None else self._ask(self._client, self._url, request)

    def cover(self, request: wire.CoverageRequest) -> wire.CoverageAnswer:
        """What it holds of each day, asked where the last page came from."""
        assert self._url is not None
        return self._client.cover_days(self._url, self._target.device_id, self._target.secret, request)

    def knock(self) -> None:
        """One short try to find the machine; CollectorError."""
        self._settle(self._client.hurried(KNOCK_SECONDS), self._target.candidates)

    def _ask_first(self, request: wire.ExportRequest) -> wire.ExportPage:
        target, url = self._target, self._target.endpoint_url
        if url is None:
            return self._ask(self._client, self._find(target.candidates), request)
        try:
            page = self._ask(self._first, url, request)
        except CollectorError as error:
            others = [other for other in target.candidates if other != url]
            if error.problem not in ELSEWHERE or not others or self._was_it(error, url):
                raise
            try:
                found = self._find(others)
            except CollectorError as elsewhere:
                raise (elsewhere if elsewhere.problem == "identity" else error) from elsewhere
            return self._ask(self._client, found, request)
        self._url = url
        return page

    def _find(self, candidates: Sequence[str]) -> str:
        """Where the machine proves its key. One that has another road is not searched for long."""
        return self._settle(self._client.hurried(KNOCK_SECONDS) if self._target.is_heard else self._client, candidates)

    def _settle(self, client: Collectors, candidates: Sequence[str]) -> str:
        self._url = client.find_endpoint(self._target.device_id, self._target.secret, candidates)
        return self._url

    def _was_it(self, error: CollectorError, url: str) -> bool:
        """Whether the machine itself gave that bad answer, and not a program that took its place."""
        if error.problem != "bad_answer":
            return False
        try:
            self._first.check_health(url, self._target.device_id, self._target.secret)
        except CollectorError:
            return False
        self._url = url
        return True

    def _ask(self, client: Collectors, url: str, request: wire.ExportRequest) -> wire.ExportPage:
        if self._target.progress.url != url:
            self._target.progress.url = url
            self._note_clock(client, url)
        return client.export_page(url, self._target.device_id, self._target.secret, request)

    def _note_clock(self, client: Collectors, url: str) -> None:
        """Now and then, how far the two clocks are apart."""
        target = self._target
        if url != target.endpoint_url or not target.is_endpoint_fresh:
            health = client.check_health(url, target.device_id, target.secret)
            target.progress.clock_skew_ms = read_skew_ms(health, clock.now_ms())


class RelayRoad:
    """The machine asks the hub what is wanted, and sends it: for one that the hub cannot reach."""

    name: Name = "relay"

    def __init__(self, desk: Desk, target: Target) -> None:
        self._desk = desk
        self._device_id = target.device_id
        self._seconds = NEW_SECONDS if target.is_new else RELAY_SECONDS

    def export(self, request: wire.ExportRequest) -> wire.ExportPage:
        """One page, a large one: each costs the machine a poll."""
        if request.limit > wire.EXPORT_DEFAULT_LIMIT:
            request = msgspec.structs.replace(request, limit=max(request.limit, RELAY_PAGE_ROWS))
        return self._ask("sessions.export", request, wire.ExportPage)

    def cover(self, request: wire.CoverageRequest) -> wire.CoverageAnswer:
        """What it holds of each day."""
        return self._ask("sessions.coverage", request, wire.CoverageAnswer)

    def _ask(self, op: str, request: msgspec.Struct, kind: type[T]) -> T:
        return self._desk.ask(self._device_id, op, request, kind, time.monotonic() + self._seconds)


class Route:
    """The road of a routine pull: direct while that leads to the machine, else the relay. One pull may take both."""

    def __init__(self, client: Collectors, desk: Desk, target: Target) -> None:
        self._direct = DirectRoad(client, target)
        self._desk = desk
        self._target = target
        self._road: DirectRoad | RelayRoad | None = None

    @property
    def name(self) -> Name:
        """The road that it is on now."""
        return self._road.name if self._road is not None else "direct"

    def export(self, request: wire.ExportRequest) -> wire.ExportPage:
        """One page; where the direct road ends, the relay goes on with the same question."""
        road = self._road or self._begin()
        try:
            return road.export(request)
        except CollectorError as error:
            if road.name != "direct" or error.problem not in RELAYED or not self._target.is_heard:
                raise
            return self._turn_for_page(error, request)

    def cover(self, request: wire.CoverageRequest) -> wire.CoverageAnswer:
        """What the machine holds of each day, asked on the road that the pages took."""
        return (self._road or self._begin()).cover(request)

    def _begin(self) -> DirectRoad | RelayRoad:
        """A machine that is on the relay stays there while it reports in, until the direct road is due for a try."""
        target = self._target
        self._road = self._direct
        if target.claim.road != "relay" or not target.is_heard:
            return self._road
        if not target.is_direct_due:
            return self._take_relay()
        try:
            self._direct.knock()
        except CollectorError as error:
            return self._turn(error)
        return self._road

    def _turn_for_page(self, error: CollectorError, request: wire.ExportRequest) -> wire.ExportPage:
        """The page by the relay. Of a new machine that does not look there either, the direct road's error is told."""
        try:
            return self._turn(error).export(request)
        except CollectorError as relayed:
            if not self._target.is_new or relayed.problem != "timeout":
                raise
            progress = self._target.progress
            progress.road, progress.direct_problem, progress.direct_detail = self._direct.name, None, None
            raise error from relayed

    def _turn(self, error: CollectorError) -> RelayRoad:
        progress = self._target.progress
        progress.direct_problem, progress.direct_detail = error.problem, error.detail[:500]
        return self._take_relay()

    def _take_relay(self) -> RelayRoad:
        self._road = relay = RelayRoad(self._desk, self._target)
        self._target.progress.road = relay.name
        return relay
