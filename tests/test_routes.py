"""Every view is behind a login, or behind a device token, unless it stands in the list below."""

import uuid
from collections.abc import Iterator

import pytest
from flask import Flask
from werkzeug.routing import IntegerConverter, Rule, UUIDConverter
from werkzeug.test import TestResponse

from webapp.blueprints.api.converters import RowNumberConverter

OPEN_TO_ALL = {
    "GET /static/<path:filename>",
    "GET /login",
    "POST /login",
    "GET /setup/<token>",
    "POST /setup/<token>",
    "POST /api/pair/claim",
    "GET /healthz",
    "GET /api/health",
    "GET /api/openapi.json",
}
FOR_COLLECTORS = {
    "GET /api/collector/poll",
    "POST /api/collector/heartbeat",
    "POST /api/collector/results/<uuid:call_id>",
    "POST /api/collector/unpair",
}


def audience(app: Flask, rule: Rule) -> str:
    if rule.endpoint == "static":
        return "public"
    return getattr(app.view_functions[rule.endpoint], "audience", "people")


def list_calls(app: Flask) -> Iterator[tuple[str, Rule, str]]:
    """Each (`GET /path`, rule, method) of the hub."""
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield f"{method} {rule.rule}", rule, method


def ask(app: Flask, rule: Rule, method: str, headers: dict[str, str]) -> TestResponse:
    """The answer to a call with made-up ids in its path."""
    made_up = {IntegerConverter: 1, RowNumberConverter: 1, UUIDConverter: uuid.UUID(int=1)}
    values = {name: made_up.get(type(rule._converters[name]), "XXXXXX") for name in rule.arguments}
    built = rule.build(values)
    assert built is not None
    return app.test_client().open(built[1], method=method, headers=headers)


@pytest.mark.parametrize(("kind", "listed"), [("public", OPEN_TO_ALL), ("collectors", FOR_COLLECTORS)])
def test_exceptions_are_the_listed_ones(app: Flask, kind: str, listed: set[str]) -> None:
    assert {call for call, rule, _ in list_calls(app) if audience(app, rule) == kind} == listed


@pytest.mark.parametrize("bearer", [None, "Bearer guess"])
def test_nobody_gets_in(app: Flask, bearer: str | None) -> None:
    headers = {"Authorization": bearer} if bearer else {}
    for call, rule, method in list_calls(app):
        if audience(app, rule) == "public":
            continue
        answer = ask(app, rule, method, headers)
        if rule.rule.startswith("/api/") or rule.rule == "/metrics":
            assert (answer.status_code, answer.mimetype) == (401, "application/problem+json"), call
        else:
            assert answer.status_code == 303, call
            assert answer.location.startswith("/login"), call


def test_unknown_host_gets_in_nowhere(app: Flask) -> None:
    for call, rule, method in list_calls(app):
        assert ask(app, rule, method, {"Host": "evil.example"}).status_code == 400, call


def test_other_sites_change_nothing_anywhere(app: Flask) -> None:
    for call, rule, method in list_calls(app):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            if method != "GET":
                assert ask(app, rule, method, headers).status_code == 403, call


def test_no_call_answers_with_a_fault(app: Flask) -> None:
    for call, rule, method in list_calls(app):
        assert ask(app, rule, method, {}).status_code < 500, call
