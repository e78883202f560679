"""Requests that come with a poll: run once, answered over the collector's own connection, and never in its way."""

import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from collector import wire
from collector.api.hub_calls import answer_relayed
from collector.link import pairing, relayed
from collector.link.hub import Hub
from collector.link.poller import Poller
from collector.link.relayed import RelayedRequests, Waiting
from collector.running import Running
from collector.store import Store
from tests.collector.api_fixtures import *  # noqa: F403 - fixtures
from tests.collector.api_fixtures import make_observation
from tests.collector.fake_hub import RIGHT_CODE, FakeHub, fake_hub  # noqa: F401 - fixture

# ruff: noqa: F811

HOUR_MS = 3_600_000


class Answering:
    """Answers requests with their own words, slowly where a test says so; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, op: str, args: dict[str, Any]) -> bytes:
        self.asked.append((op, args))
        assert self.may_go_on.wait(10)
        return b'{"op": "%s"}' % op.encode()


@pytest.fixture
def answering() -> Answering:
    return Answering()


@pytest.fixture
def paired(store: Store, fake_hub: FakeHub) -> FakeHub:
    pairing.pair(store, fake_hub.url, RIGHT_CODE, 8003)
    return fake_hub


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relayed, "PAUSES_SECONDS", (0.01, 0.01, 0.01))


@pytest.fixture
def requests(answering: Answering) -> RelayedRequests:
    """Without a thread; tests serve by hand."""
    return RelayedRequests(answering, lambda: None)


@pytest.fixture
def poller(store: Store, requests: RelayedRequests) -> Poller:
    return Poller(store, dict, lambda: None, requests)


@pytest.fixture
def threads(paired: FakeHub, store: Store, answering: Answering) -> Iterator[Poller]:
    """A poller and the thread of its relayed requests, both running."""
    made = RelayedRequests(answering, lambda: poller.wake())
    poller = Poller(store, dict, lambda: None, made)
    running = [threading.Thread(target=part.run) for part in (poller, made)]
    for thread in running:
        thread.start()
    yield poller
    answering.may_go_on.set()
    poller.stop()
    made.stop()
    for thread in running:
        thread.join(5)
        assert not thread.is_alive()


def make_request(request_id: str, op: str = "health", seconds: float = 30, **args: object) -> dict[str, Any]:
    return {"id": request_id, "op": op, "args": args, "deadline": wire.format_ms(wire.now_ms() + round(seconds * 1000))}


def serve(requests: RelayedRequests) -> None:
    """What the thread does with everything that waits."""
    while not requests._queue.empty():
        waiting = requests._queue.get()
        assert isinstance(waiting, Waiting)
        requests.serve(waiting)


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_request_is_answered_once(poller: Poller, requests: RelayedRequests, paired: FakeHub) -> None:
    request = make_request("r1", "sessions.export", limit=5)
    paired.requests = [request]
    poller.take_turn()
    poller.take_turn()  # listed again: it is not answered yet
    serve(requests)
    paired.requests = [request]  # and again by a hub that has forgotten
    poller.take_turn()
    serve(requests)
    assert paired.results == [("r1", {"op": "sessions.export"})]
    assert requests._answer.asked == [("sessions.export", {"limit": 5})]  # type: ignore[attr-defined]


def test_polls_go_on_while_a_request_is_run(threads: Poller, paired: FakeHub, answering: Answering) -> None:
    answering.may_go_on.clear()
    paired.requests = [make_request("slow")]
    wait_for(lambda: answering.asked)
    count = len(paired.polls)
    wait_for(lambda: len(paired.polls) >= count + 2)
    assert paired.results == []
    answering.may_go_on.set()
    wait_for(lambda: paired.results)
    assert len(answering.asked) == 1


def test_after_an_answer_it_polls_at_once(threads: Poller, paired: FakeHub) -> None:
    paired.requests = [make_request("r1")]
    wait_for(lambda: paired.results)
    paired.poll_interval = 600
    wait_for(lambda: len(paired.polls) > 1)
    time.sleep(0.3)
    polls = len(paired.polls)
    paired.requests = [make_request("r2")]
    threads.wake()
    wait_for(lambda: len(paired.results) == 2)
    wait_for(lambda: len(paired.polls) == polls + 2)  # the wake, and the one after the answer


def test_an_expired_request_is_not_run(poller: Poller, requests: RelayedRequests, paired: FakeHub) -> None:
    paired.requests = [make_request("late", seconds=-2), make_request("good")]
    poller.take_turn()
    serve(requests)
    assert [request_id for request_id, _ in paired.results] == ["good"]


def test_a_request_that_waited_too_long_is_not_run(paired: FakeHub, store: Store, requests: RelayedRequests) -> None:
    link = store.find_link()
    assert link is not None
    request = wire.RelayedRequest(id="late", op="health", args={}, deadline="")
    requests.serve(Waiting(Hub.of(link), request, time.monotonic() - 0.001))
    assert paired.results == []
    assert requests._answer.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong_by_ms", [-240 * HOUR_MS, 87_600 * HOUR_MS])
def test_deadlines_are_read_on_the_hubs_clock(
    poller: Poller,
    requests: RelayedRequests,
    paired: FakeHub,
    monkeypatch: pytest.MonkeyPatch,
    wrong_by_ms: int,
) -> None:
    now_ms = wire.now_ms()
    paired.date = formatdate(now_ms / 1000, usegmt=True)
    paired.requests = [make_request("late", seconds=-2), make_request("good")]
    monkeypatch.setattr(wire, "now_ms", lambda: now_ms + wrong_by_ms)
    poller.take_turn()
    serve(requests)
    assert [request_id for request_id, _ in paired.results] == ["good"]


@pytest.mark.parametrize("deadline", ["", "soon", "0001-01-01T00:00:00+23:00"])
def test_a_deadline_that_is_none(poller: Poller, requests: RelayedRequests, paired: FakeHub, deadline: str) -> None:
    paired.requests = [make_request("odd") | {"deadline": deadline}, make_request("good")]
    poller.take_turn()
    serve(requests)
    assert [request_id for request_id, _ in paired.results] == ["good"]


def test_an_answer_that_does_not_arrive_is_sent_again(
    poller: Poller, requests: RelayedRequests, paired: FakeHub
) -> None:
    paired.requests, paired.result_statuses = [make_request("r1")], [503, 500]
    poller.take_turn()
    serve(requests)
    assert [request_id for request_id, _ in paired.results] == ["r1"] * 3
    assert len(requests._answer.asked) == 1  # type: ignore[attr-defined]


def test_what_never_arrived_is_run_again_when_it_comes_again(
    poller: Poller, requests: RelayedRequests, paired: FakeHub
) -> None:
    paired.requests, paired.result_statuses = [make_request("r1")], [503] * 4
    poller.take_turn()
    serve(requests)
    assert len(paired.results) == 4
    poller.take_turn()
    serve(requests)
    assert len(paired.results) == 5
    assert len(requests._answer.asked) == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [400, 404, 409, 413, 429])
def test_an_answer_that_is_not_wanted_is_not_sent_again(
    poller: Poller, requests: RelayedRequests, paired: FakeHub, status: int
) -> None:
    request = make_request("r1")
    paired.requests, paired.result_statuses = [request], [status]
    poller.take_turn()
    serve(requests)
    paired.requests = [request]
    poller.take_turn()
    serve(requests)
    assert len(paired.results) == 1


def test_no_try_after_the_deadline(
    paired: FakeHub, store: Store, requests: RelayedRequests, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "PAUSES_SECONDS", (60.0,))
    link = store.find_link()
    assert link is not None
    paired.result_statuses = [503]
    request = wire.RelayedRequest(id="r1", op="health", args={}, deadline="")
    requests.serve(Waiting(Hub.of(link), request, time.monotonic() + 5))
    assert len(paired.results) == 1


def test_a_flood_is_taken_a_part_at_a_time(
    poller: Poller, requests: RelayedRequests, paired: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relayed, "LARGEST_QUEUE", 3)
    monkeypatch.setattr(relayed, "REMEMBERED", 5)
    paired.requests = [make_request(f"r{n}") for n in range(10)]
    for _ in range(4):
        poller.take_turn()
        assert requests._queue.qsize() <= 3
        serve(requests)
    assert [request_id for request_id, _ in paired.results] == [f"r{n}" for n in range(10)]
    assert len(requests._known) == 5


def test_an_id_is_a_word_in_the_path(poller: Poller, requests: RelayedRequests, paired: FakeHub) -> None:
    paired.requests = [make_request("../heartbeat?x=1")]
    poller.take_turn()
    serve(requests)
    assert paired.results[0][0] == "..%2Fheartbeat%3Fx%3D1"
    assert len(paired.heartbeats) == 1


def ask(running: Running, op: str, **args: object) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(answer_relayed(running, op, args))
    return answer


def test_health_over_the_relay_is_the_claim_without_a_proof(running: Running, link: object) -> None:
    told = ask(running, "health", challenge="abc")
    assert (told["status"], told["deviceId"], told["paired"]) == ("healthy", running.store.identity.device_id, True)
    assert "proof" not in told


def test_an_export_over_the_relay_is_the_export(running: Running, store: Store) -> None:
    store.add_observations([make_observation()])
    page = ask(running, "sessions.export", limit=5)
    assert [session["fileName"] for session in page["sessions"]] == ["a.py"]
    assert ask(running, "sessions.export", cursor=page["nextCursor"])["sessions"] == []
    assert '"relay"' in (store.get_meta("last_pull") or "")


def test_coverage_over_the_relay(running: Running, store: Store) -> None:
    store.add_observations([make_observation()])
    ask(running, "sessions.export")
    answer = ask(running, "sessions.coverage", timezone="UTC", first="2026-01-01", last="2026-01-31")
    assert [(day["day"], day["sessions"]) for day in answer["days"]] == [("2026-01-05", 1)]


@pytest.mark.parametrize(
    ("op", "args", "status", "detail"),
    [
        ("uninstall", {}, 404, "This collector does not know the request 'uninstall'."),
        ("", {}, 404, "This collector does not know"),
        ("sessions.export", {"limit": 0}, 422, "limit: integer 1-5000"),
        ("sessions.export", {"path": "/"}, 422, "path: unknown field."),
        ("sessions.export", {"cursor": "x"}, 400, "cursor: "),
        ("sessions.export", {"from": "noon"}, 400, "from: RFC 3339"),
        ("sessions.coverage", {}, 422, "timezone: "),
        ("sessions.coverage", {"timezone": "X", "first": "2026-01-01", "last": "2026-01-01"}, 400, "timezone: "),
    ],
)
def test_a_bad_request_gives_a_problem(
    running: Running, op: str, args: dict[str, object], status: int, detail: str
) -> None:
    problem = ask(running, op, **args)
    assert problem["status"] == status
    assert problem["detail"].startswith(detail)
    assert {"title", "code", "request_id"} <= set(problem)


def test_a_failure_inside_gives_a_problem_too(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise RuntimeError("a path that nobody should be told")

    monkeypatch.setattr(running.deriver, "derive", fail)
    problem = ask(running, "sessions.export")
    assert problem["status"] == 500
    assert "path" not in problem["detail"]
