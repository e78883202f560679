"""A small hub that answers collectors as docs/wire-protocol.md says, written by hand, for tests of the link."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from collector import wire

RIGHT_CODE = "K7M2QX"
RESULTS = "/api/collector/results/"
ASSIGNED_ID = "5f6f2c3e-8d5f-4b5c-9a55-0f2f8f1f1a11"
PULL_SECRET = "a pull secret of the fake hub, long enough"


class FakeHub:
    """What the hub was told, and how it is to answer."""

    def __init__(self) -> None:
        self.token = "a fake device token"
        self.device_id: str | None = None
        self.claims: list[dict[str, Any]] = []
        self.polls: list[dict[str, str]] = []
        self.heartbeats: list[dict[str, Any]] = []
        self.unpaired = 0
        self.poll_interval = 1
        self.settings: dict[str, Any] = {}
        self.settings_version, self.settings_epoch = 0, "e1"
        self.requests: list[dict[str, Any]] = []
        self.results: list[tuple[str, Any]] = []
        self.result_statuses: list[int] = []
        self.date: str | None = None
        self.fault: tuple[int, dict[str, str], bytes] | None = None
        self.url = ""

    def answer(self, method: str, path: str, query: dict[str, str], token: str, body: Any) -> tuple[int, Any]:
        """Status and body for one request."""
        if path == "/api/pair/claim":
            return self.claim(body)
        if token != f"Bearer {self.token}":
            return 401, {"code": "device_revoked", "detail": "Pair this device again."}
        if (method, path) == ("GET", "/api/collector/poll"):
            return self.poll(query)
        if (method, path) == ("POST", "/api/collector/heartbeat"):
            self.heartbeats.append(body)
            return 204, None
        if method == "POST" and path.startswith(RESULTS):
            return self.take_result(path.removeprefix(RESULTS), body)
        if (method, path) == ("POST", "/api/collector/unpair"):
            self.unpaired += 1
            self.token = "none"
            return 204, None
        return 404, {"code": "not_found", "detail": "There is nothing at this address."}

    def take_result(self, request_id: str, body: Any) -> tuple[int, Any]:
        """Answers with the next of `result_statuses`, then with 200; an answered request is not listed again."""
        status = self.result_statuses.pop(0) if self.result_statuses else 200
        self.results.append((request_id, body))
        if status < 500:
            self.requests = [request for request in self.requests if request["id"] != request_id]
        return status, {} if status == 200 else {"code": "no", "detail": "Not now."}

    def claim(self, body: dict[str, Any]) -> tuple[int, Any]:
        self.claims.append(body)
        if body["code"] != RIGHT_CODE:
            return 404, {"code": "bad_code", "detail": "Code not valid or expired."}
        return 200, {
            "deviceId": self.device_id or body["deviceId"],
            "token": self.token,
            "pullSecret": PULL_SECRET,
            "pollInterval": self.poll_interval,
            "hubName": "Fake hub",
        }

    def poll(self, query: dict[str, str]) -> tuple[int, Any]:
        self.polls.append(query)
        answer: dict[str, Any] = {
            "settingsVersion": self.settings_version,
            "settingsEpoch": self.settings_epoch,
            "commands": [],
            "requests": self.requests,
            "pollInterval": self.poll_interval,
        }
        if (query["version"], query.get("epoch", "")) != (str(self.settings_version), self.settings_epoch):
            answer["settings"] = self.settings
        return 200, answer


class Handler(BaseHTTPRequestHandler):
    """Hands requests to the hub of the server."""

    hub: ClassVar[FakeHub]

    def do_GET(self) -> None:
        self.respond("GET", None)

    def do_POST(self) -> None:
        assert self.headers["Content-Type"] == "application/json"
        self.respond("POST", json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def respond(self, method: str, body: Any) -> None:
        if self.hub.fault is not None:
            status, headers, content = self.hub.fault
        else:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            token = self.headers.get("Authorization", "")
            status, answer = self.hub.answer(method, parts.path, query, token, body)
            content = b"" if answer is None else json.dumps(answer).encode()
            headers = {"Content-Type": "application/json" if status < 400 else "application/problem+json"}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date of an answer: as the hub's clock goes, or as a test sets it."""
        return self.hub.date or super().date_time_string(timestamp)  # type: ignore[arg-type]

    def log_message(self, *_: object) -> None:
        """Keeps the tests' output quiet."""


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """A hub that listens until the test ends."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join(5)


def sign_export(device_id: str) -> dict[str, str]:
    """The header with which this hub asks for an export."""
    return {"Authorization": f"Bearer {wire.sign_call(PULL_SECRET, device_id, '/api/sessions/export')}"}
