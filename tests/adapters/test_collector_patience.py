"""How much the client reads, how long it waits, and when it tries again."""

import threading
import time

import pytest

from collector import wire
from tests.adapters.calls import check, export, refusal
from tests.collectors import ExactCollector, Reply, make_session
from tests.squatters import Dripping, Huge
from webapp.adapters import collector_client
from webapp.adapters.collector_client import CollectorClient


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
