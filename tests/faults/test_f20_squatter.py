"""F20: somebody else listens where a collector should, and learns nothing that opens anything, however often.

Each round picks one hostile server and one moment at random: it listens where the hub searches, or it takes over the
collector's port between proof and export. Another machine is pulled all the while, and must not notice.
"""

import itertools
import os
import random
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from collector import wire
from tests.collectors import Collector, ExactCollector, Received, make_session
from tests.squatters import Dripping, Forger, Html, Huge, Redirecting, Relay, Squatter
from webapp.adapters import collector_client
from webapp.adapters.collector_client import CollectorClient, CollectorError

ROUNDS = 1000 if os.environ.get("MUSTER_FAULTS") == "full" else 80
SEED = int(os.environ.get("MUSTER_SEED") or secrets.randbelow(1 << 32))
JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
"""Its dots tell it from a nonce, which is random and holds `eyJ` now and then."""
PLAIN_HEADERS = {"Host", "Accept-Encoding", "Accept", "User-Agent"}
NEIGHBOUR_SECONDS = 2.0


@dataclass
class Tally:
    """What happened, for the figures at the end."""

    problems: Counter[str] = field(default_factory=Counter)
    learned: list[str] = field(default_factory=list)
    requests: int = 0
    nonces: set[str] = field(default_factory=set)

    def examine(self, squatter: Collector, pull_secret: str) -> None:
        """Everything that the squatter was told must be a bare question with a nonce never used before."""
        for request in squatter.received:
            self.requests += 1
            nonces = [nonce for values in request.query.values() for nonce in values]
            is_bare = not request.body and set(request.headers) <= PLAIN_HEADERS and set(request.query) <= {"challenge"}
            is_fresh = not self.nonces & set(nonces)
            self.nonces.update(nonces)
            if not (is_bare and is_fresh) or is_telling(request, pull_secret):
                self.learned.append(request.text)


def is_telling(request: Received, pull_secret: str) -> bool:
    """Whether a request holds a credential, the key, or a good part of it."""
    parts = {pull_secret[start : start + 12] for start in range(len(pull_secret) - 11)}
    has_credential = "authorization" in {name.lower() for name in request.headers} or JWT.search(request.text)
    return bool(has_credential) or any(part in request.text for part in parts)


class Neighbour(threading.Thread):
    """Pulls an honest machine again and again; remembers the slowest pull and everything that went wrong."""

    def __init__(self, client: CollectorClient, collector: ExactCollector) -> None:
        super().__init__(daemon=True)
        self.client, self.collector = client, collector
        self.over = threading.Event()
        self.pulls, self.slowest_seconds = 0, 0.0
        self.errors: list[str] = []

    def run(self) -> None:
        """Until it is over."""
        while not self.over.is_set():
            began = time.monotonic()
            try:
                self._pull()
            except CollectorError as error:
                self.errors.append(error.detail)
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)
            self.pulls += 1
            self.over.wait(0.02)

    def _pull(self) -> None:
        mine = (self.collector.device_id, self.collector.pull_secret)
        url = self.client.find_endpoint(*mine, [self.collector.url])
        page = self.client.export_page(url, *mine, wire.ExportRequest(limit=100))
        if len(page.sessions) != len(self.collector.sessions):
            self.errors.append(f"{len(page.sessions)} sessions")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[CollectorClient]:
    """A client that gives up soon, so that the slow squatters do not take all day."""
    for name, seconds in (("PROBE_SECONDS", 0.15), ("SIGHT_SECONDS", 0.15), ("FIRST_PAUSE_SECONDS", 0.001)):
        monkeypatch.setattr(collector_client, name, seconds)
    monkeypatch.setattr("tests.squatters.DRIP_SECONDS", 0.02)
    made = CollectorClient(timeout_seconds=1.0, attempts=2, names=("desk.lan",), resolve=_rebinding())
    yield made
    made.close()


@pytest.mark.faults
def test_squatter_learns_nothing(client: CollectorClient) -> None:
    dice, tally = random.Random(SEED), Tally()
    honest = ExactCollector()
    honest.put(*(make_session(number) for number in range(50)))
    with honest, ExactCollector() as victim:
        victim.put(make_session(0))
        neighbour_client = CollectorClient(timeout_seconds=10)
        neighbour = Neighbour(neighbour_client, honest)
        neighbour.start()
        for number in range(ROUNDS):
            with _make_squatter(dice, victim) as squatter:
                _play(dice, number, client, victim, squatter, tally)
            tally.examine(squatter, victim.pull_secret)
        neighbour.over.set()
        neighbour.join()
        neighbour_client.close()
    print(
        f"\nF20: {ROUNDS} rounds, seed {SEED}: squatters got {tally.requests} requests, {len(tally.learned)} secrets; "
        f"{dict(tally.problems)}; neighbour pulled {neighbour.pulls} times, slowest {neighbour.slowest_seconds:.3f} s, "
        f"{len(neighbour.errors)} failed"
    )
    assert tally.learned == []
    assert tally.requests >= ROUNDS / 2
    assert tally.problems["identity"] > 0
    assert tally.problems["stored"] == 0
    assert neighbour.errors == []
    assert neighbour.pulls > 0
    assert neighbour.slowest_seconds < NEIGHBOUR_SECONDS


@pytest.mark.faults
@pytest.mark.parametrize("where", ["header", "query", "body"])
def test_credential_that_leaks_would_be_noticed(where: str) -> None:
    key = secrets.token_urlsafe(32)
    token = wire.sign_call(key, "device", "/api/sessions/export")
    headers = {"Authorization": f"Bearer {token}"} if where == "header" else {}
    query = {"challenge": [token]} if where == "query" else {}
    body = token.encode() if where == "body" else b""
    assert is_telling(Received("GET", "/api/health", query, headers, body), key)
    assert is_telling(Received("GET", "/api/health", {"challenge": [key[5:20]]}, {}, b""), key)
    assert not is_telling(
        Received("GET", "/api/health", {"challenge": ["u_IN0jeuushHq5eyJSukfF8ZpYDLXoNL"]}, {}, b""), key
    )


@pytest.mark.faults
def test_export_in_the_wrong_place_would_be_noticed() -> None:
    tally = Tally()
    with ExactCollector() as collector:
        client = CollectorClient(timeout_seconds=5)
        client.export_page(collector.url, collector.device_id, collector.pull_secret, wire.ExportRequest())
        client.close()
    tally.examine(collector, collector.pull_secret)
    assert len(tally.learned) == 1


def _play(
    dice: random.Random, number: int, client: CollectorClient, victim: Collector, squatter: Collector, tally: Tally
) -> None:
    """One discovery or pull in which `squatter` stands where `victim` should."""
    who = (victim.device_id, victim.pull_secret)
    port = squatter.port
    move = dice.choice(("search", "search", "pull", "sight", "name", "takeover"))
    try:
        if move == "sight":
            client.sight([squatter.url])
        elif move == "search":
            client.find_endpoint(*who, [squatter.url, f"http://localhost:{port}"])
        elif move == "pull":
            client.export_page(squatter.url, *who, wire.ExportRequest())
        elif move == "name":
            client.check_health(f"http://desk.lan:{port}", *who)
        else:
            _take_over(client, victim, squatter)
        tally.problems["sighted" if move == "sight" else "stored"] += 1
    except CollectorError as error:
        tally.problems[error.problem] += 1


def _take_over(client: CollectorClient, victim: Collector, squatter: Collector) -> None:
    """The collector proves its key, dies, and the squatter has its port before the export goes out."""
    who = (victim.device_id, victim.pull_secret)
    squatter.stop()
    with ExactCollector(device_id=victim.device_id, pull_secret=victim.pull_secret, port=squatter.port) as real:
        client.check_health(real.url, *who)
    squatter.start()
    client.export_page(squatter.url, *who, wire.ExportRequest())


def _make_squatter(dice: random.Random, victim: ExactCollector) -> Collector:
    """A hostile server that claims to be `victim` as well as it can."""
    kind = dice.choice((Squatter, Squatter, Forger, Relay, Redirecting, Html, Huge, Dripping))
    if kind is Relay:
        return Relay(victim)
    if kind is Redirecting:
        return Redirecting(victim.url, device_id=victim.device_id)
    if kind is Huge:
        return Huge(device_id=victim.device_id, is_announced=dice.random() < 0.5)
    if kind is Dripping:
        return Dripping(device_id=victim.device_id, is_in_header=dice.random() < 0.5)
    return kind(device_id=victim.device_id)


def _rebinding() -> Callable[[str], list[str]]:
    """A resolver that names this machine and a metadata service in turn."""
    answers = itertools.cycle((["127.0.0.1"], ["169.254.169.254"]))
    return lambda _: next(answers)
