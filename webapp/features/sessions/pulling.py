"""Pulls many devices at once: threads fetch and parse, the calling thread is the only one that writes.

Small answers of many devices share a transaction. When the writer falls behind, the threads wait for it.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from time import monotonic
from typing import Any

from collector import wire
from webapp.adapters.collector_client import CollectorError
from webapp.features.devices import service as devices
from webapp.features.sessions import leases
from webapp.features.sessions.crew import AT_THE_WRITER, MOVING, Crew
from webapp.features.sessions.fetching import fetch_pages
from webapp.features.sessions.page_parts import split
from webapp.features.sessions.recounting import refresh_account
from webapp.features.sessions.relaying import RelayDesk
from webapp.features.sessions.roads import RELAYED, Collectors, Road, Route
from webapp.features.sessions.storing import Arrived, Check, store
from webapp.features.sessions.targets import Progress, Target
from webapp.lib import clock

log = logging.getLogger(__name__)

ROWS_PER_COMMIT = 1000
COMMIT_SECONDS = 0.2
PAGES_AHEAD = 64
RENEW_SECONDS = leases.LEASE.total_seconds() / 3
COUNT_SECONDS = 2.0
COUNT_PAUSE = 8.0
"""Counting that takes long is done less often: pauses are this many times as long: nothing is stored then."""
MORE_SECONDS = 1.0
LOW_WATER = 4 * MOVING
ABANDON_SECONDS = 2.0

Refill = Callable[[int, bool], Sequence[Target]]
"""More targets, told how many wait or move, and whether others that are silent keep the round from its end.

Asked about once a second, and whenever few are left."""


class Round:
    """The pulls of one call of `pull_targets`: its threads, and what they have brought."""

    def __init__(self, client: Collectors, desk: RelayDesk) -> None:
        self.client = client
        self.desk = desk
        self.arrived: Queue[Arrived] = Queue(PAGES_AHEAD)
        self.running: dict[tuple[str, int], Target] = {}
        self.begun: list[Target] = []
        self.crew = Crew(self.fetch)
        self.is_over = False

    def begin(self, targets: Sequence[Target]) -> None:
        """Takes in more targets."""
        self.running.update((target.key, target) for target in targets)
        self.begun += targets
        self.crew.add(order(targets))

    def fetch(self, target: Target) -> None:
        """One device in one thread: every page, then the end. It never touches the database."""
        progress = target.progress
        try:
            for one in read(self._choose_road(target), target):
                self._deliver(one)
        except CollectorError as error:
            progress.problem, progress.detail = error.problem, error.detail[:500]
        except Exception:
            log.exception("device %s: its pull ended unexpectedly", target.device_id)
            progress.problem = "error"
            progress.detail = "The hub could not work on what this machine sent. The worker's log has the details."
        finally:
            self._deliver(Arrived(target))

    def abandon(self) -> None:
        """Nobody stores any more: every thread is told to end, and those that wait for a machine are left behind."""
        self.is_over = True
        self.crew.stop()
        self.desk.close()
        until = monotonic() + ABANDON_SECONDS
        while not self.crew.is_idle and monotonic() < until:
            with suppress(Empty):
                self.arrived.get(timeout=0.05)

    def _choose_road(self, target: Target) -> Road:
        if target.road is None:
            return Route(self.client, self.desk, target)
        target.progress.road = target.road.name
        return target.road

    def _deliver(self, one: Arrived) -> None:
        one.target.moved_at = AT_THE_WRITER
        while not self.is_over:
            with suppress(Full):
                self.arrived.put(one, timeout=1.0)
                break
        one.target.moved_at = monotonic()


def pull_targets(
    targets: Sequence[Target],
    client: Collectors,
    *,
    desk: RelayDesk | None = None,
    refill: Refill = lambda _load, _is_held_up: (),
    watch: Callable[[Target], None] = lambda _: None,
) -> list[Progress]:
    """Pulls every target to its end, and those that `refill` adds; how each went. `watch` is told of every page.

    An error of the writer goes up; the leases that it held end by themselves.
    """
    pulls = Round(client, desk or RelayDesk())
    pulls.begin(targets)
    try:
        _write(pulls, refill, watch)
    except BaseException:
        pulls.abandon()
        raise
    return [target.progress for target in pulls.begun]


def order(targets: Sequence[Target]) -> list[Target]:
    """Those that failed last time stand behind: they are likely to keep a thread waiting."""
    return sorted(targets, key=lambda target: target.claim.failures > 0)


def read(road: Road, target: Target) -> Iterator[Arrived]:
    """Everything of one device up to the end of its pages, and what it says of its days. CollectorError."""
    position, is_first = target.position, True
    for page in fetch_pages(road, target):
        for part, weight in split(page):
            yield Arrived(target, part, weight=weight)
        if target.must_stop:
            return
        position = position if target.keeps_position else page.position
        if is_first:
            yield from check(road, target, target.plan.ask_first(position, page.has_more), is_last=False)
        is_first = False
    if not target.progress.is_more:
        yield from check(road, target, target.plan.ask_last(position, target.progress), is_last=True)


def check(road: Road, target: Target, request: wire.CoverageRequest | None, *, is_last: bool) -> Iterator[Arrived]:
    """What the device says of its days, if it is to be asked. Its failure is kept too, and fails nothing."""
    if request is None:
        return
    try:
        yield Arrived(target, check=Check(request, road.cover(request), None, is_last))
    except CollectorError as error:
        target.plan.is_unsupported = error.problem == "unsupported"
        yield Arrived(target, check=Check(request, None, error, is_last))


def _write(pulls: Round, refill: Refill, watch: Callable[[Target], None]) -> None:
    """Stores what arrives until nothing runs any more, and keeps leases and totals up while doing so."""
    stale_accounts: set[int] = set()
    filled_at = asked_at = monotonic()
    count_at = filled_at + COUNT_SECONDS
    keep_leases = Keeper(pulls)
    is_filling, running = True, pulls.running
    while running:
        batch = collect(pulls.arrived, len(running))
        if batch:
            store(batch, keep_leases)
            devices.write_endpoints(list_endpoints([one.target for one in batch if one.is_end]))
        for one in batch:
            stale_accounts.add(one.target.account_id)
            if one.is_end:
                running.pop(one.target.key, None)
            watch(one.target)
        now = monotonic()
        if now - asked_at >= COMMIT_SECONDS and running:
            pulls.desk.exchange()
            pulls.crew.tend()
            asked_at = now
        keep_leases()
        if stale_accounts and (not running or now >= count_at):
            for account_id in stale_accounts:
                refresh_account(account_id, keep_leases)
            stale_accounts.clear()
            count_at = now + max(COUNT_SECONDS, (monotonic() - now) * COUNT_PAUSE)
        load = pulls.crew.load
        if now - filled_at >= MORE_SECONDS or (is_filling and load < LOW_WATER):
            more = refill(load, pulls.crew.still > 0)
            pulls.begin(more)
            filled_at, is_filling = now, bool(more)


class Keeper:
    """Renews the leases of what runs, when called often enough. Called with anything."""

    def __init__(self, pulls: Round) -> None:
        self._pulls = pulls
        self._renewed_at = monotonic()

    def __call__(self, *_: object) -> None:
        """Renews them if it is time."""
        if monotonic() - self._renewed_at >= RENEW_SECONDS and self._pulls.running:
            leases.renew([target.claim for target in self._pulls.running.values()])
            self._renewed_at = monotonic()


def collect(arrived: Queue[Arrived], running: int) -> list[Arrived]:
    """What one transaction stores: up to ROWS_PER_COMMIT rows, or what comes within COMMIT_SECONDS."""
    batch: list[Arrived] = []
    rows = ends = 0
    until = monotonic() + COMMIT_SECONDS
    while rows < ROWS_PER_COMMIT and ends < running:
        try:
            one = arrived.get(timeout=max(0.0, until - monotonic()))
        except Empty:
            break
        batch.append(one)
        ends += one.is_end
        rows += one.weight
    return batch


def list_endpoints(targets: Sequence[Target]) -> dict[str, dict[str, Any]]:
    """By device id, the columns that say where it proved itself, or that it is not where it was; only what is news."""
    return {target.device_id: found for target in targets if (found := describe_endpoint(target))}


def describe_endpoint(target: Target) -> dict[str, Any]:
    """The same for one device."""
    progress = target.progress
    if target.is_lost or progress.road == "file":
        return {}
    problem = progress.direct_problem or (progress.problem if progress.road == "direct" else None)
    found: dict[str, Any] = {}
    if problem == "identity" and not target.is_doubtful:
        found["is_identity_doubtful"] = True
    if problem in RELAYED:
        if target.endpoint_url is not None:
            found |= {"endpoint_url": None, "endpoint_proven_at": None}
    elif progress.url is not None and (
        progress.url != target.endpoint_url or target.is_doubtful or progress.clock_skew_ms is not None
    ):
        found |= devices.describe_proof(progress.url, clock.utc_now(), progress.clock_skew_ms)
    return found
