"""The short road for polls: every collector asks every few seconds, and nearly always the answer is "nothing new".

It answers only what is beyond doubt: a poll in the exact form that collectors send, by a link that less than a second
ago was alive and had the newest settings, with the requests that waited then. Everything else takes the long road
through Flask, which knows all the rules.
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
from webapp.features.devices.polling import POLL_SECONDS, QUICK_POLL_SECONDS
from webapp.features.devices.relay import was_answered
from webapp.lib import clock

Environ = dict[str, Any]
Start = Callable[..., Any]
Road = Callable[[Environ, Start], Iterable[bytes]]

PATH = "/api/collector/poll"
QUERY = re.compile(r"version=(?P<version>[0-9]{1,15})&epoch=(?P<epoch>[0-9A-Za-z_-]{1,64})")
UNUSUAL = ("HTTP_CONTENT_ENCODING", "HTTP_X_REQUEST_ID", "HTTP_TRANSFER_ENCODING", "CONTENT_LENGTH")
FRESH_SECONDS = 0.5
"""What is older is read anew; meanwhile it goes on with what is known, up to KNOWN_SECONDS."""
KNOWN_SECONDS = 0.9


class ShortRoad:
    """WSGI middleware in front of `long_road`.

    A server that has a loop of its own need not call it: the loop asks `reads_like_poll` and, while `is_known`,
    `find_link` and `write_answer`, none of which ever waits; a thread besides keeps it known with `refresh`.
    """

    def __init__(self, app: Flask, long_road: Road) -> None:
        self._app = app
        self._long_road = long_road
        self._hosts = known_hosts(app.extensions["muster"])
        self._lock = threading.Lock()
        self._links: dict[bytes, LiveLink] = {}
        self._read_at = float("-inf")

    def __call__(self, environ: Environ, start: Start) -> Iterable[bytes]:
        if not reads_like_poll(environ):
            return self._long_road(environ, start)
        self.refresh()
        link = self.find_link(environ)
        if link is None:
            return self._long_road(environ, start)
        if seen.memory.note(link.device_id, clock.utc_now()):
            with self._app.app_context():
                seen.write_out()
        start("200 OK", self.list_headers())
        # Without a length waitress closes the connection, as it must: it walks over every idle one on each wake-up.
        return iter((write_answer(link),))

    def is_known(self) -> bool:
        """Whether the links were read a moment ago, so that `find_link` may be believed."""
        return time.monotonic() - self._read_at < KNOWN_SECONDS

    def is_fresh(self) -> bool:
        """Whether there is no need yet to read the links again."""
        return time.monotonic() - self._read_at < FRESH_SECONDS

    def find_link(self, environ: Environ) -> LiveLink | None:
        """The link of a poll that can be answered with what is known; None for one that must take the long road."""
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        query = QUERY.fullmatch(environ.get("QUERY_STRING", ""))
        if query is None or scheme != "Bearer" or any(environ.get(name) for name in UNUSUAL):
            return None
        if host_name(environ.get("HTTP_HOST", "")) not in self._hosts:
            return None
        link = self._links.get(hmac.digest(self._key, token.encode(), hashlib.sha256))
        if link is None or (link.settings_version, link.settings_epoch) != (int(query["version"]), query["epoch"]):
            return None
        return link

    def refresh(self) -> None:
        """Reads the links if they are not fresh. Nobody waits for another's reading while it need not."""
        if not self.is_fresh() and self._lock.acquire(blocking=not self.is_known()):
            try:
                if not self.is_fresh():
                    begun = time.monotonic()
                    self._links, self._read_at = self._read_links(), begun
            finally:
                self._lock.release()

    def list_headers(self) -> list[tuple[str, str]]:
        """What goes with an answer."""
        return [*self._headers, ("X-Request-ID", secrets.token_hex(8))]

    def _read_links(self) -> dict[bytes, LiveLink]:
        try:
            with self._app.app_context():
                return read_live_links()
        except DBAPIError:
            return {}  # the long road will meet the same trouble, and can tell it

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


def reads_like_poll(environ: Environ) -> bool:
    """Whether this has the exact form in which collectors poll."""
    is_poll = environ["PATH_INFO"] == PATH and environ["REQUEST_METHOD"] == "GET"
    return is_poll and QUERY.fullmatch(environ.get("QUERY_STRING", "")) is not None


def write_answer(link: LiveLink) -> bytes:
    """The body for a link whose settings are the newest."""
    requests = [request for request in link.requests if not was_answered(request.id)]
    is_quick = bool(requests) or link.is_watched or seen.is_watched(link.device_id)
    answer = wire.PollAnswer(
        settings_version=link.settings_version,
        settings_epoch=link.settings_epoch,
        requests=requests,
        poll_interval=QUICK_POLL_SECONDS if is_quick else POLL_SECONDS,
    )
    return msgspec.json.encode(answer)
