"""The collector's web server: waitress on a socket of ours, stopped in bounded time."""

import socket
import sys
import time
from typing import Any

from flask import Flask
from waitress import create_server, wasyncore

from collector.config import Config

MEBIBYTE = 1024 * 1024
LARGEST_BODY = 8 * MEBIBYTE
DRAIN_SECONDS = 2.0

LIMITS: dict[str, Any] = {
    "threads": 4,
    "connection_limit": 200,
    "asyncore_use_poll": True,
    "channel_timeout": 30,
    "cleanup_interval": 5,
    "max_request_body_size": LARGEST_BODY + 1,
    "max_request_header_size": 32 * 1024,
    "ident": None,
}
"""Half-open connections stop waitress's defaults (100 connections, two minutes) with one script."""


class NoFreePort(Exception):
    """Nothing can listen there; the message says what to do."""


def listen(config: Config) -> socket.socket:
    """A socket that is bound to the first free port of the configuration."""
    reasons = []
    for port in config.ports:
        try:
            return bind(config.host, port)
        except OSError as error:
            reasons.append(f"{port} ({error.strerror or error})")
    raise NoFreePort(
        f"Cannot listen on {config.host}: {', '.join(reasons)}. "
        "Choose a free port: set MUSTER_COLLECTOR_PORT, for example to 8017."
    )


def bind(host: str, port: int) -> socket.socket:
    """A bound socket, or OSError. On Windows it must not share the port, elsewhere not wait for old connections."""
    family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind)
    try:
        exclusively = sys.platform == "win32"
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", 0) if exclusively else socket.SO_REUSEADDR
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
        bound.bind(address)
        # Binding alone does not fail where somebody binds too and listens later; the first to listen has the port.
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound


class Server:
    """Serves `app` on a bound socket: `run` in one thread, until `stop` is called in another."""

    def __init__(self, app: Flask, bound: socket.socket) -> None:
        self._sockets: dict[int, Any] = {}
        self._is_stopping = False
        self._server = create_server(app, map=self._sockets, sockets=[bound], **LIMITS)

    def run(self) -> None:
        """Serves; at the end it accepts nothing new and gives what is in flight DRAIN_SECONDS."""
        while not self._is_stopping:
            wasyncore.loop(timeout=5, use_poll=True, map=self._sockets, count=1)
        deadline = time.monotonic() + DRAIN_SECONDS
        self._server.accepting = False
        while self._server.active_channels and self._is_busy() and time.monotonic() < deadline:
            wasyncore.loop(timeout=0.1, use_poll=True, map=self._sockets, count=1)
        self._server.task_dispatcher.shutdown(timeout=0.5)
        wasyncore.close_all(self._sockets)

    def stop(self) -> None:
        """Makes `run` return soon."""
        self._is_stopping = True
        self._server.trigger.pull_trigger()

    def _is_busy(self) -> bool:
        channels = list(self._server.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)
