"""Calls collectors: health with proof, then exports. Nothing that opens a collector goes out before the proof.

One client serves many threads. It follows no redirect, uses no proxy, reads no more than it must, and is done with
every call in `timeout_seconds`, tries and pauses included.
"""

import copy
import logging
import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import msgspec

from collector import wire
from webapp.adapters import collector_addresses
from webapp.adapters.collector_addresses import AddressNotAllowed
from webapp.adapters.collector_connections import Address, BrokeOff, Connection, Connections, Reply, TooLarge
from webapp.adapters.collector_errors import CollectorError, Problem, explain_failure, explain_status
from webapp.adapters.export_pages import read_answer
from webapp.config import Config

log = logging.getLogger(__name__)

T = TypeVar("T")
Answer = TypeVar("Answer", wire.Health, wire.ExportPage, wire.CoverageAnswer)

EXPORT_PATH = "/api/sessions/export"
COVERAGE_PATH = "/api/sessions/coverage"
HEADERS = {"User-Agent": "muster-hub", "Accept": "application/json", "Accept-Encoding": "identity"}
HEALTH_LIMIT = 64 * 1024
PAGE_LIMIT = 16 * 1024 * 1024
COVERAGE_LIMIT = 2 * 1024 * 1024
PROBE_SECONDS = 3.0
SIGHT_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
SIGHT_THREADS = 16


@dataclass(frozen=True)
class Sighted:
    """What answered at `url` like a collector. Everything else is its claim."""

    url: str
    device_id: str
    name: str
    version: str
    is_paired: bool


@dataclass(frozen=True)
class Question:
    """A call that carries a credential: to the device at `url`, with a body."""

    url: str
    device_id: str
    pull_secret: str
    path: str
    body: msgspec.Struct


class CollectorClient:
    """See the module. `names` are the host names that may be called besides IP addresses."""

    def __init__(
        self,
        *,
        timeout_seconds: float = 30.0,
        attempts: int = 3,
        names: Collection[str] = (),
        resolve: collector_addresses.Resolve = collector_addresses.resolve,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._pin = partial(collector_addresses.pin, names=names, resolve=resolve)
        self._connections = Connections()

    def close(self) -> None:
        """Closes every kept connection."""
        self._connections.close()

    def hurried(self, seconds: float) -> Self:
        """The same client, on the same connections, that gives each call one try of at most `seconds`."""
        hurried = copy.copy(self)
        hurried._timeout_seconds, hurried._attempts = min(seconds, self._timeout_seconds), 1
        return hurried

    def find_endpoint(self, device_id: str, pull_secret: str, candidates: Sequence[str]) -> str:
        """The first of `candidates` where the device proves its key. CollectorError: `identity` if only somebody
        without the key claims to be it, else what is wrong with the likeliest candidate."""
        return self._until_done(lambda deadline: self._search(device_id, pull_secret, candidates, deadline))

    def check_health(self, url: str, device_id: str, pull_secret: str) -> wire.Health:
        """The health of the device at `url`, its key proven on a fresh nonce; CollectorError."""
        return self._until_done(lambda deadline: self._check(url, device_id, pull_secret, deadline))

    def export_page(self, url: str, device_id: str, pull_secret: str, request: wire.ExportRequest) -> wire.ExportPage:
        """One page of the device's sessions. A connection that has not proven the key does so first; CollectorError."""
        return self._tell(Question(url, device_id, pull_secret, EXPORT_PATH, request), wire.ExportPage, PAGE_LIMIT)

    def cover_days(
        self, url: str, device_id: str, pull_secret: str, request: wire.CoverageRequest
    ) -> wire.CoverageAnswer:
        """What the device holds of each day; CollectorError, `unsupported` from a collector that does not know this."""
        question = Question(url, device_id, pull_secret, COVERAGE_PATH, request)
        try:
            return self._tell(question, wire.CoverageAnswer, COVERAGE_LIMIT)
        except CollectorError as error:
            if error.status in (404, 405):
                detail = "Its collector cannot say what it holds of each day. Update it to have its days proven."
                raise CollectorError("unsupported", detail) from error
            raise

    def sight(self, urls: Sequence[str]) -> list[Sighted]:
        """Who answers like a collector at `urls`, asked all at once, without any credential or challenge."""
        if not urls:
            return []
        with ThreadPoolExecutor(min(len(urls), SIGHT_THREADS)) as pool:
            return [sighted for sighted in pool.map(self._look, urls) if sighted is not None]

    def _search(self, device_id: str, pull_secret: str, candidates: Sequence[str], deadline: float) -> str:
        errors: list[CollectorError] = []
        for url in candidates:
            try:
                self._check(url, device_id, pull_secret, min(deadline, time.monotonic() + PROBE_SECONDS))
                return url
            except CollectorError as error:
                errors.append(error)
        if not errors:
            raise CollectorError("unreachable", "The hub does not know where this machine listens.")
        raise next((error for error in errors if error.problem == "identity"), errors[0])

    def _check(self, url: str, device_id: str, pull_secret: str, deadline: float) -> wire.Health:
        with self._connections.borrow(self._find(url)) as connection:
            return _prove(connection, url, device_id, pull_secret, deadline)

    def _tell(self, question: Question, kind: type[Answer], limit: int) -> Answer:
        """The answer to a question that carries a credential."""

        def ask(deadline: float) -> Answer:
            with self._connections.borrow(self._find(question.url)) as connection:
                if not connection.is_proven:
                    _prove(connection, question.url, question.device_id, question.pull_secret, deadline)
                # A peer that closes after each answer can only be taken at its word for the very next connection.
                return _ask(connection, question, kind, limit, deadline)

        return self._until_done(ask)

    def _look(self, url: str) -> Sighted | None:
        try:
            with self._connections.borrow(self._find(url)) as connection:
                health = _ask_health(connection, url, "/api/health", time.monotonic() + SIGHT_SECONDS)
        except CollectorError as error:
            log.debug("no collector at %s: %s", url, error.detail)
            return None
        return Sighted(url, health.device_id, health.name or "", health.version or "", bool(health.paired))

    def _find(self, url: str) -> Address:
        try:
            return self._pin(url)
        except AddressNotAllowed as error:
            raise CollectorError("address", str(error)) from error

    def _until_done(self, attempt: Callable[[float], T]) -> T:
        """What `attempt(deadline)` returns, tried again after a pause while its error may pass and time is left."""
        deadline = time.monotonic() + self._timeout_seconds
        for tried in range(1, self._attempts + 1):
            try:
                return attempt(deadline)
            except CollectorError as error:
                longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (tried - 1))
                pause = random.uniform(0, longest)  # noqa: S311  (spreads load, guards nothing)
                if not error.may_pass or tried == self._attempts or time.monotonic() + pause >= deadline:
                    raise
                log.debug("%s Trying again in %.2f s.", error.detail, pause)
                time.sleep(pause)
        raise AssertionError("an attempt returns or raises")


def make_client(config: Config) -> CollectorClient:
    """A client as the hub is configured."""
    return CollectorClient(
        timeout_seconds=config.collector_timeout_seconds,
        attempts=config.collector_retry_attempts,
        names=config.discovery_hosts,
    )


def read_skew_ms(health: wire.Health, now_ms: int) -> int | None:
    """How far the collector's clock is ahead of ours (`now_ms`); None if it does not tell the time."""
    try:
        return wire.parse_ms(health.timestamp) - now_ms
    except ValueError:
        return None


def _prove(connection: Connection, url: str, device_id: str, pull_secret: str, deadline: float) -> wire.Health:
    """Has the peer prove the key on a fresh nonce; CollectorError."""
    nonce = wire.new_nonce()
    health = _ask_health(connection, url, f"/api/health?challenge={nonce}", deadline)
    if health.device_id != device_id:
        raise CollectorError("unreachable", f"Another collector answers at {url}.")
    if not wire.is_health_proof(health.proof, pull_secret, nonce, device_id, connection.address[1]):
        detail = f"Whatever answers at {url} claims to be this machine but cannot prove its key."
        raise CollectorError("identity", detail)
    connection.is_proven = connection.is_open
    return health


def _ask_health(connection: Connection, url: str, path: str, deadline: float) -> wire.Health:
    with _explaining(url, HEALTH_LIMIT):
        return _read(connection.ask("GET", path, HEADERS, deadline, HEALTH_LIMIT), url, wire.Health)


def _ask(connection: Connection, question: Question, kind: type[Answer], limit: int, deadline: float) -> Answer:
    """Sends the credential: only on a connection whose peer has proven the key, or just after it closed such a one."""
    signed = wire.sign_call(question.pull_secret, question.device_id, question.path)
    headers = {**HEADERS, "Authorization": f"Bearer {signed}", "Content-Type": "application/json"}
    body = msgspec.json.encode(question.body)
    with _explaining(question.url, limit):
        return _read(connection.ask("POST", question.path, headers, deadline, limit, body), question.url, kind)


def _read(reply: Reply, url: str, kind: type[Answer]) -> Answer:
    if reply.status != 200:
        raise explain_status(url, reply.status)
    return read_answer(reply.body, kind)


@contextmanager
def _explaining(url: str, limit: int) -> Iterator[None]:
    """What goes wrong inside becomes a CollectorError."""
    try:
        yield
    except TooLarge as error:
        raise CollectorError("too_large", f"{url} answered with more than {limit // 1024} KiB.") from error
    except (OSError, BrokeOff) as error:
        raise explain_failure(url, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = f"What {url} answered is not what a collector answers ({error})."
        raise CollectorError("bad_answer", reason[:500]) from error


__all__ = ["CollectorClient", "CollectorError", "Problem", "Sighted", "make_client", "read_skew_ms"]
