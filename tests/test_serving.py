"""The server: what it is told, and an end that finishes what it began."""

import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask, request

from webapp.config import Config
from webapp.processes import serving


@pytest.fixture
def slow_app() -> Flask:
    """A view that takes a second, and one that reads a body."""
    app = Flask("slow")

    @app.get("/slow")
    def slow() -> str:
        time.sleep(1)
        return "x" * 1_000_000

    @app.post("/body")
    def body() -> str:
        return str(len(request.get_data()))

    return app


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A hub on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Config(data_dir=tmp_path, port=probe.getsockname()[1])


@pytest.fixture
def handlers() -> Iterator[None]:
    """The signal handlers as they were."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_request_in_flight_finishes_and_nothing_new_is_accepted(
    slow_app: Flask, config: Config, handlers: None
) -> None:
    server = serving.Server(slow_app, config)
    found: dict[str, object] = {}

    def use() -> None:
        asking = threading.Thread(target=lambda: found.update(got=requests.get(f"{config.base_url}/slow", timeout=9)))
        asking.start()
        time.sleep(0.4)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.2)
        try:
            requests.get(config.base_url, timeout=2)
        except requests.ConnectionError as error:
            found["refused"] = error
        asking.join()

    user = threading.Thread(target=use)
    user.start()
    began = time.monotonic()
    server.run()
    user.join()
    got = found["got"]
    assert isinstance(got, requests.Response) and len(got.content) == 1_000_000
    assert "refused" in found
    assert time.monotonic() - began < 5


def test_a_half_sent_request_does_not_hold_the_end_for_ever(
    slow_app: Flask, config: Config, handlers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "DRAIN_SECONDS", 1.0)
    server = serving.Server(slow_app, config)
    with socket.create_connection((config.host, config.port)) as half:
        half.sendall(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        began = time.monotonic()
        server.run()
    assert time.monotonic() - began < 3


def test_a_taken_port_says_what_to_do(slow_app: Flask, config: Config) -> None:
    with socket.socket() as other:
        other.bind((config.host, config.port))
        other.listen()
        with pytest.raises(serving.AddressTaken, match=f"port {config.port} .*MUSTER_PORT="):
            serving.Server(slow_app, config)


def test_the_limits_stand_a_hundred_half_open_connections(config: Config) -> None:
    told = serving.limits(config)
    assert told["connection_limit"] >= 900 and told["connection_limit"] < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert told["channel_timeout"] == 30 and told["asyncore_use_poll"] and told["ident"] is None
    assert told["max_request_body_size"] == 9 * serving.MEBIBYTE
