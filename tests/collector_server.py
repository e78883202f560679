"""The HTTP server under every collector of the tests: one thread per connection, gone at the end of a `with`."""

import json
import secrets
import socket
import socketserver
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, urlsplit

import jwt

from collector import wire

Json = dict[str, Any]


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
        answers = {"/api/sessions/export": self.export, "/api/sessions/coverage": self.cover}
        if request.method != "POST" or request.path not in answers:
            return Reply({"title": "Not found"}, 404)
        if not self.is_hub(request):
            return Reply({"title": "Unauthorized"}, 401)
        answer = answers[request.path](request.json())
        return Reply(answer) if answer is not None else Reply({"title": "Not found"}, 404)

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

    def cover(self, asked: Json) -> Json | None:
        """The answer to an authorised question for its days; None from a collector that does not know it."""
        return None

    def exports(self) -> list[Json]:
        """The bodies of the exports that were asked for."""
        return [request.json() for request in self.received if request.path == "/api/sessions/export"]


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

        do_GET = do_POST = _take  # noqa: N815  (names that http.server looks for)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: what matters is in `received`."""

    return Handler
