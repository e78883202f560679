"""Calls collectors: health with proof, then exports. Nothing that opens a collector goes out before the proof.

One client serves many threads. It follows no redirect, uses no proxy, reads no more than it must, and is done with
every call in `timeout_seconds`, tries and pauses included.
"""

import logging
import random
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
from urllib3 import HTTPResponse, Timeout
from urllib3.exceptions import HTTPError, ProtocolError

from collector import wire
from webapp.adapters import collector_addresses
from webapp.adapters.collector_addresses import AddressNotAllowed
from webapp.adapters.collector_connections import Call, CollectorConnection, NotProven, calling, make_manager
from webapp.adapters.collector_errors import CollectorError, Problem, explain_failure, explain_status
from webapp.config import Config

log = logging.getLogger(__name__)

T = TypeVar("T")
Answer = TypeVar("Answer", wire.Health, wire.ExportPage, wire.CoverageAnswer)

EXPORT_PATH = "/api/sessions/export"
COVERAGE_PATH = "/api/sessions/coverage"
HEADERS = {"User-Agent": "muster-hub", "Accept": "application/json", "Accept-Encoding": "identity"}
HEALTH_LIMIT = 64 * 1024
PAGE_LIMIT = 32 * 1024 * 1024
COVERAGE_LIMIT = 2 * 1024 * 1024
CONNECT_SECONDS = 5.0
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


@dataclass(frozen=True)
class Proven:
    """A health answer whose proof was right, and whether the peer closed the connection that gave it."""

    health: wire.Health
    is_closed: bool


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
        self._manager = make_manager()
        self._met: set[str] = set()

    def close(self) -> None:
        """Closes every kept connection."""
        self._manager.clear()

    def find_endpoint(self, device_id: str, pull_secret: str, candidates: Sequence[str]) -> str:
        """The first of `candidates` where the device proves its key. CollectorError: `identity` if only somebody
        without the key claims to be it, else what is wrong with the likeliest candidate."""
        return self._until_done(lambda deadline: self._search(device_id, pull_secret, candidates, deadline))

    def check_health(self, url: str, device_id: str, pull_secret: str) -> wire.Health:
        """The health of the device at `url`, its key proven on a fresh nonce; CollectorError."""
        return self._until_done(lambda deadline: self._prove(url, device_id, pull_secret, deadline)).health

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
                self._prove(url, device_id, pull_secret, min(deadline, time.monotonic() + PROBE_SECONDS))
                return url
            except CollectorError as error:
                errors.append(error)
        if not errors:
            raise CollectorError("unreachable", "The hub does not know where this machine listens.")
        raise next((error for error in errors if error.problem == "identity"), errors[0])

    def _prove(self, url: str, device_id: str, pull_secret: str, deadline: float) -> Proven:
        nonce = wire.new_nonce()
        with calling(deadline) as call:
            answer, port = self._request(call, "GET", url, f"/api/health?challenge={nonce}")
            connection = answer.connection
            assert isinstance(connection, CollectorConnection)
            number = connection.number
            health = _read(answer, url, wire.Health, HEALTH_LIMIT)
        if health.device_id != device_id:
            raise CollectorError("unreachable", f"Another collector answers at {url}.")
        if not wire.is_health_proof(health.proof, pull_secret, nonce, device_id, port):
            detail = f"Whatever answers at {url} claims to be this machine but cannot prove its key."
            raise CollectorError("identity", detail)
        connection.prove(number)
        self._met.add(url)
        return Proven(health, is_closed=not connection.is_proven)

    def _tell(self, question: Question, kind: type[Answer], limit: int) -> Answer:
        """The answer to a question that carries a credential."""

        def ask(deadline: float) -> Answer:
            url = question.url
            if url in self._met:  # a first call has no proven connection, so it need not be tried
                with suppress(NotProven):
                    return self._ask(question, kind, limit, deadline, is_vouched=False)
            proven = self._prove(url, question.device_id, question.pull_secret, deadline)
            # A peer that closes after each answer can only be taken at its word for the next connection.
            with suppress(NotProven):
                return self._ask(question, kind, limit, deadline, is_vouched=proven.is_closed)
            raise CollectorError("unreachable", f"The connection to {url} broke off.", may_pass=True)

        return self._until_done(ask)

    def _ask(self, question: Question, kind: type[Answer], limit: int, deadline: float, *, is_vouched: bool) -> Answer:
        signed = wire.sign_call(question.pull_secret, question.device_id, question.path)
        headers = {**HEADERS, "Authorization": f"Bearer {signed}", "Content-Type": "application/json"}
        body = msgspec.json.encode(question.body)
        with calling(deadline, is_vouched=is_vouched) as call:
            answer, _ = self._request(call, "POST", question.url, question.path, body=body, headers=headers)
            return _read(answer, question.url, kind, limit)

    def _look(self, url: str) -> Sighted | None:
        try:
            with calling(time.monotonic() + SIGHT_SECONDS) as call:
                answer, _ = self._request(call, "GET", url, "/api/health")
                health = _read(answer, url, wire.Health, HEALTH_LIMIT)
        except CollectorError as error:
            log.debug("no collector at %s: %s", url, error.detail)
            return None
        return Sighted(url, health.device_id, health.name or "", health.version or "", bool(health.paired))

    def _request(self, call: Call, method: str, url: str, path: str, **options: Any) -> tuple[HTTPResponse, int]:
        """An answer of which only the head has been read, and the port that gave it."""
        try:
            host, port = self._pin(url)
        except AddressNotAllowed as error:
            raise CollectorError("address", str(error)) from error
        try:
            timeout = Timeout(connect=min(CONNECT_SECONDS, call.seconds_left))
            pool = self._manager.connection_from_host(host, port, "http")
            options = {"headers": HEADERS, **options}
            answer = pool.urlopen(
                method, path, redirect=False, preload_content=False, decode_content=False, timeout=timeout, **options
            )
        except (HTTPError, OSError) as error:
            raise explain_failure(url, error) from error
        assert isinstance(answer, HTTPResponse)
        return answer, port

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


def _read(answer: HTTPResponse, url: str, kind: type[Answer], limit: int) -> Answer:
    """The answer's body as `kind`. Whatever is not read to its end has its connection closed."""
    try:
        if answer.status != 200:
            raise explain_status(url, answer.status)
        announced = answer.headers.get("Content-Length", "0")
        body = answer.read(limit + 1) if announced.isdecimal() and int(announced) <= limit else None
        if body is None or len(body) > limit:
            raise CollectorError("too_large", f"{url} answered with more than {limit // 1024} KiB.")
        if answer.length_remaining:
            raise ProtocolError("the body ended early")
        return msgspec.json.decode(body, type=kind)
    except (HTTPError, OSError) as error:
        raise explain_failure(url, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = f"What {url} answered is not what a collector answers ({error})."
        raise CollectorError("bad_answer", reason[:500]) from error
    finally:
        answer.close()


__all__ = ["CollectorClient", "CollectorError", "Problem", "Sighted", "make_client", "read_skew_ms"]
