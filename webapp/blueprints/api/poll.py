"""The short road for polls: every collector asks every few seconds, and nearly always the answer is "nothing new".

It answers only what is beyond doubt: a poll in the exact form that collectors send, with a token that was good less
than a second ago. Everything else takes the long road through Flask, which knows all rules and all errors.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from flask import Flask, Response

from webapp.blueprints.api.endpoint import JSON
from webapp.blueprints.headers import add_headers
from webapp.blueprints.security import host_name, known_hosts
from webapp.features.devices import service as devices
from webapp.lib import clock

Environ = dict[str, Any]
Start = Callable[..., Any]
Road = Callable[[Environ, Start], Iterable[bytes]]

PATH = "/api/collector/poll"
QUERY = re.compile(r"version=(?P<version>[0-9]{1,15})&epoch=(?P<epoch>[0-9A-Za-z_-]{0,64})")
KNOWN_SECONDS = 0.8
KNOWN_ANSWERS = 20_000
UNUSUAL = ("HTTP_CONTENT_ENCODING", "HTTP_X_REQUEST_ID", "HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH")


@dataclass(frozen=True, slots=True)
class Known:
    """An answer that may be given again until `until` (monotonic seconds)."""

    until: float
    device_id: str
    body: bytes


class ShortRoad:
    """WSGI middleware in front of `long_road`."""

    def __init__(self, app: Flask, long_road: Road) -> None:
        self._app = app
        self._long_road = long_road
        self._hosts = known_hosts(app.extensions["muster"])
        self._known: dict[tuple[str, str], Known] = {}

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        is_poll = environ["PATH_INFO"] == PATH and environ["REQUEST_METHOD"] == "GET"
        known = self._find(environ) if is_poll else None
        if known is None:
            return self._long_road(environ, start)
        devices.note_seen(known.device_id, clock.utc_now())
        start("200 OK", [*self._headers, ("X-Request-ID", secrets.token_hex(8))])
        # Without a length waitress closes the connection, as it must: it walks over every idle one on each wake-up.
        return iter((known.body,))

    def _find(self, environ: Environ) -> Known | None:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        query = QUERY.fullmatch(environ.get("QUERY_STRING", ""))
        if query is None or scheme != "Bearer" or any(environ.get(name) for name in UNUSUAL):
            return None
        if host_name(environ.get("HTTP_HOST", "")) not in self._hosts:
            return None
        known = self._known.get((token, query[0]))
        if known is None or time.monotonic() >= known.until:
            known = self._read(token, query)
        return known

    def _read(self, token: str, query: re.Match[str]) -> Known | None:
        """Asks the database, and remembers an answer that asks for nothing; None for what the long road should tell."""
        until = time.monotonic() + KNOWN_SECONDS
        with self._app.app_context():
            link = devices.find_link(token)
            if link is None or link.revoked_at is not None:
                return None
            answer = devices.read_poll(link, int(query["version"]), query["epoch"])
            known = Known(until, link.device_id, msgspec.json.encode(answer))
        if len(self._known) > KNOWN_ANSWERS:
            self._known.clear()
        if not (answer.commands or answer.requests):
            self._known[token, query[0]] = known
        return known

    @cached_property
    def _headers(self) -> list[tuple[str, str]]:
        """What the long road would send with it."""
        with self._app.test_request_context(PATH):
            response = add_headers(Response(content_type=JSON))
        return [(name, value) for name, value in response.headers if name not in ("X-Request-ID", "Content-Length")]
