"""What the paired hub asks: health with proof, pages of sessions, and a nudge."""

import json
import time
import uuid

import jwt
import msgspec
import pytest
from flask.testing import FlaskClient

from collector import wire
from collector.running import Running
from collector.store import Link, Store
from tests.collector.api_fixtures import *  # noqa: F403 - fixtures
from tests.collector.api_fixtures import PORT, SECRET, Authorize, make_observation

EXPORT = "/api/sessions/export"
COVERAGE = "/api/sessions/coverage"


def test_health_of_an_unpaired_collector(client: FlaskClient, store: Store) -> None:
    told = client.get("/api/health").json
    assert told["status"] == "healthy"
    assert uuid.UUID(told["deviceId"]).version == 4
    assert told["deviceId"] == store.identity.device_id
    assert abs(wire.parse_ms(told["timestamp"]) - wire.now_ms()) < 5000
    assert (told["protocol"], told["paired"]) == (wire.PROTOCOL, False)
    assert told["version"]
    assert told["name"]
    assert "proof" not in client.get("/api/health?challenge=abc").json


def test_health_proves_the_key(client: FlaskClient, link: Link) -> None:
    nonce = wire.new_nonce()
    told = client.get("/api/health", query_string={"challenge": nonce}).json
    assert told["paired"] is True
    assert wire.is_health_proof(told["proof"], SECRET, nonce, link.device_id, PORT)
    assert not wire.is_health_proof(told["proof"], SECRET, "another", link.device_id, PORT)


@pytest.mark.parametrize("nonce", ["", "x" * 201])
def test_a_challenge_that_is_none(client: FlaskClient, link: Link, nonce: str) -> None:
    answer = client.get("/api/health", query_string={"challenge": nonce})
    assert (answer.status_code, answer.json["field"]) == (400, "challenge")


def test_export_derives_what_was_just_observed(client: FlaskClient, store: Store, as_hub: Authorize) -> None:
    assert client.post(EXPORT, json={}, headers=as_hub(EXPORT)).json["sessions"] == []
    store.add_observations([make_observation()])
    page = client.post(EXPORT, json={}, headers=as_hub(EXPORT)).json
    assert [session["fileName"] for session in page["sessions"]] == ["a.py"]
    assert page["hasMore"] is False
    assert page["lastSyncTime"] == page["sessions"][0]["changedAt"]
    again = client.post(EXPORT, json={"cursor": page["nextCursor"]}, headers=as_hub(EXPORT)).json
    assert again["sessions"] == []
    assert "reset" not in again


def test_a_token_works_once(client: FlaskClient, store: Store, as_hub: Authorize) -> None:
    headers = as_hub(EXPORT)
    assert client.post(EXPORT, json={}, headers=headers).status_code == 200
    answer = client.post(EXPORT, json={}, headers=headers)
    assert (answer.status_code, answer.json["detail"]) == (401, "Token not valid.")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def make_claims(link: Link) -> dict[str, object]:
    now = int(time.time())
    return {
        "iss": "muster-hub",
        "aud": link.device_id,
        "sub": EXPORT,
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid.uuid4()),
    }


@pytest.mark.parametrize(
    ("change", "key", "algorithm"),
    [
        ({}, "another secret that is as long as the right one", "HS256"),
        ({}, SECRET, "HS512"),
        ({}, "", "none"),
        ({"aud": "another device"}, SECRET, "HS256"),
        ({"iss": "somebody"}, SECRET, "HS256"),
        ({"sub": "/api/nudge"}, SECRET, "HS256"),
        ({"iat": int(time.time()) - 900, "exp": int(time.time()) - 840}, SECRET, "HS256"),
        ({"iat": int(time.time()) + 3600, "exp": int(time.time()) + 3660}, SECRET, "HS256"),
        ({"exp": int(time.time()) + 3600}, SECRET, "HS256"),
        ({"jti": None}, SECRET, "HS256"),
    ],
)
def test_tokens_that_are_not_valid(
    client: FlaskClient, link: Link, change: dict[str, object], key: str, algorithm: str
) -> None:
    claims = {name: value for name, value in (make_claims(link) | change).items() if value is not None}
    headers = {"Authorization": f"Bearer {jwt.encode(claims, key, algorithm=algorithm)}"}
    answer = client.post(EXPORT, json={}, headers=headers)
    assert (answer.status_code, answer.json["detail"]) == (401, "Token not valid.")


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic abc", "Bearer a, Bearer b"])
def test_credentials_that_are_none(client: FlaskClient, link: Link, value: str) -> None:
    assert client.post(EXPORT, json={}, headers={"Authorization": value}).status_code == 401


def test_an_unpaired_collector_answers_nobody(client: FlaskClient, store: Store, as_hub: Authorize) -> None:
    headers = as_hub(EXPORT)
    store.clear_link()
    assert client.post(EXPORT, json={}, headers=headers).status_code == 401


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b'{"limit": 5', 400, "Body is not JSON at 1:"),
        (b"", 400, "Body is not JSON at 1:1"),
        (b'{"limit": NaN}', 400, "Body is not JSON at 1:11 (NaN is no JSON number)"),
        (b'{"limit": 1,\n "limit": 2}', 400, "Body is not JSON at 2:2 (limit is given twice)"),
        (b'{"since": ' + b"[" * 40 + b"]" * 40 + b"}", 400, "Body is not JSON at 1:42 (deeper than 32 levels)"),
        (b'{"limit": ' + b"9" * 5000 + b"}", 400, "Body is not JSON at "),
        (b'{"since": "\xff"}', 400, "Body is not UTF-8."),
        (b"[]", 422, "Body must be an object."),
        (b"null", 422, "Body must be an object."),
        (b'{"until": 1}', 422, "until: unknown field. Known are since, limit, cursor, from, to."),
        (b'{"limit": true}', 422, "limit: integer 1-5000"),
        (b'{"limit": "5"}', 422, "limit: integer 1-5000"),
        (b'{"limit": 1e309}', 422, "limit: integer 1-5000"),
        (b'{"limit": -1}', 422, "limit: integer 1-5000"),
        (b'{"limit": 0}', 422, "limit: integer 1-5000"),
        (b'{"limit": 5001}', 422, "limit: integer 1-5000"),
        (b'{"limit": 1000000000000000000}', 422, "limit: integer 1-5000"),
        (b'{"since": 5}', 422, "since: RFC 3339, e.g. 2026-01-05T13:00:00Z"),
        (b'{"since": "a\\u0000b"}', 422, "since: text without NUL and lone surrogates."),
        (b'{"cursor": "\\ud800"}', 422, "cursor: text without NUL and lone surrogates."),
        (b'{"from": 1}', 422, "from: RFC 3339, e.g. 2026-01-05T13:00:00Z"),
        (b'{"from": "noon"}', 400, "from: RFC 3339, e.g. 2026-01-05T13:00:00Z"),
        (b'{"to": "2026-02-30T00:00:00Z"}', 400, "to: RFC 3339, e.g. 2026-01-05T13:00:00Z"),
        (b'{"since": "yesterday"}', 400, "since: RFC 3339, e.g. 2026-01-05T13:00:00Z"),
        (b'{"since": "2026-12-32T00:00:00Z"}', 400, "since: RFC 3339"),
        (b'{"since": "2026-01-05T13:00:00 02:00"}', 400, "since: RFC 3339"),
        (b'{"cursor": "not a cursor"}', 400, "cursor: "),
        (b'{"cursor": "' + b"a" * 600 + b'"}', 422, "cursor: the nextCursor of an earlier answer"),
    ],
)
def test_bodies_that_cannot_be_used(
    client: FlaskClient, as_hub: Authorize, body: bytes, status: int, detail: str
) -> None:
    answer = client.post(EXPORT, data=body, content_type="application/json", headers=as_hub(EXPORT))
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    assert answer.json["detail"].startswith(detail)
    assert answer.json["status"] == status
    assert answer.json["request_id"]


@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-01-05", "1970-01-01T00:00:00Z"]
)
def test_times_at_the_edge_are_times(client: FlaskClient, as_hub: Authorize, since: str) -> None:
    assert client.post(EXPORT, json={"since": since}, headers=as_hub(EXPORT)).status_code == 200


def test_a_cursor_of_another_life_starts_over(client: FlaskClient, store: Store, as_hub: Authorize) -> None:
    store.add_observations([make_observation()])
    page = client.post(EXPORT, json={}, headers=as_hub(EXPORT)).json
    store.adopt_device_id(store.identity.device_id + "x")
    path_token = as_hub(EXPORT)
    answer = client.post(EXPORT, json={"cursor": page["nextCursor"]}, headers=path_token).json
    assert answer["reset"] is True
    assert len(answer["sessions"]) == 1


def test_a_pull_is_noted(client: FlaskClient, store: Store, as_hub: Authorize) -> None:
    assert store.get_meta("last_pull") is None
    client.post(EXPORT, json={}, headers=as_hub(EXPORT))
    noted = json.loads(store.get_meta("last_pull") or "")
    assert noted["road"] == "direct"
    assert abs(noted["atMs"] - wire.now_ms()) < 5000


def test_coverage_is_about_what_is_stored(client: FlaskClient, store: Store, as_hub: Authorize) -> None:
    asked = {"timezone": "Europe/Berlin", "first": "2026-01-01", "last": "2026-01-31"}
    store.add_observations([make_observation()])
    assert client.post(COVERAGE, json=asked, headers=as_hub(COVERAGE)).json["days"] == []  # derived by the export alone
    page = client.post(EXPORT, json={}, headers=as_hub(EXPORT)).json
    told = client.post(COVERAGE, json=asked | {"cursor": page["nextCursor"]}, headers=as_hub(COVERAGE)).json
    answer = msgspec.convert(told, wire.CoverageAnswer)
    (session,) = page["sessions"]
    times = (wire.parse_ms(session["changedAt"]), wire.parse_ms(session["sessionStartTime"]))
    digest = wire.digest_sessions([(session["id"], *times)])
    assert answer.days == [wire.CoverageDay(day="2026-01-05", sessions=1, digest=digest, pending=0, ran_seconds=0)]
    assert (answer.epoch, answer.reset) == (page["epoch"], False)


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        ({"timezone": None}, 422, "timezone: an IANA name, e.g. Europe/Berlin"),
        ({"timezone": "Europe/Atlantis"}, 400, "timezone: an IANA name that this machine knows"),
        ({"timezone": "../UTC"}, 400, "timezone: an IANA name that this machine knows"),
        ({"timezone": "x" * 65}, 422, "timezone: an IANA name"),
        ({"first": "today"}, 422, "first: a day, e.g. 2026-01-05"),
        ({"first": "2026-02-30"}, 400, "first: a day, e.g. 2026-01-05"),
        ({"last": "2025-01-01"}, 400, "last: a day that is not before first"),
        ({"cursor": "nobody's"}, 400, "cursor: "),
        ({"limit": 5}, 422, "limit: unknown field. Known are timezone, first, last, cursor."),
    ],
)
def test_coverage_that_cannot_be_told(
    client: FlaskClient, as_hub: Authorize, change: dict[str, object], status: int, detail: str
) -> None:
    asked = {"timezone": "UTC", "first": "2026-01-01", "last": "2026-01-31"} | change
    answer = client.post(COVERAGE, json=asked, headers=as_hub(COVERAGE))
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json["detail"].startswith(detail)
    assert answer.json["field"] == next(iter(change))


def test_a_nudge_wakes_the_poller(client: FlaskClient, running: Running, as_hub: Authorize) -> None:
    answer = client.post("/api/nudge", headers=as_hub("/api/nudge"))
    assert answer.status_code == 202
    assert running.poller._woken.is_set()
