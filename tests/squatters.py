"""Hostile servers on a collector's port. What they learn is in `received`; none of it may open anything."""

import time
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.collectors import Collector, Json, Received, Reply, make_session

DRIP_SECONDS = 0.05


class Squatter(Collector):
    """Says that it is the device, and has no proof."""

    has_proof = False


class Forger(Collector):
    """Says that it is the device, and makes its proof with another key."""

    def __init__(self, device_id: str, **options: Any) -> None:
        super().__init__(device_id=device_id, **options)


class Relay(Collector):
    """Has the challenge answered by the real collector, which listens on another port."""

    def __init__(self, victim: Collector, **options: Any) -> None:
        super().__init__(device_id=victim.device_id, pull_secret=victim.pull_secret, **options)
        self.victim = victim

    def health(self, nonce: str | None) -> Json:
        """The victim's own words."""
        return self.victim.health(nonce)


class Redirecting(Squatter):
    """Sends every caller to `target`."""

    def __init__(self, target: str, **options: Any) -> None:
        super().__init__(**options)
        self.target = target

    def answer(self, request: Received) -> Reply:
        """A redirect that keeps method and body."""
        return Reply({}, 307, {"Location": f"{self.target}{request.path}"})


class Html(Squatter):
    """Somebody else's web page."""

    def answer(self, request: Received) -> Reply:
        """A page."""
        return Reply(b"<!doctype html><title>It works!</title>", headers={"Content-Type": "text/html"})


class Huge(Squatter):
    """A gigabyte of JSON, as much of it as the caller takes; `is_announced` tells the length first."""

    size = 1 << 30

    def __init__(self, *, is_announced: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.is_announced = is_announced
        self.sent = 0

    def respond(self, request: Received, handler: BaseHTTPRequestHandler) -> None:
        """A string that does not end."""
        handler.send_response(200)
        if self.is_announced:
            handler.send_header("Content-Length", str(self.size))
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(b'{"status":"')
        while self.sent < self.size:
            handler.wfile.write(b"x" * 65536)
            self.sent += 65536


class Dripping(Squatter):
    """A byte now and then, for ever: in the header lines, or in the body."""

    def __init__(self, *, is_in_header: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.is_in_header = is_in_header

    def respond(self, request: Received, handler: BaseHTTPRequestHandler) -> None:
        """Never enough."""
        if self.is_in_header:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        else:
            handler.send_response(200)
            handler.send_header("Content-Length", "10000")
            handler.end_headers()
        while True:
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(DRIP_SECONDS)


class Endless(Collector):
    """Holds the key, and always has one more page; `is_same` sends the same page for ever."""

    def __init__(self, *, is_same: bool = False, has_cursor: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.is_same = is_same
        self.has_cursor = has_cursor
        self.pages = 0

    def export(self, asked: Json) -> Json:
        """Another page."""
        self.pages += 1
        number = 0 if self.is_same else self.pages
        answer = {"sessions": [make_session(number)], "hasMore": True, "lastSyncTime": "2026-01-05T09:00:00.000Z"}
        if self.has_cursor:
            answer |= {"nextCursor": f"page-{number}", "epoch": "endless"}
        return answer
