"""WakaTime's protocol over HTTP: keys in every form, answers that no client misreads, everything on disk before 201."""

import base64
import json

import pytest
from flask.testing import FlaskClient

from collector.running import Running
from collector.store import Store
from tests.collector.api_fixtures import *  # noqa: F403 - fixtures

BULK = "/api/v1/users/current/heartbeats.bulk"
SINGLE = "/api/v1/users/current/heartbeats"
AGENT = "wakatime/v1.90.0 (linux-6.1.0-x86_64) go1.22.1 vscode/1.90.0 vscode-wakatime/24.6.0"


def make_heartbeat(seconds: float = 1_767_618_000.5) -> dict[str, object]:
    return {
        "entity": "/home/ada/code/muster/a.py",
        "type": "file",
        "time": seconds,
        "is_write": True,
        "user_agent": AGENT,
    }


@pytest.fixture
def key(store: Store) -> str:
    return store.wakatime_key()


def as_basic(text: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_the_key_in_every_form_that_clients_send(client: FlaskClient, key: str) -> None:
    encoded = base64.b64encode(key.encode()).decode()
    for headers in (as_basic(key), as_basic(f"{key}:"), {"Authorization": f"Bearer {encoded}"}):
        assert client.post(BULK, json=[make_heartbeat()], headers=headers).status_code == 201
    assert client.post(f"{BULK}?api_key={key}", json=[make_heartbeat()]).status_code == 201


@pytest.mark.parametrize("headers", [{}, as_basic("x"), {"Authorization": "Bearer x"}, {"Authorization": "Basic"}])
def test_a_wrong_key_is_401(client: FlaskClient, store: Store, headers: dict[str, str]) -> None:
    answer = client.post(BULK, json=[make_heartbeat()], headers=headers)
    assert answer.status_code == 401
    assert store.last_observation_ms("wakatime") is None


def test_bulk_is_answered_one_by_one_and_derived(client: FlaskClient, running: Running, key: str) -> None:
    beats = [make_heartbeat(), {"entity": 5}, make_heartbeat(1_767_618_060)]
    answer = client.post(BULK, json=beats, headers=as_basic(key))
    assert answer.status_code == 201
    assert [status for _, status in answer.json["responses"]] == [201, 400, 201]
    assert answer.json["responses"][1][0]["error"]
    assert running.store.last_observation_ms("wakatime") == 1_767_618_060_000
    assert running.deriver.derive() == 1


def test_a_repeated_delivery_is_201_and_kept_once(client: FlaskClient, store: Store, key: str) -> None:
    for _ in range(2):
        assert client.post(BULK, json=[make_heartbeat()], headers=as_basic(key)).json["responses"][0][1] == 201
    with store.read() as connection:
        assert connection.execute("SELECT count(*) FROM observations").fetchone()[0] == 1


def test_a_single_heartbeat_and_a_body_that_is_encoded_twice(client: FlaskClient, store: Store, key: str) -> None:
    single = client.post(SINGLE, json=make_heartbeat(), headers=as_basic(key))
    assert single.status_code == 201
    assert single.json["data"]["id"]
    twice = json.dumps(json.dumps([make_heartbeat(1_767_618_060)]))
    answer = client.post(BULK, data=twice, content_type="application/json", headers=as_basic(key))
    assert answer.json["responses"][0][1] == 201
    assert store.last_observation_ms("wakatime") == 1_767_618_060_000


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff\xfe", b'{"a":' + b"[" * 100_000])
def test_nothing_in_a_body_makes_the_client_repeat_it_for_ever(client: FlaskClient, key: str, body: bytes) -> None:
    answer = client.post(BULK, data=body, content_type="application/json", headers=as_basic(key))
    assert answer.status_code == 201
    assert [status for _, status in answer.json["responses"]] == [400]


def test_a_large_backlog_is_taken(client: FlaskClient, store: Store, key: str) -> None:
    beats = [make_heartbeat(1_767_618_000 + n) | {"branch": "b" * 400} for n in range(4000)]
    assert client.post(BULK, json=beats, headers=as_basic(key)).status_code == 201
    assert store.last_observation_ms("wakatime") == (1_767_618_000 + 3999) * 1000


def test_the_status_bar(client: FlaskClient, key: str) -> None:
    data = client.get("/api/v1/users/current/statusbar/today", headers=as_basic(key)).json["data"]
    assert data["grand_total"]["text"] == "0 secs"
    assert data["categories"] == []
    assert data["range"]["timezone"]


def test_crash_reports_and_teams(client: FlaskClient, key: str) -> None:
    assert client.post("/api/v1/plugins/errors", json={"logs": "panic"}, headers=as_basic(key)).status_code == 201
    experts = client.post("/api/v1/users/current/file_experts", json={}, headers=as_basic(key))
    assert experts.json == {"data": []}
