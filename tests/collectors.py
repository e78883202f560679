"""Small real collectors for tests: HTTP servers on loopback, one thread per connection, gone at the end of a `with`.

`ExactCollector` speaks the whole protocol, `PlainCollector` only what the first collectors did. The hostile ones are in
`tests/squatters.py`. Everything that a collector received is kept in `received`.
"""

import base64
import json
import secrets
import socket
import socketserver
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

import jwt

from collector import wire

Json = dict[str, Any]
START_MS = wire.parse_ms("2026-01-05T09:00:00Z")
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Received:
    """One request as it came in."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Everything in it, for looking for what must not be there."""
        head = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        return f"{self.method} {self.path} {dict(self.query)}\n{head}\n{self.body.decode(errors='replace')}"

    def json(self) -> Json:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """One answer: a JSON value or raw bytes."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        """What goes out."""
        return self.value if isinstance(self.value, bytes) else json.dumps(self.value).encode()


class Server(ThreadingHTTPServer):
    """Keeps its connections, so that stopping closes them like a process that ends."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.connections: set[socket.socket] = set()
        self.lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without the name look-up that http.server does here."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """A connection begins."""
        with self.lock:
            self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A connection ends."""
        with self.lock:
            self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news here."""

    def drop_connections(self) -> None:
        """Closes every connection under its client."""
        with self.lock:
            for connection in self.connections:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # its client was faster


class Collector:
    """A paired machine that answers health with the real proof. Subclasses answer exports."""

    http_version: ClassVar[str] = "HTTP/1.1"
    has_proof = True

    def __init__(
        self,
        *,
        device_id: str | None = None,
        pull_secret: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "test collector",
    ) -> None:
        self.device_id = device_id or str(uuid.uuid4())
        self.pull_secret = pull_secret or secrets.token_urlsafe(32)
        self.host, self.port, self.name = host, port, name
        self.received: list[Received] = []
        self.failures: list[Reply] = []
        self._seen_jti: set[str] = set()
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listens; on the same port as before if it was stopped."""
        self._server = Server((self.host, self.port), _handler_for(self))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Stops listening and drops every connection, as a killed process would. Stopping twice is fine."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.drop_connections()

    def respond(self, request: Received, handler: BaseHTTPRequestHandler) -> None:
        """Answers one request; the hostile collectors write what they like."""
        reply = self.failures.pop(0) if self.failures else self.answer(request)
        handler.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        handler.wfile.write(reply.body)

    def answer(self, request: Received) -> Reply:
        """What a collector says to `request`."""
        if (request.method, request.path) == ("GET", "/api/health"):
            return Reply(self.health(request.query.get("challenge", [None])[0]))
        if (request.method, request.path) != ("POST", "/api/sessions/export"):
            return Reply({"title": "Not found"}, 404)
        if not self.is_hub(request):
            return Reply({"title": "Unauthorized"}, 401)
        return Reply(self.export(request.json()))

    def health(self, nonce: str | None) -> Json:
        """The health answer, with the proof if it was challenged."""
        answer = {
            "status": "healthy",
            "deviceId": self.device_id,
            "timestamp": wire.format_ms(wire.now_ms()),
            "version": "0.1.0",
            "protocol": wire.PROTOCOL,
            "paired": True,
            "name": self.name,
        }
        if nonce and self.has_proof:
            answer["proof"] = wire.health_proof(self.pull_secret, nonce, self.device_id, self.port)
        return answer

    def is_hub(self, request: Received) -> bool:
        """Whether the request carries a credential that only the hub can make, for the first time."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            jti, _ = wire.read_call(token, self.pull_secret, self.device_id, request.path)
        except jwt.InvalidTokenError:
            return False
        is_new = scheme == "Bearer" and jti not in self._seen_jti
        self._seen_jti.add(jti)
        return is_new

    def export(self, asked: Json) -> Json:
        """The answer to an authorised export."""
        return {"sessions": [], "hasMore": False, "lastSyncTime": "1970-01-01T00:00:00.000Z"}

    def exports(self) -> list[Json]:
        """The bodies of the exports that were asked for."""
        return [request.json() for request in self.received if request.path == "/api/sessions/export"]


@dataclass(frozen=True)
class Row:
    """One session as an exact collector keeps it."""

    rev: int
    changed_ms: int
    session: Json


class ExactCollector(Collector):
    """Cursor, epoch and reset as the contract has them. `put` adds or changes a session, also while it is pulled."""

    def __init__(self, *, now_ms: Callable[[], int] = wire.now_ms, **options: Any) -> None:
        super().__init__(**options)
        self.epoch = secrets.token_hex(8)
        self.rows: dict[str, Row] = {}
        self.most_per_page = wire.EXPORT_MAX_LIMIT
        self._counter = self._changed_ms = 0
        self._now_ms = now_ms
        self._lock = threading.RLock()

    def put(self, *sessions: Json) -> None:
        """Stores new or changed sessions, each with a revision and a change time of its own."""
        with self._lock:
            for session in sessions:
                self._counter += 1
                self._changed_ms = max(self._now_ms(), self._changed_ms + 1)
                known = self.rows.get(session["id"])
                revision = known.session["revision"] + 1 if known else 1
                full = {**session, "deviceId": self.device_id, "schemaVersion": 1, "revision": revision}
                full["changedAt"] = wire.format_ms(self._changed_ms)
                self.rows[session["id"]] = Row(self._counter, self._changed_ms, full)

    def reinstall(self) -> None:
        """Forgets everything, like a collector with a new database."""
        with self._lock:
            self.epoch, self.rows = secrets.token_hex(8), {}
            self._counter = self._changed_ms = 0

    def restore(self, backup: tuple[int, dict[str, Row]]) -> None:
        """Goes back to an old copy of its database (see `back_up`), epoch included."""
        with self._lock:
            self._counter, self.rows = backup[0], dict(backup[1])

    def back_up(self) -> tuple[int, dict[str, Row]]:
        """A copy of the database as it is now."""
        with self._lock:
            return self._counter, dict(self.rows)

    @property
    def sessions(self) -> list[Json]:
        """What there is to pull."""
        with self._lock:
            return [row.session for row in sorted(self.rows.values(), key=lambda row: row.rev)]

    def export(self, asked: Json) -> Json:
        """One page."""
        with self._lock:
            after, is_reset = self._position(asked)
            newer = sorted((row for row in self.rows.values() if row.rev > after), key=lambda row: row.rev)
            limit = min(asked.get("limit", wire.EXPORT_DEFAULT_LIMIT), self.most_per_page)
            page = newer[:limit]
            since_ms = wire.parse_ms(asked["since"]) if asked.get("since") else self._changed_ms
            last_ms = page[-1].changed_ms if page else min(since_ms, self._changed_ms)
            answer = {
                "sessions": [row.session for row in page],
                "hasMore": len(newer) > limit,
                "lastSyncTime": wire.format_ms(last_ms),
                "nextCursor": self._cursor(page[-1].rev if page else min(after, self._counter)),
                "epoch": self.epoch,
            }
            return answer | ({"reset": True} if is_reset else {})

    def _position(self, asked: Json) -> tuple[int, bool]:
        if asked.get("cursor"):
            epoch, rev, changed_ms = json.loads(base64.urlsafe_b64decode(asked["cursor"]))
            is_rolled_back = any(row.rev <= rev and row.changed_ms > changed_ms for row in self.rows.values())
            is_foreign = epoch != self.epoch or rev > self._counter or is_rolled_back
            return (0, True) if is_foreign else (rev, False)
        since_ms = wire.parse_ms(asked["since"]) if asked.get("since") else -1
        return max((row.rev for row in self.rows.values() if row.changed_ms <= since_ms), default=0), False

    def _cursor(self, rev: int) -> str:
        changed_ms = max((row.changed_ms for row in self.rows.values() if row.rev <= rev), default=0)
        return base64.urlsafe_b64encode(json.dumps([self.epoch, rev, changed_ms]).encode()).decode()


class PlainCollector(Collector):
    """Only `sessions`, `hasMore` and `lastSyncTime`; change times of whole seconds, so that many are the same.

    It closes the connection after every answer, as the simplest servers do. `since` is exclusive unless told otherwise.
    """

    http_version = "HTTP/1.0"

    def __init__(self, *, most_per_page: int = 100, is_since_exclusive: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.most_per_page = most_per_page
        self.is_since_exclusive = is_since_exclusive
        self._rows: dict[str, tuple[int, Json]] = {}
        self._lock = threading.Lock()

    def put(self, changed_ms: int, *sessions: Json) -> None:
        """Stores sessions that all changed in the second of `changed_ms`."""
        with self._lock:
            for session in sessions:
                self._rows[session["id"]] = (changed_ms // 1000 * 1000, session)

    @property
    def sessions(self) -> list[Json]:
        """What there is to pull."""
        with self._lock:
            return [session for _, session in self._rows.values()]

    def export(self, asked: Json) -> Json:
        """One page; the only order there is, is by second."""
        since_ms = wire.parse_ms(asked["since"]) if asked.get("since") else -1
        first_ms = since_ms + 1 if self.is_since_exclusive else since_ms
        with self._lock:
            newer = sorted((row for row in self._rows.values() if row[0] >= first_ms), key=lambda row: row[0])
        page = newer[: min(asked.get("limit", 100), self.most_per_page)]
        last_ms = page[-1][0] if page else max(since_ms, 0)
        return {
            "sessions": [session for _, session in page],
            "hasMore": len(newer) > len(page),
            "lastSyncTime": f"{datetime.fromtimestamp(last_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
        }


def make_session(number: int, *, start_ms: int | None = None, minutes: int = 10, **changes: Any) -> Json:
    """A file session with the eighteen required fields and its segments; the `number`-th of some hours of work."""
    began_ms = START_MS + number * 15 * MINUTE_MS if start_ms is None else start_ms
    ended_ms = began_ms + minutes * MINUTE_MS
    session = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"session-{number}")),
        "filePath": f"/home/ada/code/tide/src/part_{number % 7}.py",
        "fileName": f"part_{number % 7}.py",
        "fileExtension": "py",
        "language": "Python",
        "projectName": "tide",
        "projectPath": "/home/ada/code/tide",
        "sessionStartTime": wire.format_ms(began_ms),
        "sessionEndTime": wire.format_ms(ended_ms),
        "totalDuration": minutes * 60,
        "linesAdded": 3,
        "linesDeleted": 1,
        "linesModified": 2,
        "charactersAdded": 120,
        "charactersDeleted": 40,
        "charactersModified": 60,
        "totalEdits": 9,
        "isActive": False,
        "editor": "vscode",
        "platform": "linux",
        "activeSegments": [[began_ms, ended_ms]],
        "sources": ["wakatime"],
    }
    return session | changes


def make_plain_session(number: int, **changes: Any) -> Json:
    """The same with the eighteen required fields only."""
    extra = ("editor", "platform", "activeSegments", "sources")
    return {name: value for name, value in make_session(number, **changes).items() if name not in extra}


def grow(session: Json, minutes: int) -> Json:
    """The session after so many more minutes of work."""
    ended = datetime.fromisoformat(session["sessionEndTime"]) + timedelta(minutes=minutes)
    ended_ms = wire.to_ms(ended)
    grown = session | {
        "sessionEndTime": wire.format_ms(ended_ms),
        "totalDuration": session["totalDuration"] + minutes * 60,
    }
    if "activeSegments" in session:
        grown["activeSegments"] = [[session["activeSegments"][0][0], ended_ms]]
    return grown


def _handler_for(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = collector.http_version
        disable_nagle_algorithm = True
        wbufsize = -1

        def _take(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Received(self.command, parts.path, parse_qs(parts.query), dict(self.headers.items()), body)
            collector.received.append(request)
            collector.respond(request, self)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _take

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: what matters is in `received`."""

    return Handler
