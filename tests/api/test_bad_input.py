"""The catalogue of bad input, row by row, for the calls that exist: the status, and the sentence that helps."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from tests.api.conftest import Caller, Machine
from webapp.extensions import db

JOB = str(uuid.uuid4())
MIB = 1024 * 1024
JSON = "application/json"
TIME = "RFC 3339, e.g. 2026-01-05T13:00:00Z"

Row = tuple[str, str, dict[str, Any], int, str]

ROWS: dict[str, Row] = {
    "1 unknown host": ("GET", "/api/jobs", {"headers": {"Host": "evil.example"}}, 400, "Unknown host."),
    "2 other site's origin": ("POST", "/api/pair/codes", {"headers": {"Origin": "https://evil"}}, 403, "Cross-site"),
    "2 cross-site": ("POST", "/api/pair/codes", {"headers": {"Sec-Fetch-Site": "cross-site"}}, 403, "Cross-site"),
    "3 text": ("POST", "/api/pair/claim", {"data": b"{}", "content_type": "text/plain"}, 415, "Send application/json."),
    "3 form": ("POST", "/api/pair/claim", {"data": {"code": "x"}}, 415, "Send application/json."),
    "3 no type": ("POST", "/api/pair/claim", {"data": b"{}"}, 415, "Send application/json."),
    "3 no type, no body": ("POST", "/api/pair/claim", {}, 415, "Send application/json."),
    "4 truncated": ("POST", "/api/pair/claim", {"data": b'{"code": "', "content_type": JSON}, 400, " 1:10 "),
    "4 NaN": ("POST", "/api/pair/claim", {"data": b'{"port": NaN}', "content_type": JSON}, 400, " 1:10 "),
    "4 doubled": ("POST", "/api/pair/claim", {"data": b'{"port": 1,\n"port": 2}', "content_type": JSON}, 400, " 2:1 "),
    "4 deep": ("POST", "/api/pair/claim", {"data": b'{"a":' * 40, "content_type": JSON}, 400, "deeper than 32"),
    "4 no body": ("POST", "/api/pair/claim", {"data": b"", "content_type": JSON}, 400, " 1:1 "),
    "5 array": ("POST", "/api/pair/claim", {"json": []}, 422, "Body must be an object."),
    "5 null": ("POST", "/api/pair/claim", {"data": b"null", "content_type": JSON}, 422, "Body must be an object."),
    "6 unknown field": ("POST", "/api/pair/claim", {"json": {"colour": 1}}, 422, "colour: unknown field."),
    "6 unknown parameter": ("GET", "/api/jobs?offset=-1", {}, 422, "offset: unknown parameter."),
    "6 body where none belongs": ("POST", "/api/pair/codes", {"json": {"code": "A"}}, 422, "code: unknown field."),
    "7 true": ("GET", "/api/sessions?limit=true", {}, 422, "limit: integer 1-500"),
    "7 1e309": ("GET", "/api/jobs?limit=1e309", {}, 422, "limit: integer 1-500"),
    "7 -1": ("GET", "/api/jobs?limit=-1", {}, 422, "limit: integer 1-500"),
    "7 10^18": ("GET", "/api/jobs?limit=1000000000000000000", {}, 422, "limit: integer 1-500"),
    "7 port": ("POST", "/api/pair/claim", {"json": {"code": "A", "port": "5"}}, 422, "port: integer 1-65535"),
    "8 NUL": ("PATCH", "/api/devices/x", {"json": {"name": "a\x00"}}, 422, "name: text without NUL"),
    "8 surrogate": (
        "PATCH",
        "/api/devices/x",
        {"data": b'{"name": "\\ud800"}', "content_type": JSON},
        422,
        "name: text",
    ),
    "8 NUL in the query": ("GET", "/api/sessions?project=%00", {}, 422, "project: text without NUL"),
    "8 10 MiB": ("PATCH", "/api/devices/x", {"json": {"name": "x" * 10 * MIB}}, 413, "Limit 1 MiB."),
    "8 long name": ("PATCH", "/api/devices/x", {"json": {"name": "x" * 101}}, 422, "name: text of 1 to 100 characters"),
    "9 not UTF-8": ("POST", "/api/pair/claim", {"data": b'{"code": "\xff"}', "content_type": JSON}, 400, "not UTF-8"),
    "10 9 MiB": ("POST", "/api/pair/claim", {"data": b" " * 9 * MIB, "content_type": JSON}, 413, "Limit 1 MiB."),
    "11 gzip": (
        "POST",
        "/api/pair/claim",
        {"data": b"\x1f\x8b", "content_type": JSON, "headers": {"Content-Encoding": "gzip"}},
        415,
        "Compressed requests not accepted.",
    ),
    "12 TRACE": ("TRACE", "/api/jobs", {}, 405, "does not accept that kind of request"),
    "12 wrong method": ("PUT", "/api/pair/claim", {"json": {}}, 405, "does not accept that kind of request"),
    "13 job": ("GET", "/api/jobs/1%20OR%201=1", {}, 404, "nothing at this address"),
    "13 job up": ("GET", "/api/jobs/..%2F1", {}, 404, "nothing at this address"),
    "13 device": ("GET", "/api/devices/..%2F1", {}, 404, "nothing at this address"),
    "13 device quoted": ("DELETE", "/api/devices/'; DROP TABLE devices", {}, 404, "nothing at this address"),
    "13 code": ("GET", "/api/pair/codes/A", {}, 404, "nothing at this address"),
    "14 no token": ("GET", "/api/jobs", {"headers": {"Authorization": ""}}, 401, "Token not valid."),
    "14 empty bearer": ("GET", "/api/jobs", {"headers": {"Authorization": "Bearer "}}, 401, "Token not valid."),
    "14 two": ("GET", "/api/jobs", {"headers": {"Authorization": "Bearer a,Bearer b"}}, 401, "Token not valid."),
    "18 token in the query": ("GET", "/api/jobs?token=mat_x", {}, 400, "Send the token in the Authorization header."),
    "23 long device name": (
        "POST",
        "/api/pair/claim",
        {"json": {"code": "A", "deviceId": "d", "name": "x" * 5000, "platform": "", "version": "", "port": 1}},
        422,
        "name: text of 1 to 200 characters",
    ),
    "29 words": ("GET", "/api/sessions?from=yesterday", {}, 400, f"from: {TIME}"),
    "29 unescaped zone": ("GET", "/api/sessions?to=2026-01-05T13:00:00+02:00", {}, 400, f"to: {TIME}"),
    "29 32 December": ("POST", "/api/sessions/sync?since=2026-12-32T00:00:00Z", {}, 400, f"since: {TIME}"),
    "29 day": ("GET", "/api/sessions/stats?from=2026-02-30", {}, 400, "from: a day, e.g. 2026-01-05"),
    "30 limit": ("GET", "/api/sessions?limit=100000", {}, 422, "limit: integer 1-500"),
    "30 offset": ("GET", "/api/sessions?offset=-1", {}, 422, "offset: unknown parameter."),
    "30 cursor of nobody": ("GET", "/api/jobs?cursor=abc", {}, 400, "Cursor does not match this query."),
    "67 too young": ("DELETE", "/api/jobs?older_than_days=0", {}, 422, "Only finished jobs can be pruned"),
    "67 running": ("DELETE", "/api/jobs?status=running", {}, 422, "Only finished jobs can be pruned"),
    "stats of the future first": ("GET", "/api/sessions/stats?from=2026-02-02&to=2026-02-01", {}, 422, "from: a day"),
}


def check_problem(answer: TestResponse, status: int, sentence: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.json is not None
    assert {"type", "title", "status", "detail", "code", "request_id"} <= set(answer.json)
    assert answer.json["status"] == status
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert sentence in answer.json["detail"]


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_bad_input_is_answered_as_the_catalogue_says(script: Caller, row: Row) -> None:
    method, path, given, status, sentence = row
    answer = script.call(method, path, **given)
    check_problem(answer, status, sentence)
    assert (status == 405) == ("Allow" in answer.headers)
    assert (status == 401) == ("WWW-Authenticate" in answer.headers)


def test_no_credential_is_401(anybody: Caller) -> None:
    answer = anybody.get("/api/jobs")
    check_problem(answer, 401, "Sign in first.")
    assert answer.headers["WWW-Authenticate"].lower().startswith("bearer")


def test_device_token_is_refused_on_a_persons_call(machine: Machine) -> None:
    check_problem(machine.caller.get("/api/jobs"), 403, "Device tokens cannot do this.")


def test_revoked_device_token_is_told_to_pair_again(script: Caller, machine: Machine) -> None:
    script.call("DELETE", f"/api/devices/{machine.id}")
    check_problem(machine.caller.get("/api/jobs"), 401, "Pair this device again.")


def test_cursor_of_another_query_is_400(script: Caller, add_jobs: Callable[[int], None]) -> None:
    add_jobs(3)
    first = script.get("/api/jobs?limit=2").json
    assert first is not None
    check_problem(
        script.get(f"/api/jobs?limit=2&status=queued&cursor={first['next_cursor']}"),
        400,
        "Cursor does not match this query.",
    )


@pytest.fixture
def statements(app: Flask) -> Iterator[list[str]]:
    """What is asked of the database from now on."""
    asked: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        asked.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield asked
    event.remove(db.engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "path", ["/api/jobs/1", "/api/devices/a%20b", "/api/pair/codes/-", "/api/jobs/1 OR 1=1/status"]
)
def test_malformed_id_never_asks_the_database(script: Caller, statements: list[str], path: str) -> None:
    assert script.get(path).status_code == 404
    assert statements == []
