"""Pulls many devices at once: threads fetch and parse, the calling thread is the only one that writes.

Small answers of many devices share a transaction. When the writer falls behind, the threads wait for it.
"""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, Queue
from time import monotonic

from webapp.adapters.collector_client import CollectorError
from webapp.extensions import db
from webapp.features.devices import service as devices
from webapp.features.sessions import leases
from webapp.features.sessions.fetching import Collectors, fetch_pages
from webapp.features.sessions.recounting import refresh_account
from webapp.features.sessions.storing import Arrived, store
from webapp.features.sessions.targets import Progress, Target
from webapp.lib import clock

log = logging.getLogger(__name__)

THREADS = 32
ROWS_PER_COMMIT = 1000
COMMIT_SECONDS = 0.2
PAGES_AHEAD = 64
RENEW_SECONDS = leases.LEASE.total_seconds() / 3
COUNT_SECONDS = 2.0
MORE_SECONDS = 1.0
LOW_WATER = 4 * THREADS
FAR_FROM_ENDPOINT = {"unreachable", "timeout", "identity"}

Refill = Callable[[int], Sequence[Target]]
"""More targets, told how many are running; asked about once a second, and whenever few are left."""


def pull_targets(
    targets: Sequence[Target],
    client: Collectors,
    *,
    refill: Refill = lambda _: (),
    watch: Callable[[Target], None] = lambda _: None,
) -> list[Progress]:
    """Pulls every target to its end, and those that `refill` adds; how each went. `watch` is told of every page.

    An error of the writer goes up; the leases that it held end by themselves.
    """
    arrived: Queue[Arrived] = Queue(PAGES_AHEAD)
    running: dict[tuple[str, int], Target] = {}
    begun: list[Target] = []
    futures: list[Future[None]] = []
    with ThreadPoolExecutor(THREADS, thread_name_prefix="pull") as pool:

        def begin(more: Sequence[Target]) -> None:
            for target in more:
                running[target.key] = target
                begun.append(target)
                futures.append(pool.submit(fetch, client, target, arrived))

        begin(targets)
        try:
            _write(arrived, running, begin, refill, watch)
        except BaseException:
            _abandon(arrived, begun, futures)
            raise
    return [target.progress for target in begun]


def fetch(client: Collectors, target: Target, arrived: "Queue[Arrived]") -> None:
    """One device in one thread: every page, then the end. It never touches the database."""
    progress = target.progress
    try:
        for page in fetch_pages(client, target):
            arrived.put(Arrived(target, page))
            if target.is_lost:
                break
    except CollectorError as error:
        progress.problem, progress.detail = error.problem, error.detail[:500]
    except Exception:
        log.exception("device %s: its pull ended unexpectedly", target.device_id)
        progress.problem = "error"
        progress.detail = "The hub could not work on what this machine sent. The worker's log has the details."
    finally:
        arrived.put(Arrived(target, None))


def _write(
    arrived: "Queue[Arrived]",
    running: dict[tuple[str, int], Target],
    begin: Callable[[Sequence[Target]], None],
    refill: Refill,
    watch: Callable[[Target], None],
) -> None:
    """Stores what arrives until nothing runs any more, and keeps leases and totals up while doing so."""
    stale_accounts: set[int] = set()
    renewed_at = counted_at = filled_at = monotonic()
    is_filling = True
    while running:
        batch = collect(arrived, len(running))
        if batch:
            store(batch)
        for one in batch:
            stale_accounts.add(one.target.account_id)
            if one.page is None:
                running.pop(one.target.key, None)
                note_endpoint(one.target)
            watch(one.target)
        now = monotonic()
        if now - renewed_at >= RENEW_SECONDS and running:
            leases.renew([target.claim for target in running.values()])
            renewed_at = now
        if stale_accounts and (not running or now - counted_at >= COUNT_SECONDS):
            for account_id in stale_accounts:
                refresh_account(account_id)
            stale_accounts.clear()
            counted_at = now
        if now - filled_at >= MORE_SECONDS or (is_filling and len(running) < LOW_WATER):
            more = refill(len(running))
            begin(more)
            filled_at, is_filling = now, bool(more)


def collect(arrived: "Queue[Arrived]", running: int) -> list[Arrived]:
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
        ends += one.page is None
        rows += len(one.page.parsed.rows) if one.page is not None else 0
    return batch


def note_endpoint(target: Target) -> None:
    """Remembers where the device proved itself, or that it is not where it was."""
    progress = target.progress
    if target.is_lost:
        return
    if progress.problem == "identity" and not target.is_doubtful:
        devices.mark_identity(target.device_id, True)
    if progress.problem in FAR_FROM_ENDPOINT:
        if target.endpoint_url is not None:
            devices.forget_endpoint(target.device_id)
    elif progress.url is not None and (
        progress.url != target.endpoint_url or target.is_doubtful or progress.clock_skew_ms is not None
    ):
        devices.record_endpoint(target.device_id, progress.url, clock.utc_now(), clock_skew_ms=progress.clock_skew_ms)
        db.session.rollback()


def _abandon(arrived: "Queue[Arrived]", begun: Sequence[Target], futures: Sequence["Future[None]"]) -> None:
    """Lets every thread come to its end when nobody stores any more."""
    for target, future in zip(begun, futures, strict=True):
        target.is_lost = True
        future.cancel()
    while not all(future.done() for future in futures):
        with suppress(Empty):
            arrived.get(timeout=0.05)
