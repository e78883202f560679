"""Nothing readable by a web page, nothing done for one: Host x Origin x Content-Type x credential, over every route."""

import itertools

import pytest
from flask import Flask
from flask.testing import FlaskClient

from collector.api import access
from collector.running import Running
from collector.tickets import mint_ticket
from tests.collector.api_fixtures import *  # noqa: F403 - fixtures
from tests.collector.api_fixtures import HOST, ORIGIN, PORT, Authorize

HUB_CALLS = ("/api/sessions/export", "/api/sessions/coverage", "/api/nudge")
EDITOR_CALLS = (
    "/api/v1/users/current/heartbeats",
    "/api/v1/users/current/heartbeats.bulk",
    "/api/v1/users/current/statusbar/today",
    "/api/v1/users/current/file_experts",
    "/api/v1/plugins/errors",
)
LOCAL_CALLS = ("/status", "/paths", "/paths/1", "/scan/trigger", "/config")
PAGE_FORMS = ("/page/pair", "/page/unpair", "/page/paths", "/page/paths/1/remove", "/page/scan", "/page/import-git")
OPEN_TO_ALL = ("/api/health", "/", "/open/x", "/static/page.css")


def list_routes(app: Flask) -> list[tuple[str, str]]:
    """Every method and path, with values in place of the variables."""
    values = {"path_id": "1", "ticket": "x", "filename": "page.css"}
    routes = []
    for rule in app.url_map.iter_rules():
        path = rule.rule
        for name in rule.arguments:
            path = path.replace(f"<int:{name}>", values[name]).replace(f"<path:{name}>", values[name])
            path = path.replace(f"<{name}>", values[name])
        routes += [(method, path) for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}]
    return routes


def test_every_route_is_in_a_list_of_this_file(app: Flask) -> None:
    known = {*HUB_CALLS, *EDITOR_CALLS, *LOCAL_CALLS, *PAGE_FORMS, *OPEN_TO_ALL}
    assert {path for _, path in list_routes(app)} == known


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        ("localhost:8001", 200),
        ("LOCALHOST:8001", 200),
        ("[::1]:8001", 200),
        ("127.0.0.1", 200),
        ("127.0.0.1:9001", 200),  # a forwarded endpoint
        ("evil.example", 400),
        ("evil.example:8001", 400),
        ("127.0.0.1.evil.example:8001", 400),
        ("localhost.evil.example", 400),
        ("user@127.0.0.1:8001", 400),
        ("127.0.0.1:8001@evil.example", 400),
        ("127.0.0.1:x", 400),
        ("127.0.0.1:0", 400),
        ("192.168.1.7:8001", 400),
        ("", 400),
    ],
)
def test_host(client: FlaskClient, host: str, status: int) -> None:
    answer = client.get("/api/health", environ_overrides={"HTTP_HOST": host})
    assert answer.status_code == status
    if status == 400:
        assert answer.mimetype == "application/problem+json"
        assert answer.json["detail"].startswith("Unknown host.")


def test_foreign_hosts_and_sites_are_refused_on_every_route(app: Flask, client: FlaskClient) -> None:
    for method, path in list_routes(app):
        json = {} if method != "GET" and not path.startswith("/page/") else None
        rebound = client.open(path, method=method, json=json, environ_overrides={"HTTP_HOST": "evil.example"})
        assert rebound.status_code == 400, (method, path)
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:3000"},
            {"Origin": ORIGIN.replace("http:", "https:")},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        ):
            answer = client.open(path, method=method, json=json, headers=headers)
            assert answer.status_code == 403, (method, path, headers)
            assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_link_to_the_page_may_be_followed_but_nothing_else(client: FlaskClient) -> None:
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=navigation).status_code == 200
    assert client.get("/api/health", headers=navigation).status_code == 403
    assert client.get("/", headers=navigation | {"Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert client.get("/", headers=navigation | {"Sec-Fetch-Mode": "no-cors"}).status_code == 403


def test_no_route_works_without_a_credential(app: Flask, client: FlaskClient) -> None:
    for method, path in list_routes(app):
        if path in OPEN_TO_ALL:
            continue
        body = {"data": ""} if path in PAGE_FORMS else {"json": {}} if method != "GET" else {}
        answer = client.open(path, method=method, headers={"Origin": ORIGIN}, **body)
        assert answer.status_code == 401, (method, path)


def test_no_credential_opens_a_route_of_another_kind(
    app: Flask, client: FlaskClient, running: Running, as_hub: Authorize, as_user: dict[str, str]
) -> None:
    key = {"Authorization": f"Bearer {running.store.wakatime_key()}"}
    for method, path in list_routes(app):
        credentials = {
            "hub": (as_hub(path), path in HUB_CALLS),
            "editor": (key, path in EDITOR_CALLS),
            "user": (as_user, path in LOCAL_CALLS),
        }
        for name, (headers, is_right) in credentials.items():
            if path in OPEN_TO_ALL or is_right:
                continue
            body = {"data": ""} if path in PAGE_FORMS else {"json": {}} if method != "GET" else {}
            answer = client.open(path, method=method, headers=headers | {"Origin": ORIGIN}, **body)
            assert answer.status_code == 401, (method, path, name)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
@pytest.mark.parametrize("path", [*HUB_CALLS, *EDITOR_CALLS[:2], "/paths", "/scan/trigger"])
def test_only_json(
    client: FlaskClient, path: str, content_type: str, as_hub: Authorize, as_user: dict[str, str]
) -> None:
    for headers in (as_hub(path), as_user):
        answer = client.post(path, data=b'{"path":"/"}', content_type=content_type, headers=headers)
        assert answer.status_code == 415
        assert answer.json["detail"] == "Send application/json."


def test_the_whole_matrix_of_a_pull(client: FlaskClient, as_hub: Authorize) -> None:
    path = "/api/sessions/export"
    hosts = {HOST: 200, "evil.example": 400}
    origins = {None: 200, ORIGIN: 200, "https://evil.example": 403, "null": 403}
    types = {"application/json": 200, "application/json; charset=utf-8": 200, "text/plain": 415}
    tokens = {"right": 200, "none": 401, "wrong": 401}
    for (host, h), (origin, o), (kind, t), (token, a) in itertools.product(
        hosts.items(), origins.items(), types.items(), tokens.items()
    ):
        headers = {} if origin is None else {"Origin": origin}
        headers |= {"right": as_hub(path), "none": {}, "wrong": as_hub("/api/nudge")}[token]
        answer = client.post(
            path, data=b"{}", content_type=kind, headers=headers, environ_overrides={"HTTP_HOST": host}
        )
        expected = next((status for status in (h, o, t, a) if status != 200), 200)
        assert answer.status_code == expected, (host, origin, kind, token)


def test_headers_on_everything(client: FlaskClient) -> None:
    for path in ("/", "/api/health", "/nowhere", "/static/page.css", "/status"):
        headers = client.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")
        assert not [name for name in headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


def test_a_preflight_gets_no_permission(client: FlaskClient) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = client.options("/api/sessions/export", headers=asked)
    assert answer.status_code == 403
    assert not [name for name in answer.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


@pytest.mark.parametrize("name", ["token", "access_token", "api_key", "Authorization"])
def test_no_credential_in_the_url(client: FlaskClient, name: str) -> None:
    answer = client.get("/status", query_string={name: "x"})
    assert answer.status_code == 400
    assert answer.json["detail"] == "Send the token in the Authorization header."


def test_bodies_that_are_too_large_or_compressed(client: FlaskClient, as_user: dict[str, str]) -> None:
    large = client.post("/paths", data=b" " * (1024 * 1024 + 1), content_type="application/json", headers=as_user)
    assert (large.status_code, large.json["detail"]) == (413, "Too large. The limit here is 1 MiB.")
    packed = client.post("/paths", json={}, headers=as_user | {"Content-Encoding": "gzip"})
    assert packed.status_code == 415


def test_wrong_method_and_wrong_place(client: FlaskClient) -> None:
    wrong = client.post("/api/health", json={})
    assert wrong.status_code == 405
    assert "GET" in wrong.headers["Allow"]
    assert client.open("/api/health", method="TRACE").status_code == 405
    missing = client.get("/paths/1 OR 1=1")
    assert missing.status_code == 404
    assert missing.json["code"] == "not_found"


def test_the_cookie_opens_local_calls_only_from_the_page_itself(client: FlaskClient, running: Running) -> None:
    client.get(f"/open/{mint_ticket(running.store)}")
    assert client.get("/status").status_code == 200
    assert client.post("/scan/trigger", json={}).status_code == 401  # a program without an Origin is not the page
    assert client.post("/scan/trigger", json={}, headers={"Origin": ORIGIN}).status_code == 202
    assert client.post("/scan/trigger", json={}, headers={"Origin": "http://127.0.0.1:3000"}).status_code == 403


def test_the_cookie_has_the_port_in_its_name(client: FlaskClient, app: Flask, running: Running) -> None:
    answer = client.get(f"/open/{mint_ticket(running.store)}")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"muster_collector_{PORT}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    with app.test_request_context():
        assert access.cookie_name() == f"muster_collector_{PORT}"


def test_every_address_of_an_open_port_but_no_name(running: Running) -> None:
    from dataclasses import replace

    from collector.api.security import is_known_host

    is_open = replace(running, config=replace(running.config, host="0.0.0.0"))
    assert is_known_host("192.168.1.7", is_open)
    assert not is_known_host("evil.example", is_open)
    assert not is_known_host("192.168.1.7", running)
