"""The client against real servers: proof before secrets, bounded answers, bounded time, patience where it helps."""

import inspect
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from collector import wire
from tests.collectors import Collector, ExactCollector, PlainCollector, Reply, make_plain_session, make_session
from tests.fakes import FakeCollectorClient
from tests.squatters import Dripping, Endless, Forger, Html, Huge, Redirecting, Relay, Squatter
from webapp.adapters import collector_client
from webapp.adapters.collector_client import CollectorClient, CollectorError

FIRST_PAGE = wire.ExportRequest(limit=100)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[CollectorClient]:
    """A client in a hurry."""
    monkeypatch.setattr(collector_client, "FIRST_PAUSE_SECONDS", 0.01)
    made = CollectorClient(timeout_seconds=2)
    yield made
    made.close()


def refusal(call: Callable[[], object]) -> CollectorError:
    with pytest.raises(CollectorError) as caught:
        call()
    return caught.value


def check(client: CollectorClient, collector: Collector, pull_secret: str | None = None) -> wire.Health:
    return client.check_health(collector.url, collector.device_id, pull_secret or collector.pull_secret)


def export(client: CollectorClient, collector: Collector, request: wire.ExportRequest = FIRST_PAGE) -> wire.ExportPage:
    return client.export_page(collector.url, collector.device_id, collector.pull_secret, request)


def credentials(collector: Collector) -> list[str]:
    return [request.headers["Authorization"] for request in collector.received if "Authorization" in request.headers]


def test_health_is_challenged_with_a_fresh_nonce_each_time(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        health = check(client, collector)
        check(client, collector)
    assert (health.device_id, health.name, health.protocol) == (collector.device_id, "test collector", 1)
    nonces = [request.query["challenge"][0] for request in collector.received]
    assert len(set(nonces)) == 2
    assert credentials(collector) == []


def test_pages_are_read_to_the_end(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        collector.put(*(make_session(number) for number in range(250)))
        got, cursor = [], None
        while True:
            page = export(client, collector, wire.ExportRequest(limit=100, cursor=cursor))
            got += [wire.msgspec.json.decode(raw) for raw in page.sessions]
            cursor = page.next_cursor
            if not page.has_more:
                break
    assert got == collector.sessions
    assert page.epoch == collector.epoch
    assert [request.path for request in collector.received] == ["/api/health"] + ["/api/sessions/export"] * 3
    assert len(set(credentials(collector))) == 3


def test_collector_that_closes_after_each_answer_is_read_too(client: CollectorClient) -> None:
    with PlainCollector() as collector:
        collector.put(wire.now_ms(), *(make_plain_session(number) for number in range(250)))
        page = export(client, collector)
    assert (len(page.sessions), page.has_more, page.next_cursor, page.epoch) == (100, True, None, None)
    assert [request.path for request in collector.received] == ["/api/health", "/api/sessions/export"]


@pytest.mark.parametrize("kind", [Squatter, lambda **options: Forger(str(uuid.uuid4()))])
def test_who_cannot_prove_the_key_gets_no_credential(client: CollectorClient, kind: Callable[..., Collector]) -> None:
    secret = "the key of the real collector, which only it and the hub know"
    with kind() as squatter:
        for call in (client.check_health, lambda *who: client.export_page(*who, FIRST_PAGE)):
            error = refusal(lambda call=call: call(squatter.url, squatter.device_id, secret))
            assert error.problem == "identity"
            assert not error.may_pass
        candidates = [squatter.url]
        assert refusal(lambda: client.find_endpoint(squatter.device_id, secret, candidates)).problem == "identity"
    assert credentials(squatter) == []
    assert {request.path for request in squatter.received} == {"/api/health"}


def test_proof_that_was_relayed_from_another_port_is_no_proof(client: CollectorClient) -> None:
    with ExactCollector() as victim, Relay(victim) as relay:
        assert refusal(lambda: check(client, relay)).problem == "identity"
        assert check(client, victim)


def test_another_collector_is_not_this_one(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        error = refusal(lambda: client.check_health(collector.url, "somebody-else", collector.pull_secret))
    assert (error.problem, error.may_pass) == ("unreachable", False)
    assert "Another collector answers" in error.detail


def test_whoever_takes_over_the_port_gets_no_credential(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        export(client, collector)
        port = collector.port
        collector.stop()
        with Squatter(device_id=collector.device_id, port=port) as squatter:
            assert refusal(lambda: export(client, collector)).problem == "identity"
    assert credentials(squatter) == []


def test_collector_that_comes_back_proves_itself_again(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        export(client, collector)
        collector.stop()
        collector.start()
        export(client, collector)
    paths = [request.path for request in collector.received]
    assert paths == ["/api/health", "/api/sessions/export"] * 2


def test_redirect_is_not_followed(client: CollectorClient) -> None:
    with ExactCollector() as target, Redirecting(target.url) as collector:
        collector.device_id, collector.pull_secret = target.device_id, target.pull_secret
        error = refusal(lambda: check(client, collector))
    assert error.problem == "redirected"
    assert target.received == []


def test_redirected_export_is_not_followed(client: CollectorClient) -> None:
    with ExactCollector() as target, ExactCollector() as collector:
        check(client, collector)
        collector.failures = [Reply({}, 307, {"Location": f"{target.url}/api/sessions/export"})]
        assert refusal(lambda: export(client, collector)).problem == "redirected"
    assert target.received == []


@pytest.mark.parametrize("is_announced", [True, False])
def test_endless_answer_is_cut_off(client: CollectorClient, is_announced: bool) -> None:
    with Huge(is_announced=is_announced) as collector:
        error = refusal(lambda: check(client, collector))
        assert error.problem == "too_large"
        time.sleep(0.1)
        assert collector.sent < collector.size / 10


def test_page_that_is_too_large_is_cut_off(client: CollectorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_client, "PAGE_LIMIT", 10_000)
    with ExactCollector() as collector:
        collector.put(*(make_session(number) for number in range(50)))
        assert refusal(lambda: export(client, collector)).problem == "too_large"
        page = export(client, collector, wire.ExportRequest(limit=5))
    assert len(page.sessions) == 5


@pytest.mark.parametrize("is_in_header", [True, False])
def test_byte_by_byte_answer_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch, is_in_header: bool) -> None:
    monkeypatch.setattr("tests.squatters.DRIP_SECONDS", 0.01)
    client = CollectorClient(timeout_seconds=0.5)
    with Dripping(is_in_header=is_in_header) as collector:
        began = time.monotonic()
        assert refusal(lambda: check(client, collector)).problem == "timeout"
        assert time.monotonic() - began < 1.5
    client.close()


def test_silent_collector_is_given_up_in_time() -> None:
    client, forever = CollectorClient(timeout_seconds=0.5), threading.Event()
    with ExactCollector() as collector:
        collector.answer = lambda request: forever.wait(10) and Reply({})  # type: ignore[method-assign]
        began = time.monotonic()
        assert refusal(lambda: check(client, collector)).problem == "timeout"
        assert time.monotonic() - began < 1.5
        forever.set()
    client.close()


def test_web_page_is_a_bad_answer(client: CollectorClient) -> None:
    with Html() as collector:
        error = refusal(lambda: check(client, collector))
    assert error.problem == "bad_answer"
    assert collector.url in error.detail
    assert len(collector.received) == 1


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        {"sessions": {}, "hasMore": False, "lastSyncTime": ""},
        {"sessions": [], "hasMore": "no", "lastSyncTime": ""},
        b"\xff",
        b"",
    ],
)
def test_export_of_another_shape_is_a_bad_answer(client: CollectorClient, value: object) -> None:
    with ExactCollector() as collector:
        check(client, collector)
        collector.failures = [Reply(value)]
        error = refusal(lambda: export(client, collector))
    assert error.problem == "bad_answer"
    assert len(error.detail) <= 500


def test_one_unreadable_session_does_not_spoil_its_page(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        collector.put(make_session(0), {"id": "x", "sessionStartTime": [1, {"no": "time"}]}, make_session(1))
        assert len(export(client, collector).sessions) == 3


@pytest.mark.parametrize(("status", "problem", "tries"), [(401, "refused", 1), (403, "refused", 1), (404, "bad_answer", 1), (500, "bad_answer", 3), (503, "bad_answer", 3), (429, "bad_answer", 3), (204, "bad_answer", 1)])  # fmt: skip
def test_other_status_is_explained(client: CollectorClient, status: int, problem: str, tries: int) -> None:
    with ExactCollector() as collector:
        collector.failures = [Reply({}, status)] * 3
        error = refusal(lambda: check(client, collector))
        assert len(collector.received) == tries
    assert error.problem == problem
    assert str(status) in error.detail


def test_wrong_key_of_the_hub_is_refused_by_the_collector(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        check(client, collector)
        collector.is_hub = lambda request: False  # type: ignore[method-assign]
        assert refusal(lambda: export(client, collector)).problem == "refused"


def test_failure_that_passes_is_tried_three_times(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        collector.put(make_session(0))
        check(client, collector)
        collector.failures = [Reply({}, 503), Reply({}, 500)]
        assert len(export(client, collector).sessions) == 1
        collector.failures = [Reply({}, 503)] * 3
        assert refusal(lambda: export(client, collector)).problem == "bad_answer"


def test_closed_port_is_unreachable_and_tried_three_times(client: CollectorClient, monkeypatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(collector_client.time, "sleep", pauses.append)
    with ExactCollector() as collector:
        pass
    error = refusal(lambda: check(client, collector))
    assert error.problem == "unreachable"
    assert error.detail == f"Nothing answers at {collector.url}. Is the collector running?"
    assert len(pauses) == 2
    assert 0 <= pauses[0] <= 0.01
    assert 0 <= pauses[1] <= 0.02


def test_tries_end_with_the_time_that_the_call_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector_client, "FIRST_PAUSE_SECONDS", 1.0)
    client = CollectorClient(timeout_seconds=0.3, attempts=10)
    with ExactCollector() as collector:
        collector.failures = [Reply({}, 503)] * 100
        began = time.monotonic()
        assert refusal(lambda: check(client, collector)).problem in ("bad_answer", "timeout")
        assert time.monotonic() - began < 1.0
    client.close()


def test_connection_that_breaks_off_is_tried_again(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        collector.put(make_session(0))
        whole, answers = collector.respond, iter([True, False])

        def respond(request, handler) -> None:
            if request.path.endswith("export") and next(answers):
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
                handler.close_connection = True
            else:
                whole(request, handler)

        collector.respond = respond  # type: ignore[method-assign]
        assert len(export(client, collector).sessions) == 1
    assert [request.path.rpartition("/")[2] for request in collector.received] == ["health", "export"] * 2


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254:8001",
        "http://user@127.0.0.1:8001",
        "http://127.0.0.1:22",
        "http://intranet.example:8001",
    ],
)
def test_address_that_is_not_allowed_is_not_called(client: CollectorClient, url: str) -> None:
    error = refusal(lambda: client.check_health(url, "device", "k" * 43))
    assert (error.problem, error.may_pass) == ("address", False)
    assert client.sight([url]) == []


def test_name_that_changes_its_address_is_checked_at_every_call() -> None:
    with ExactCollector() as collector:
        found = iter([["127.0.0.1"], ["169.254.169.254"]])
        client = CollectorClient(names=("desk.lan",), resolve=lambda _: next(found))
        url = f"http://desk.lan:{collector.port}"
        assert client.check_health(url, collector.device_id, collector.pull_secret)
        error = refusal(lambda: client.check_health(url, collector.device_id, collector.pull_secret))
        assert error.problem == "address"
        client.close()
    assert len(collector.received) == 1


def test_proxy_of_the_environment_is_not_used(client: CollectorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExactCollector() as collector, Html() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        export(client, collector)
    assert proxy.received == []


def test_endpoint_is_the_first_that_proves_the_key(client: CollectorClient) -> None:
    with Html() as page, ExactCollector() as other, ExactCollector() as collector, Squatter() as squatter:
        squatter.device_id = collector.device_id
        urls = ["http://127.0.0.1:1029", page.url, other.url, squatter.url, collector.url]
        assert client.find_endpoint(collector.device_id, collector.pull_secret, urls) == collector.url
        missing = urls[1:4]
        assert refusal(lambda: client.find_endpoint(collector.device_id, "k" * 43, missing)).problem == "identity"
        missing = [page.url, other.url]
        assert refusal(lambda: client.find_endpoint(collector.device_id, "k" * 43, missing)).problem == "bad_answer"
    assert [credentials(each) for each in (page, other, collector, squatter)] == [[]] * 4


def test_nowhere_to_look_is_unreachable(client: CollectorClient) -> None:
    assert refusal(lambda: client.find_endpoint("device", "k" * 43, [])).problem == "unreachable"


def test_sight_tells_who_is_there_and_asks_for_no_proof(client: CollectorClient) -> None:
    with ExactCollector(name="studio") as collector, Html() as page, Huge() as huge:
        seen = client.sight([page.url, collector.url, huge.url, "http://127.0.0.1:1029"])
    assert [(each.url, each.device_id, each.name) for each in seen] == [(collector.url, collector.device_id, "studio")]
    assert [dict(request.query) for request in collector.received] == [{}]
    assert client.sight([]) == []


def test_one_client_serves_many_threads(client: CollectorClient) -> None:
    collectors = [ExactCollector() for _ in range(20)]
    for collector in collectors:
        collector.put(*(make_session(number) for number in range(5)))
        collector.start()
    with ThreadPoolExecutor(10) as pool:
        pages = list(pool.map(lambda collector: export(client, collector), collectors * 3))
    for collector in collectors:
        collector.stop()
    assert {len(page.sessions) for page in pages} == {5}


def test_never_ending_pages_are_the_callers_to_count(client: CollectorClient) -> None:
    with Endless() as collector:
        pages = [export(client, collector) for _ in range(5)]
    assert all(page.has_more for page in pages)
    assert len({page.next_cursor for page in pages}) == 5


def test_no_secret_is_logged_or_told(client: CollectorClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ExactCollector() as collector:
        export(client, collector)
        collector.failures = [Reply({}, 500)] * 3
        error = refusal(lambda: export(client, collector))
    said = caplog.text + repr(error) + error.detail
    assert caplog.records
    for secret in (collector.pull_secret, *(header.removeprefix("Bearer ") for header in credentials(collector))):
        assert secret not in said


def test_skew_is_how_far_the_collectors_clock_is_ahead() -> None:
    health = wire.Health(status="healthy", device_id="x", timestamp="2026-01-05T13:00:01.500Z")
    assert collector_client.read_skew_ms(health, wire.parse_ms("2026-01-05T13:00:00Z")) == 1500
    for unreadable in ("yesterday", "", "2026-13-01"):
        health.timestamp = unreadable
        assert collector_client.read_skew_ms(health, 0) is None


def test_fake_has_the_signatures_of_the_real_client() -> None:
    for name, method in inspect.getmembers(CollectorClient, inspect.isfunction):
        if not name.startswith("_"):
            assert inspect.signature(getattr(FakeCollectorClient, name)) == inspect.signature(method)
