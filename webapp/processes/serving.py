"""The hub behind waitress: its limits, and an end that lets requests in flight finish."""

import logging
import resource
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from flask import Flask
from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer

from webapp.blueprints.api.poll import ShortRoad
from webapp.config import Config
from webapp.features.devices import seen
from webapp.processes.background import Background
from webapp.processes.lanes import Lanes
from webapp.processes.refusing import Channel

DRAIN_SECONDS = 10.0
FIRST_REQUEST_SECONDS = 1.0
OPEN_FILES = 4096
MEBIBYTE = 1024 * 1024

log = logging.getLogger(__name__)


class AddressTaken(Exception):
    """Nothing can listen there; the message says what to do."""


def limits(config: Config) -> dict[str, Any]:
    """What waitress is told. Half-open connections stop its defaults (100 connections, two minutes) with one script."""
    return {
        "host": config.host,
        "port": config.port,
        "threads": 12,
        "connection_limit": max(100, raise_open_files(OPEN_FILES) // 2 - 48),
        "asyncore_use_poll": True,
        "channel_timeout": 30,
        "cleanup_interval": 5,
        "backlog": 1024,
        "max_request_body_size": 9 * MEBIBYTE,
        "max_request_header_size": 32 * 1024,
        "recv_bytes": 262_144,
        "inbuf_overflow": 10 * MEBIBYTE,
        "ident": None,
        "url_scheme": "https" if config.is_https else "http",
    }


def raise_open_files(wanted: int) -> int:
    """Raises this process's limit of open files towards `wanted`; the limit it has then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft == resource.RLIM_INFINITY or soft >= ceiling:
        return wanted if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return ceiling


class Server:
    """Listens at once (AddressTaken if it cannot); `run` serves until SIGTERM or SIGINT."""

    def __init__(self, app: Flask, config: Config) -> None:
        self._sockets: dict[int, wasyncore.dispatcher] = {}
        self._is_stopping = False
        self._short_road: ShortRoad | None = app.extensions.get("short_road")
        self._reader = Background(app, "reader of links", self._read_links)
        self._writer = Background(app, "writer of signs of life", seen.flush_seen)
        self._lanes = Lanes(self._short_road, self._reader.ask)
        told = limits(config)
        try:
            self._server = create_server(app, map=self._sockets, _dispatcher=self._lanes, **told)
        except OSError as error:
            wasyncore.close_all(self._sockets)
            raise AddressTaken(address_taken(config, error)) from error
        self._lanes.set_thread_count(told["threads"])
        for listener in self._listeners():
            listener.channel_class = Channel

    def run(self) -> None:
        """Serves; at the end it accepts nothing new and gives what is in flight DRAIN_SECONDS."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self._reader.start()
        self._writer.start()
        seen.hand_over(self._writer.ask)
        while not self._is_stopping:
            self._turn(1)
        self._drain(time.monotonic() + DRAIN_SECONDS)
        seen.hand_over(None)
        self._reader.end()
        self._writer.end()

    def _turn(self, timeout: float) -> None:
        """One turn of the loop, which waits that long for something to do."""
        wasyncore.loop(timeout=timeout, use_poll=True, map=self._sockets, count=1)
        self._lanes.answer_polls()

    def _stop(self, *_signal: object) -> None:
        self._is_stopping = True
        self._wake()

    def _wake(self) -> None:
        for listener in self._listeners():
            listener.trigger.pull_trigger()

    def _read_links(self) -> None:
        if self._short_road is not None:
            self._short_road.refresh()
            self._wake()

    def _drain(self, deadline: float) -> None:
        for listener in self._listeners():
            self._accept_rest(listener)
            listener.del_channel(self._sockets)
            listener.socket.close()
        while self._is_busy() and time.monotonic() < deadline:
            wasyncore.loop(timeout=0.1, use_poll=True, map=self._sockets, count=1)
        if not self._is_busy():  # at once: what comes in on a kept connection now would be broken off
            wasyncore.close_all(self._sockets)
        self._server.task_dispatcher.shutdown(timeout=max(0.1, deadline - time.monotonic()))
        wasyncore.close_all(self._sockets)

    def _accept_rest(self, listener: BaseWSGIServer) -> None:
        """Whoever the kernel has connected already is served: closing the socket would break its connection off."""
        known = -1
        while known != (known := len(self._sockets)):
            listener.handle_accept()

    def _listeners(self) -> list[BaseWSGIServer]:
        return [found for found in list(self._sockets.values()) if isinstance(found, BaseWSGIServer)]

    def _is_busy(self) -> bool:
        channels = [found for found in list(self._sockets.values()) if isinstance(found, HTTPChannel)]
        return any(
            channel.request or channel.requests or channel.total_outbufs_len or is_new(channel) for channel in channels
        )


def is_new(channel: HTTPChannel) -> bool:
    """Whether somebody has just connected and is about to send a first request."""
    return channel.last_activity == channel.creation_time > time.time() - FIRST_REQUEST_SECONDS


def address_taken(config: Config, error: OSError) -> str:
    """What to do when nothing can listen at the configured address."""
    return (
        f"Muster cannot listen on {config.host} port {config.port} ({error.strerror or error}). "
        f"If the port is taken, choose another one: MUSTER_PORT={config.port + 10} make run"
    )


def check_address(config: Config) -> None:
    """AddressTaken if nothing can listen where the hub should."""
    family, kind, *_, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise AddressTaken(address_taken(config, error)) from error


def listens(config: Config) -> bool:
    """Whether something accepts connections where the hub should."""
    with suppress(OSError), socket.create_connection((config.host, config.port), timeout=1):
        return True
    return False
