"""Proof before secrets: who gets a credential, and where the client goes at all."""

import logging
import uuid
from collections.abc import Callable

import pytest

from tests.adapters.calls import FIRST_PAGE, check, credentials, export, refusal
from tests.collectors import Collector, ExactCollector, Reply
from tests.squatters import Forger, Html, Redirecting, Relay, Squatter
from webapp.adapters.collector_client import CollectorClient


def test_health_is_challenged_with_a_fresh_nonce_each_time(client: CollectorClient) -> None:
    with ExactCollector() as collector:
        health = check(client, collector)
        check(client, collector)
    assert (health.device_id, health.name, health.protocol) == (collector.device_id, "test collector", 1)
    nonces = [request.query["challenge"][0] for request in collector.received]
    assert len(set(nonces)) == 2
    assert credentials(collector) == []


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
