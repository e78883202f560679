"""What the server refuses by itself, over a real connection."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from flask import Flask, request

from webapp.config import Config
from webapp.processes import serving


@pytest.fixture
def kept_signals() -> Iterator[None]:
    """The signal handlers as they were."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def test_a_body_that_is_too_large_is_told_the_limit_and_the_way_around(tmp_path: Path, kept_signals: None) -> None:
    app = Flask("any")
    app.post("/")(lambda: str(len(request.get_data())))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        config = Config(data_dir=tmp_path, port=probe.getsockname()[1])
    server = serving.Server(app, config)
    told: list[str] = []

    def use() -> None:
        try:
            body = b"x" * (9 * 1024 * 1024 - 1)
            told.append(requests.post(f"http://127.0.0.1:{config.port}/", data=body, timeout=20).text)
            told.append(announce(config.port, 10 * 1024 * 1024))
        finally:
            signal.raise_signal(signal.SIGTERM)

    caller = threading.Thread(target=use)
    caller.start()
    server.run()
    caller.join(20)
    assert told[0] == str(9 * 1024 * 1024 - 1)
    assert told[1].startswith("HTTP/1.1 413 ")
    assert "9 MiB" in told[1]
    assert "folder inbox" in told[1]


def announce(port: int, size: int) -> str:
    """The whole answer to a request of which only the head is sent."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {size}\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer.decode()
