"""What is refused before anybody is looked up, and the headers on every answer (bad-input rows 1-3, 11-18, 70-72)."""

import dataclasses
import sqlite3
from collections.abc import Callable

import pytest
from flask import Flask, g
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from collector import wire
from webapp import create_app
from webapp.blueprints import access
from webapp.blueprints.security import host_name
from webapp.config import Config
from webapp.errors import TooMany
from webapp.extensions import db
from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices

ClientOf = Callable[[Account | None], FlaskClient]


@pytest.fixture
def app(app: Flask) -> Flask:
    """The hub with one page and one call of each kind, so that the rules are tested and not some view."""
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    app.add_url_rule("/probe", "probe_page", lambda: "page", methods=methods)
    app.add_url_rule("/api/probe", "probe_call", lambda: {"name": access.current_account().name}, methods=methods)
    app.add_url_rule("/api/open", "probe_open", access.public(lambda: {}), methods=methods)
    app.add_url_rule("/api/device", "probe_device", access.for_collectors(lambda: {"id": g.device.id}), methods=methods)
    app.add_url_rule("/api/wait", "probe_wait", access.public(wait))
    app.add_url_rule("/api/locked", "probe_locked", access.public(find_database_locked))
    return app


def wait() -> None:
    raise TooMany("Slow down.", retry_after_seconds=7)


def find_database_locked() -> None:
    raise OperationalError("SELECT secret", {}, sqlite3.OperationalError("database is locked"))


@pytest.fixture
def bearer(owner: Account) -> dict[str, str]:
    """The header of the owner's API token."""
    return {"Authorization": f"Bearer {accounts.create_api_token(owner.id, 'script')[1]}"}


@pytest.fixture
def device_bearer(owner: Account) -> dict[str, str]:
    """The header of the owner's paired machine, `laptop`."""
    _, code = devices.create_code(owner.id)
    claim = wire.ClaimRequest(code=code, device_id="laptop", name="Laptop", platform="linux", version="1", port=8001)
    return {"Authorization": f"Bearer {devices.claim_code(claim, address='127.0.0.1').token}"}


def check_problem(answer: TestResponse, status: int, detail: str) -> None:
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert answer.json is not None
    assert (answer.json["status"], answer.json["detail"]) == (status, detail)
    assert answer.json["request_id"] == answer.headers["X-Request-ID"] != ""


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(
            (host, 200)
            for host in ("localhost", "localhost:8000", "LOCALHOST", "127.0.0.1:8000", "[::1]:8000", "[::1]")
        ),
        *((host, 400) for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.0.0.2")),
        *(
            (host, 400)
            for host in ("", "evil.example:80@localhost", "localhost:x", "localhost/", "[::1", "127.1", "2130706433")
        ),
    ],
)
def test_only_known_hosts_are_answered(app: Flask, host: str, status: int) -> None:
    answer = app.test_client().get("/api/open", headers={"Host": host})
    if status == 200:
        assert answer.status_code == 200
    else:
        check_problem(answer, 400, "Unknown host. Add it to MUSTER_TRUSTED_HOSTS.")


@pytest.mark.parametrize("path", ["/", "/nowhere", "/static/favicon.svg", "/login", "/api/nowhere"])
def test_unknown_host_learns_nothing_anywhere(app: Flask, path: str) -> None:
    assert app.test_client().get(path, headers={"Host": "evil.example"}).status_code == 400


def test_host_name_knows_ports_and_brackets() -> None:
    assert host_name("Hub.Example:8443") == "hub.example"
    assert host_name("::1") == host_name("[::1]:80") == "::1"
    assert host_name("a@b") == host_name("a/b") == host_name("a:99999") == ""


OTHERS = (
    "https://evil.example",
    "null",
    "http://localhost:5173",
    "http://localhost.evil.example",
    "file://localhost",
    "",
)
SITES = (None, "same-origin", "none", "same-site", "cross-site", "odd")


def test_a_page_whose_address_holds_a_nul_is_not_there(owner: Account, client_of: ClientOf) -> None:
    for path in ("/devices/%00/coverage", "/sessions/%00/x", "/sessions?project=%00"):
        assert client_of(owner).get(path).status_code == 404, path


@pytest.mark.parametrize("origin", [None, "http://localhost", "https://localhost", *OTHERS])
@pytest.mark.parametrize("site", SITES)
def test_only_our_own_pages_may_change_anything(
    app: Flask, bearer: dict[str, str], origin: str | None, site: str | None
) -> None:
    claimed = {"Origin": origin, "Sec-Fetch-Site": site}
    headers = bearer | {name: value for name, value in claimed.items() if value is not None}
    is_ours = origin not in OTHERS and site in (None, "same-origin", "none")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = app.test_client().open("/api/probe", method=method, headers=headers)
        if is_ours:
            assert answer.status_code == 200
        else:
            check_problem(answer, 403, "Cross-site request refused.")
    assert app.test_client().get("/api/probe", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/probe", "/api/probe"])
def test_cookie_alone_changes_nothing(owner: Account, client_of: ClientOf, path: str) -> None:
    client = client_of(owner)
    assert client.post(path).status_code == 200
    for token in ("", "guess"):
        answer = client.post(path, headers={"X-CSRFToken": token})
        assert answer.status_code == 400
        assert "too old, or cookies are off" in answer.text
    assert client.get(path, headers={"X-CSRFToken": ""}).status_code == 200


def test_csrf_token_of_another_browser_is_refused(owner: Account, stranger: Account, client_of: ClientOf) -> None:
    theirs = client_of(stranger).environ_base["HTTP_X_CSRFTOKEN"]
    assert client_of(owner).post("/probe", headers={"X-CSRFToken": theirs}).status_code == 400


def test_bearer_needs_no_csrf_token_but_is_not_helped_by_a_cookie(
    owner: Account, client_of: ClientOf, bearer: dict[str, str]
) -> None:
    client = client_of(owner)
    del client.environ_base["HTTP_X_CSRFTOKEN"]
    assert client.post("/api/probe", headers=bearer).json == {"name": "owner"}
    assert client.post("/api/probe", headers={"Authorization": "Bearer guess"}).status_code == 401
    assert client.get("/api/probe", headers={"Authorization": "Basic b3duZXI6eA=="}).status_code == 401


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
def test_json_calls_take_only_json(app: Flask, bearer: dict[str, str], content_type: str) -> None:
    answer = app.test_client().post("/api/probe", data='{"a":1}', headers=bearer | {"Content-Type": content_type})
    check_problem(answer, 415, "Send application/json.")


def test_compressed_body_is_refused_unread(app: Flask, bearer: dict[str, str]) -> None:
    headers = bearer | {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = app.test_client().post("/api/probe", data=b"\x1f\x8b", headers=headers)
    check_problem(answer, 415, "Compressed requests not accepted.")


def test_wrong_method_names_the_right_ones(app: Flask) -> None:
    for method in ("TRACE", "POST"):
        answer = app.test_client().open("/api/wait", method=method)
        check_problem(answer, 405, "This address does not accept that kind of request.")
        assert {"GET", "HEAD", "OPTIONS"} == set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ", "Bearer x, Bearer y", "Basic eDp5", "x"])
def test_no_credential_is_401_with_the_way_in(app: Flask, header: str | None) -> None:
    for path in ("/api/probe", "/api/device"):
        answer = app.test_client().get(path, headers={"Authorization": header} if header is not None else {})
        assert (answer.status_code, answer.mimetype) == (401, "application/problem+json")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "token",
    [
        "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJvd25lciJ9.",
        "eyJhbGciOiJIUzI1NiIsImNyaXQiOlsieCJdfQ.eyJzdWIiOiJvd25lciJ9.AAAA",
        "mat_guess",
    ],
)
def test_every_bad_token_gets_the_same_sentence(app: Flask, token: str) -> None:
    answer = app.test_client().get("/api/probe", headers={"Authorization": f"Bearer {token}"})
    check_problem(answer, 401, "Token not valid.")


def test_revoked_api_token_is_dead_at_once(app: Flask, owner: Account, bearer: dict[str, str]) -> None:
    client = app.test_client()
    assert client.get("/api/probe", headers=bearer).status_code == 200
    accounts.revoke_api_token(owner.id, accounts.list_api_tokens(owner.id)[0].id)
    check_problem(client.get("/api/probe", headers=bearer), 401, "Token not valid.")


def test_api_token_is_no_device_token(app: Flask, bearer: dict[str, str]) -> None:
    check_problem(app.test_client().get("/api/device", headers=bearer), 403, "Only a paired machine can do this.")


def test_device_token_opens_what_is_for_its_machine_alone(app: Flask, device_bearer: dict[str, str]) -> None:
    client = app.test_client()
    assert client.get("/api/device", headers=device_bearer).json == {"id": "laptop"}
    check_problem(client.get("/api/probe", headers=device_bearer), 403, "Device tokens cannot do this.")
    assert client.get("/probe", headers=device_bearer).status_code == 403


def test_revoked_device_token_says_so(app: Flask, owner: Account, device_bearer: dict[str, str]) -> None:
    devices.unpair_device(owner.id, "laptop")
    for path in ("/api/device", "/api/probe"):
        answer = app.test_client().get(path, headers=device_bearer)
        check_problem(answer, 401, "Pair this device again.")
        assert answer.json is not None
        assert answer.json["code"] == "device_revoked"


@pytest.mark.parametrize("name", ["token", "access_token", "API_KEY", "authorization"])
def test_secret_in_the_url_is_refused(app: Flask, bearer: dict[str, str], name: str) -> None:
    answer = app.test_client().get(f"/api/probe?{name}=mat_x", headers=bearer)
    check_problem(answer, 400, "Send the token in the Authorization header.")


def test_too_many_says_when_to_come_back(app: Flask) -> None:
    answer = app.test_client().get("/api/wait")
    check_problem(answer, 429, "Slow down.")
    assert answer.headers["Retry-After"] == "7"


def test_busy_database_is_503_without_its_statement(app: Flask) -> None:
    answer = app.test_client().get("/api/locked")
    check_problem(answer, 503, "The database is busy. Try again in a few seconds.")
    assert answer.headers["Retry-After"] == "5"
    assert "secret" not in answer.text


def test_fault_of_our_own_shows_no_trace(app: Flask) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.view_functions["probe_wait"] = access.public(lambda: 1 / 0)
    answer = app.test_client().get("/api/wait")
    check_problem(answer, 500, "Something went wrong in the hub. Its log says what, under this request id.")


PATHS = (
    "/login",
    "/probe",
    "/nowhere",
    "/api/open",
    "/api/probe",
    "/api/nowhere",
    "/static/favicon.svg",
    "/static/none",
)


@pytest.mark.parametrize("path", PATHS)
def test_headers_are_on_every_answer(app: Flask, path: str) -> None:
    headers = app.test_client().get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Access-Control-Allow-Origin" not in headers
    if path != "/static/favicon.svg":
        assert headers["Cache-Control"] == "no-store"
    if not path.startswith("/static"):
        assert {"HX-Request", "Cookie"} <= set(headers["Vary"].split(", "))


def test_static_file_is_kept_for_good_only_by_its_hash(app: Flask) -> None:
    client = app.test_client()
    assert "immutable" in client.get("/static/favicon.svg?v=0123456789").headers["Cache-Control"]
    assert client.get("/static/favicon.svg").headers["Cache-Control"] == "no-cache"


def test_request_id_is_the_askers_if_it_is_harmless(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/api/open", headers={"X-Request-ID": "trace-0001"}).headers["X-Request-ID"] == "trace-0001"
    for odd in ("x", "a b c d e f g h", "x" * 65, "<script>alert</script>"):
        assert client.get("/api/open", headers={"X-Request-ID": odd}).headers["X-Request-ID"] != odd


def test_anonymous_page_leads_to_the_sign_in_and_back(app: Flask) -> None:
    answer = app.test_client().get("/probe?day=2026-03-01&x=%2F")
    assert answer.status_code == 303
    assert answer.location == "/login?next=/probe?day%3D2026-03-01%26x%3D%252F"


def test_expired_session_under_htmx_moves_the_whole_page(app: Flask) -> None:
    answer = app.test_client().get("/probe", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"], answer.text) == (401, "/login", "")


def test_errors_are_a_page_or_a_fragment_with_the_same_status(app: Flask) -> None:
    client = app.test_client()
    page, fragment = client.get("/nowhere"), client.get("/nowhere", headers={"HX-Request": "true"})
    assert (page.status_code, fragment.status_code) == (404, 404)
    sentence = "There is nothing at this address, or it is not yours."
    assert sentence in page.text
    assert sentence in fragment.text
    assert "<html" in page.text
    assert "<html" not in fragment.text


WAYS_IN = ("nobody", "cookie", "cookie without csrf", "token")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("way", WAYS_IN)
def test_ways_in(owner: Account, client_of: ClientOf, bearer: dict[str, str], way: str, method: str) -> None:
    """Who gets in by which way, on a page and on a call."""
    client = client_of(owner if way.startswith("cookie") else None)
    if way != "cookie":
        del client.environ_base["HTTP_X_CSRFTOKEN"]
    headers = bearer if way == "token" else {}
    got = [client.open(path, method=method, headers=headers).status_code for path in ("/probe", "/api/probe")]
    expected = {
        ("nobody", "GET"): [303, 401],
        ("nobody", "POST"): [303, 401],
        ("cookie without csrf", "POST"): [400, 400],
    }
    assert got == expected.get((way, method), [200, 200])


def test_hub_behind_tls(config: Config) -> None:
    """Its own name, cookies that only travel encrypted, and forms from the https page."""
    public = dataclasses.replace(config, host="0.0.0.0", trusted_hosts=("hub.example:8443", "[fd00::1]"), is_https=True)
    app = create_app(public)
    app.add_url_rule("/open", "open", access.public(lambda: "open"), methods=["GET", "POST"])
    client = app.test_client()
    for host in ("hub.example", "hub.example:443", "[fd00::1]:8443", "localhost"):
        assert client.get("/open", headers={"Host": host}).status_code == 200, host
    assert client.get("/open", headers={"Host": "www.hub.example"}).status_code == 400
    answer = client.get("/login", headers={"Host": "hub.example"})
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=")
    assert answer.headers["Set-Cookie"].startswith("__Host-muster=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(answer.headers["Set-Cookie"].split("; "))
    for origin, status in (("https://hub.example", 400), ("https://evil.example", 403)):
        headers = {"Host": "hub.example", "Origin": origin}
        assert client.post("/open", headers=headers).status_code == status, "400: ours, but without the form's token"
    with app.app_context():
        db.engine.dispose()
