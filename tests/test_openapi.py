"""The OpenAPI document says what the hub does: it names every call, who may make it, and only what it contains."""

from typing import Any

import pytest
from flask import Flask

from webapp.blueprints.api.endpoint import list_endpoints


@pytest.fixture
def document(app: Flask) -> dict[str, Any]:
    """The document as anybody gets it."""
    answer = app.test_client().get("/api/openapi.json")
    assert answer.status_code == 200
    assert answer.json is not None
    return answer.json


def test_document_names_every_call_of_the_api(app: Flask, document: dict[str, Any]) -> None:
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")]
    told = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    assert len(told) == len(list_endpoints(app)) >= len(rules) > 20
    assert all(getattr(app.view_functions[rule.endpoint], "endpoint", None) for rule in rules)


def test_every_call_says_who_may_and_what_can_go_wrong(document: dict[str, Any]) -> None:
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            assert call["summary"].endswith("."), path
            assert {"400", "422", "503"} <= set(call["responses"]), path
            is_public = path in ("/healthz", "/api/health", "/api/openapi.json", "/api/pair/claim")
            assert (call["security"] == []) is is_public, path
            assert ("requestBody" in call) <= (method != "get"), path


def test_document_points_only_at_what_it_contains(document: dict[str, Any]) -> None:
    parts = document["components"]
    known = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in parts[kind]}
    assert set(find_references(document)) == known
    assert document["openapi"] == "3.1.0"


def find_references(part: Any) -> list[str]:
    """Every `$ref` below `part`."""
    if isinstance(part, list):
        return [found for item in part for found in find_references(item)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
    return own + [found for item in part.values() for found in find_references(item)]
