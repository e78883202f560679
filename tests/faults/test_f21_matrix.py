"""F21: Host x Origin x Sec-Fetch-Site x Content-Type x credential, over every route and method of the hub.

The routes come from the url_map, so none can be forgotten. The views are replaced by one that says "in": what is tested
is who gets as far as that, against a table that is written down here and not taken from the code.
"""

import itertools
from dataclasses import dataclass

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient
from flask_wtf.csrf import generate_csrf
from werkzeug.routing import Rule

from tests.api.conftest import claim
from webapp.extensions import limiter
from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/api/health"),
    ("GET", "/api/openapi.json"),
    ("POST", "/api/pair/claim"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("GET", "/setup/<token>"),
    ("POST", "/setup/<token>"),
    ("GET", "/static/<path:filename>"),
}
COLLECTORS = {
    ("GET", "/api/collector/poll"),
    ("POST", "/api/collector/heartbeat"),
    ("POST", "/api/collector/results/<uuid:call_id>"),
    ("POST", "/api/collector/unpair"),
}

BROWSER_ONLY = ("/login", "/logout", "/setup/", "/settings")
"""Where a token is refused even to its owner: it must not make other tokens or end sessions."""

HOSTS = {"localhost": True, "localhost:8000": True, "evil.example": False, "localhost.evil.example": False, "": False}
ORIGINS = {None: True, "own": True, "null": False, "https://evil.example": False, "http://localhost:8001": False}
SITES = {None: True, "same-origin": True, "none": True, "same-site": False, "cross-site": False}
TYPES = {"application/json": True, "text/plain": False, "application/x-www-form-urlencoded": False}
UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}

PARTS = {
    "PathConverter": "app.css",
    "UnicodeConverter": "x",
    "DeviceIdConverter": "x",
    "PairingCodeConverter": "ABCDEF",
    "UUIDConverter": "3f0d6d0e-5a43-4c05-9d0b-6a2f6f1f6b11",
    "IntegerConverter": 1,
    "RowNumberConverter": 1,
}


@dataclass(frozen=True)
class Case:
    """One request of the matrix."""

    method: str
    rule: str
    host: str
    origin: str | None
    site: str | None
    content_type: str
    credential: str

    @property
    def is_api(self) -> bool:
        return self.rule.startswith("/api/") or self.rule in ("/healthz", "/metrics")

    @property
    def audience(self) -> str:
        if (self.method, self.rule) in PUBLIC:
            return "public"
        return "collectors" if (self.method, self.rule) in COLLECTORS else "people"


def expect(case: Case) -> int:
    """The whole table. 200 means that the view was reached."""
    if not HOSTS[case.host]:
        return 400
    if case.method in UNSAFE and not (ORIGINS[case.origin] and SITES[case.site]):
        return 403
    if case.method in UNSAFE and case.is_api and not TYPES[case.content_type]:
        return 415
    refused = refuse_credential(case)
    if refused:
        return refused
    return 400 if lacks_form_token(case) else 200


def refuse_credential(case: Case) -> int | None:
    """The status for a credential that does not open the route's audience."""
    sign_in = 401 if case.is_api else 303
    opens = {
        "people": {"nothing": sign_in, "bad": sign_in, "device": 403, "revoked": sign_in},
        "collectors": {"nothing": 401, "bad": 401, "script": 403, "revoked": 401, "browser": 401, "browser+csrf": 401},
        "public": {},
    }
    refused = opens[case.audience].get(case.credential)
    is_token = case.credential in ("bad", "script", "device", "revoked")
    return refused or (403 if is_token and case.rule.startswith(BROWSER_ONLY) else None)


def lacks_form_token(case: Case) -> bool:
    """Whether a browser's cookie, or nothing at all, would have a form sent in a person's name."""
    if case.method not in UNSAFE or case.credential in ("bad", "script", "device", "revoked", "browser+csrf"):
        return False
    return case.credential == "browser" or not case.is_api


@pytest.fixture
def doors(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Flask:
    """The hub with every view replaced by one that says "in"; what guards the views stays."""
    for name, view in app.view_functions.items():

        def enter(**_values: object) -> Response:
            return Response("in")

        for mark in ("audience", "endpoint"):
            if hasattr(view, mark):
                setattr(enter, mark, getattr(view, mark))
        app.view_functions[name] = enter
    monkeypatch.setattr(limiter, "enabled", False)
    return app


@pytest.fixture
def callers(doors: Flask, owner: Account) -> dict[str, tuple[FlaskClient, dict[str, str]]]:
    """Each kind of credential: a client (with its cookies) and its headers."""
    _, script = accounts.create_api_token(owner.id, "matrix")
    tokens = {"bad": "mat_guess", "script": script, "device": pair(owner, "one"), "revoked": pair(owner, "two")}
    devices.unpair_device(owner.id, "two")
    made = {name: (doors.test_client(), {"Authorization": f"Bearer {token}"}) for name, token in tokens.items()}
    browser, form_token = sign_in(doors, owner)
    return made | {
        "nothing": (doors.test_client(), {}),
        "browser": (browser, {}),
        "browser+csrf": (browser, {"X-CSRFToken": form_token}),
    }


def pair(owner: Account, device_id: str) -> str:
    """The token of a newly paired device."""
    _, code = devices.create_code(owner.id)
    return devices.claim_code(claim(code, device_id), address="127.0.0.1").token


def sign_in(app: Flask, owner: Account) -> tuple[FlaskClient, str]:
    """A signed-in browser, and the token that its forms carry."""
    client = app.test_client()
    with client.session_transaction() as browser:
        browser["sid"] = accounts.sign_in(owner.id, user_agent="matrix", address="127.0.0.1")
        with app.test_request_context():
            from flask import session

            token = generate_csrf()
            browser["csrf_token"] = session["csrf_token"]
    return client, token


def list_doors(app: Flask) -> list[tuple[str, Rule]]:
    """Every method of every rule, without those that Flask adds by itself."""
    rules = app.url_map.iter_rules()
    return [(method, rule) for rule in rules for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})]


def fill(app: Flask, method: str, rule: Rule) -> str:
    """An address that the rule matches."""
    values = {name: PARTS[type(converter).__name__] for name, converter in rule._converters.items()}
    return app.url_map.bind("localhost").build(rule.endpoint, values, method=method)


def list_cases(method: str, rule: str, credentials: list[str]) -> list[Case]:
    """What is tried at one door. Each dimension that cannot matter for a safe method is still tried once alone."""
    if method in UNSAFE:
        headers = itertools.product(["localhost"], ORIGINS, SITES, ["application/json"])
        others = [("localhost", None, None, kind) for kind in TYPES]
    else:
        headers = itertools.product(["localhost"], ORIGINS, [None, "cross-site"], ["application/json"])
        others = [("localhost", None, None, "text/plain")]
    others += [(host, None, None, "application/json") for host in HOSTS]
    tried = dict.fromkeys([*headers, *others])
    return [Case(method, rule, *given, credential) for given in tried for credential in credentials]


def ask(case: Case, path: str, client: FlaskClient, credential: dict[str, str]) -> int:
    """The status that the hub answers with."""
    headers = {"Host": case.host, "Content-Type": case.content_type, **credential}
    if case.origin is not None:
        headers["Origin"] = f"http://{case.host}" if case.origin == "own" else case.origin
    if case.site is not None:
        headers["Sec-Fetch-Site"] = case.site
    body = b"{}" if case.method in UNSAFE else b""
    return client.open(path, method=case.method, headers=headers, data=body).status_code


@pytest.mark.faults
def test_every_door_opens_for_exactly_those_it_should(
    doors: Flask, callers: dict[str, tuple[FlaskClient, dict[str, str]]]
) -> None:
    wrong: list[str] = []
    tried = 0
    for method, rule in list_doors(doors):
        for case in list_cases(method, rule.rule, list(callers)):
            status = ask(case, fill(doors, method, rule), *callers[case.credential])
            tried += 1
            if status != expect(case):
                wrong.append(f"{status} instead of {expect(case)}: {case}")
    print(f"F21: {tried} requests at {len(list_doors(doors))} doors, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong[:30])
    assert tried > 5_000


@pytest.mark.faults
def test_the_lists_of_open_doors_name_no_door_that_is_gone(doors: Flask) -> None:
    there = {(method, rule.rule) for method, rule in list_doors(doors)}
    assert there >= PUBLIC | COLLECTORS
