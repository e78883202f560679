"""The client against real servers: pages, odd answers, and who is there."""

import inspect
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from collector import wire
from tests.adapters.calls import check, credentials, export, refusal
from tests.collectors import ExactCollector, PlainCollector, Reply, make_plain_session, make_session
from tests.fakes import FakeCollectorClient
from tests.squatters import Endless, Html, Huge
from webapp.adapters import collector_client
from webapp.adapters.collector_client import CollectorClient


def test_every_request_says_who_asks_and_takes_no_compression(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        export(client, collector)
    assert len(collector.received) == 2
    for request in collector.received:
        told = [request.headers[name] for name in ("User-Agent", "Accept", "Accept-Encoding")]
        assert told == ["muster-hub", "application/json", "identity"]


def test_pages_are_read_to_the_end(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        collector.put(*(make_session(number) for number in range(250)))
        got, cursor = [], None
        while True:
            page = export(client, collector, wire.ExportRequest(limit=100, cursor=cursor))
            got += [msgspec.json.decode(raw) for raw in page.sessions]
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


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credential_is_explained(client: CollectorClient, status: int) -> None:
    with ExactCollector() as collector:
        check(client, collector)
        collector.failures = [Reply({}, status)]
        error = refusal(lambda: export(client, collector))
    assert (error.problem, error.may_pass) == ("refused", False)
    assert str(status) in error.detail


@pytest.mark.parametrize(("status", "tries"), [(204, 1), (404, 1), (429, 3), (500, 3), (503, 3)])
def test_other_status_is_explained(client: CollectorClient, status: int, tries: int) -> None:
    with ExactCollector() as collector:
        collector.failures = [Reply({}, status)] * 3
        error = refusal(lambda: check(client, collector))
        assert len(collector.received) == tries
    assert error.problem == "bad_answer"
    assert str(status) in error.detail


def test_wrong_key_of_the_hub_is_refused_by_the_collector(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        check(client, collector)
        collector.is_hub = lambda request: False  # type: ignore[method-assign]
        assert refusal(lambda: export(client, collector)).problem == "refused"


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
