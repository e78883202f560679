"""The short road for polls: every collector asks every few seconds, and nearly always the answer is "nothing new".

It answers only what is beyond doubt: a poll in the exact form that collectors send, by a link that was alive less than
a second ago and has the newest settings. Everything else takes the long road through Flask, which knows all the rules.
"""

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import msgspec
from flask import Flask, Response
from sqlalchemy.exc import DBAPIError

from collector import wire
from webapp.blueprints.api.endpoint import JSON
from webapp.blueprints.headers import add_headers
from webapp.blueprints.security import host_name, known_hosts
from webapp.features.devices import seen
from webapp.features.devices.live_links import LiveLink, read_live_links, token_key
from webapp.features.devices.polling import POLL_SECONDS, WATCHED_POLL_SECONDS
from webapp.lib import clock

Environ = dict[str, Any]
Start = Callable[..., Any]
Road = Callable[[Environ, Start], Iterable[bytes]]

PATH = "/api/collector/poll"
QUERY = re.compile(r"version=(?P<version>[0-9]{1,15})&epoch=(?P<epoch>[0-9A-Za-z_-]{1,64})")
UNUSUAL = ("HTTP_CONTENT_ENCODING", "HTTP_X_REQUEST_ID", "HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH")
KNOWN_SECONDS = 0.8


class ShortRoad:
    """WSGI middleware in front of `long_road`."""

    def __init__(self, app: Flask, long_road: Road) -> None:
        self._app = app
        self._long_road = long_road
        self._hosts = known_hosts(app.extensions["muster"])
        self._lock = threading.Lock()
        self._links: dict[bytes, LiveLink] = {}
        self._known_until = 0.0

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        is_poll = environ["PATH_INFO"] == PATH and environ["REQUEST_METHOD"] == "GET"
        link = self._find_link(environ) if is_poll else None
        if link is None:
            return self._long_road(environ, start)
        self._note_seen(link)
        start("200 OK", [*self._headers, ("X-Request-ID", secrets.token_hex(8))])
        # Without a length waitress closes the connection, as it must: it walks over every idle one on each wake-up.
        return iter((_write_answer(link),))

    def _find_link(self, environ: Environ) -> LiveLink | None:
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        query = QUERY.fullmatch(environ.get("QUERY_STRING", ""))
        if query is None or scheme != "Bearer" or any(environ.get(name) for name in UNUSUAL):
            return None
        if host_name(environ.get("HTTP_HOST", "")) not in self._hosts:
            return None
        link = self._list_links().get(hmac.digest(self._key, token.encode(), hashlib.sha256))
        if link is None or (link.settings_version, link.settings_epoch) != (int(query["version"]), query["epoch"]):
            return None
        return link

    def _list_links(self) -> dict[bytes, LiveLink]:
        with self._lock:
            if time.monotonic() >= self._known_until:
                self._known_until = time.monotonic() + KNOWN_SECONDS
                self._links = self._read_links()
            return self._links

    def _read_links(self) -> dict[bytes, LiveLink]:
        try:
            with self._app.app_context():
                return read_live_links()
        except DBAPIError:
            return {}  # the long road will meet the same trouble, and can tell it

    def _note_seen(self, link: LiveLink) -> None:
        if seen.memory.note(link.device_id, clock.utc_now()):
            with self._app.app_context():
                seen.flush_seen()

    @cached_property
    def _key(self) -> bytes:
        with self._app.app_context():
            return token_key()

    @cached_property
    def _headers(self) -> list[tuple[str, str]]:
        """What the long road would send with it."""
        with self._app.test_request_context(PATH):
            response = add_headers(Response(content_type=JSON))
        return [(name, value) for name, value in response.headers if name not in ("X-Request-ID", "Content-Length")]


def _write_answer(link: LiveLink) -> bytes:
    wait = WATCHED_POLL_SECONDS if seen.is_watched(link.device_id) else POLL_SECONDS
    answer = wire.PollAnswer(
        settings_version=link.settings_version, settings_epoch=link.settings_epoch, poll_interval=wait
    )
    return msgspec.json.encode(answer)
