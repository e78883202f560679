"""The link to the hub: claiming, polling, heartbeats, pauses, and the one answer that ends it."""

import json
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from collector.link import pairing
from collector.link.backoff import pause_seconds
from collector.link.hub import Hub, HubError, is_private_road, normalise_hub_url
from collector.link.pairing import PairingError
from collector.link.poller import UNPAIRED_SECONDS, Poller
from collector.link.settings import Settings, keep_settings, read_settings
from collector.store import Store
from tests.collector.api_fixtures import make_link, store  # noqa: F401 - fixture
from tests.collector.fake_hub import ASSIGNED_ID, PULL_SECRET, RIGHT_CODE, FakeHub, fake_hub  # noqa: F401 - fixture

# ruff: noqa: F811


@pytest.fixture
def told() -> dict[str, object]:
    """What heartbeats report; tests change it."""
    return {"version": "0.1.0", "sources": {"filesystem": {"state": "watching", "lastAt": None}}}


@pytest.fixture
def poller(store: Store, told: dict[str, object]) -> Poller:
    return Poller(store, lambda: told, lambda: None)


@pytest.fixture
def paired(store: Store, fake_hub: FakeHub) -> FakeHub:
    pairing.pair(store, fake_hub.url, RIGHT_CODE, 8003)
    return fake_hub


def test_pairing_keeps_the_link(store: Store, fake_hub: FakeHub) -> None:
    own_id = store.identity.device_id
    link = pairing.pair(store, f"{fake_hub.url}/pairing", " k7m 2qx", 8003)
    assert store.find_link() == link
    assert (link.hub_url, link.token, link.pull_secret) == (fake_hub.url, fake_hub.token, PULL_SECRET)
    assert link.device_id == store.identity.device_id == own_id
    claim = fake_hub.claims[0]
    assert set(claim) == {"code", "deviceId", "name", "platform", "version", "port"}
    assert (claim["code"], claim["deviceId"], claim["port"]) == (RIGHT_CODE, own_id, 8003)


def test_pairing_takes_over_the_id_that_the_hub_assigned(store: Store, fake_hub: FakeHub) -> None:
    fake_hub.device_id = ASSIGNED_ID
    epoch = store.identity.epoch
    assert pairing.pair(store, fake_hub.url, RIGHT_CODE, 8001).device_id == ASSIGNED_ID
    assert store.identity.device_id == ASSIGNED_ID
    assert store.identity.epoch != epoch


def problem(status: int, code: str, detail: str) -> tuple[int, dict[str, str], bytes]:
    headers = {"Content-Type": "application/problem+json"}
    return status, headers, json.dumps({"code": code, "detail": detail}).encode()


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (problem(404, "bad_code", "Code not valid or expired."), "The hub does not know this code"),
        (problem(429, "too_many", "Too many."), "Too many wrong codes"),
        (problem(422, "invalid", "port: 1024 to 65535"), "port: 1024 to 65535"),
        ((404, {"Content-Type": "text/html"}, b"<h1>Not here</h1>"), "answers 404 and no sentence of a Muster hub"),
        ((302, {"Location": "http://elsewhere.example/"}, b""), "It sends elsewhere"),
        ((200, {"Content-Type": "text/html"}, b"<h1>Hello</h1>"), "does not answer like a Muster hub"),
        ((200, {}, b"{}"), "does not answer like a Muster hub"),
        ((200, {}, b"x" * (2 * 1024 * 1024)), "far too long"),
        ((500, {}, b""), "answers 500"),
    ],
)
def test_answers_that_do_not_pair(
    store: Store, fake_hub: FakeHub, fault: tuple[int, dict[str, str], bytes], sentence: str
) -> None:
    fake_hub.fault = fault
    with pytest.raises(PairingError, match=sentence):
        pairing.pair(store, fake_hub.url, RIGHT_CODE, 8001)
    assert store.find_link() is None


def test_a_hub_with_a_short_secret_is_refused(store: Store, fake_hub: FakeHub) -> None:
    answer = {"deviceId": ASSIGNED_ID, "token": "t", "pullSecret": "short", "pollInterval": 5, "hubName": "H"}
    fake_hub.fault = (200, {}, json.dumps(answer).encode())
    with pytest.raises(PairingError, match="too short to be safe"):
        pairing.pair(store, fake_hub.url, RIGHT_CODE, 8001)
    assert store.find_link() is None


def test_nobody_at_the_address(store: Store) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(PairingError, match="Nothing answers at"):
            pairing.pair(store, f"127.0.0.1:{free.getsockname()[1]}", RIGHT_CODE, 8001)


@pytest.mark.parametrize("code", ["", "K7M2Q", "K7M2QXX", "K7M2Q0", "K7M2Q!"])
def test_a_code_that_cannot_be_one_is_not_sent(store: Store, fake_hub: FakeHub, code: str) -> None:
    with pytest.raises(PairingError, match="A code has six letters and digits"):
        pairing.pair(store, fake_hub.url, code, 8001)
    assert fake_hub.claims == []


def test_another_hub_only_after_unpairing(store: Store, paired: FakeHub) -> None:
    with pytest.raises(PairingError, match="This machine is paired with Fake hub"):
        pairing.pair(store, "http://127.0.0.1:9", RIGHT_CODE, 8001)
    pairing.pair(store, paired.url, RIGHT_CODE, 8001)  # the same hub again is fine


def test_unpairing_tells_the_hub(store: Store, paired: FakeHub) -> None:
    assert pairing.unpair(store) is None
    assert store.find_link() is None
    assert paired.unpaired == 1
    assert pairing.unpair(store) is None


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8000", "http://127.0.0.1:8000"),
        (" https://hub.example/pairing?x=1 ", "https://hub.example"),
        ("HTTP://Hub.Example:80/", "http://hub.example:80"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_addresses_as_people_type_them(text: str, url: str) -> None:
    assert normalise_hub_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "http://", "ftp://hub", "http://a:b@hub", "http://hub:99999", "hub:0", "file:///etc"]
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="is not a hub's address"):
        normalise_hub_url(text)


def test_private_roads() -> None:
    assert is_private_road("http://127.0.0.1:8000")
    assert is_private_road("https://hub.example")
    assert not is_private_road("http://192.168.1.4:8000")


def test_a_poll_brings_settings_once_and_a_heartbeat_tells_so(poller: Poller, store: Store, paired: FakeHub) -> None:
    paired.settings, paired.settings_version = {"idle_timeout": 300}, 7
    assert poller.take_turn() == 1.0
    assert read_settings(store) == Settings(7, "e1", {"idle_timeout": 300})
    assert paired.heartbeats[0]["appliedVersion"] == 7
    assert paired.heartbeats[0]["status"]["version"] == "0.1.0"
    poller.take_turn()
    assert paired.polls[0] == {"version": "0", "epoch": ""}
    assert paired.polls[1] == {"version": "7", "epoch": "e1"}
    assert len(paired.heartbeats) == 1
    assert poller.last_answer_ms is not None


def test_an_older_document_is_not_taken(store: Store) -> None:
    assert keep_settings(store, Settings(7, "e1", {"a": 1}))
    assert not keep_settings(store, Settings(6, "e1", {"a": 2}))
    assert keep_settings(store, Settings(1, "e2", {"a": 3}))
    assert read_settings(store).values == {"a": 3}


def test_a_changed_report_is_told_at_once(poller: Poller, told: dict[str, object], paired: FakeHub) -> None:
    poller.take_turn()
    poller.take_turn()
    assert len(paired.heartbeats) == 1
    told["sources"] = {"filesystem": {"state": "watching", "lastAt": "2026-01-05T13:00:00.000Z"}}
    poller.take_turn()
    assert len(paired.heartbeats) == 1  # another saved file is no news
    told["sources"] = {"filesystem": {"state": "missing", "lastAt": "2026-01-05T13:00:00.000Z"}}
    poller.take_turn()
    assert len(paired.heartbeats) == 2


def test_device_revoked_ends_the_link(poller: Poller, store: Store, paired: FakeHub) -> None:
    poller.take_turn()
    paired.token = "another"
    poller.take_turn()
    assert store.find_link() is None
    assert poller.take_turn() == UNPAIRED_SECONDS


@pytest.mark.parametrize(
    "fault",
    [
        (401, {}, b""),
        problem(401, "unauthorized", "No."),
        (403, {}, b'{"code": "device_revoked"}'),
        (407, {}, b""),
        (500, {}, b'{"code": "device_revoked"}'),
        (502, {}, b"<html>device_revoked</html>"),
        (200, {}, b"<html>captive portal</html>"),
        (302, {"Location": "/login"}, b""),
    ],
)
def test_nothing_else_does(
    poller: Poller, store: Store, paired: FakeHub, fault: tuple[int, dict[str, str], bytes]
) -> None:
    paired.fault = fault
    assert 1.0 <= poller.take_turn() <= 5.0
    assert store.find_link() is not None
    assert poller.trouble
    paired.fault = None
    assert poller.take_turn() == 1.0
    assert poller.trouble is None


def test_a_new_link_made_meanwhile_is_not_forgotten(store: Store, paired: FakeHub) -> None:
    old = store.find_link()
    assert old is not None
    paired.token = "the next token"
    new = pairing.pair(store, paired.url, RIGHT_CODE, 8001)
    pairing.forget(store, old)
    assert store.find_link() == new


def test_pauses_grow_and_are_jittered() -> None:
    assert [pause_seconds(n, 0.999999) for n in (1, 2, 3)] == pytest.approx([5, 10, 20], abs=0.01)
    assert pause_seconds(50, 0.999999) == pytest.approx(300, abs=0.01)
    assert pause_seconds(5, 0.0) == 1.0
    assert len({pause_seconds(6) for _ in range(20)}) > 10


def test_a_netrc_does_not_replace_the_token(
    paired: FakeHub, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    netrc = store.path.parent / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    link = store.find_link()
    assert link is not None
    assert Hub.of(link).get("/api/collector/poll?version=0&epoch=")


def test_a_redirect_is_not_followed_with_the_token(paired: FakeHub, store: Store) -> None:
    paired.fault = (307, {"Location": f"{paired.url}/api/collector/poll"}, b"")
    link = store.find_link()
    assert link is not None
    with pytest.raises(HubError, match="answers 307"):
        Hub.of(link).post("/api/collector/unpair")
    assert paired.unpaired == 0


@pytest.fixture
def running_poller(poller: Poller) -> Iterator[Poller]:
    thread = threading.Thread(target=poller.run)
    thread.start()
    yield poller
    poller.stop()
    thread.join(5)
    assert not thread.is_alive()


def test_the_thread_notices_a_link_and_a_nudge(running_poller: Poller, store: Store, fake_hub: FakeHub) -> None:
    fake_hub.poll_interval = 600
    store.save_link(make_link(store, fake_hub.url))
    fake_hub.token = "the device token"
    running_poller.wake()
    wait_for(lambda: len(fake_hub.polls) == 1)
    running_poller.wake()
    wait_for(lambda: len(fake_hub.polls) == 2)


def wait_for(condition: object, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)
