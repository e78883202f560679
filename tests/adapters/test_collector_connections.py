"""What the hub reads as HTTP, and what it takes for a broken connection: answers written byte by byte."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from webapp.adapters.collector_connections import (
    Address,
    BrokeOff,
    Connection,
    Connections,
    NothingThere,
    Reply,
    TooLarge,
)

ASKED = ("GET", "/", {"Accept": "*/*"})
OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def peer(*answers: bytes, pause: float = 0.0, is_closing: bool = True) -> Iterator[Address]:
    """A server that accepts one connection after another: for each question on it one answer, in pieces of 7 bytes."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(5)
    left = list(answers)

    def run() -> None:
        while left:
            try:
                one, _ = server.accept()
            except OSError:
                return
            with one:
                one.settimeout(5)
                try:
                    while left and one.recv(65536):
                        answer = left.pop(0)
                        for first in range(0, len(answer), 7):
                            one.sendall(answer[first : first + 7])
                            time.sleep(pause)
                        if is_closing:
                            break
                except OSError:
                    continue  # the client had enough

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield server.getsockname()
    server.close()


def ask(address: Address, *, limit: int = 1000, seconds: float = 5.0) -> Reply:
    """One question on a connection of its own."""
    connection = Connection(address)
    try:
        return connection.ask(*ASKED, time.monotonic() + seconds, limit)
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (OK + b"content-length:5\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", b"ok"),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n",
            b"abc0123456789",
        ),
        (OK + b"Content-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
    ],
)
def test_answer_is_read_as_it_is_framed(answer: bytes, body: bytes) -> None:
    with peer(answer) as address:
        assert ask(address) == Reply(200, body)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        OK + b"Content-Length: 10\r\n\r\nshort",
        OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_what_is_no_answer_broke_off(answer: bytes) -> None:
    with peer(answer) as address, pytest.raises(BrokeOff):
        ask(address)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 1001\r\n\r\n",
        OK + b"Content-Length: 99999999999999999999\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3E9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
        OK + b"\r\n" + b"x" * 1001,
    ],
)
def test_more_than_may_be_is_not_read(answer: bytes) -> None:
    with peer(answer) as address, pytest.raises(TooLarge):
        ask(address)


def test_header_without_an_end_broke_off() -> None:
    with peer(OK + b"X: " + b"x" * 70_000) as address, pytest.raises(BrokeOff):
        ask(address)


def test_body_of_a_refusal_is_not_read() -> None:
    with peer(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", is_closing=False) as address:
        connection = Connection(address)
        assert connection.ask(*ASKED, time.monotonic() + 5, 1000) == Reply(503)
        assert not connection.is_open


def test_dripping_answer_is_given_up_at_the_deadline() -> None:
    with peer(OK + b"X: " + b"x" * 7000, pause=0.02) as address:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            ask(address, seconds=0.3)
        assert time.monotonic() - began < 2


def test_nobody_there_is_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    with pytest.raises(NothingThere):
        ask(address)


def test_proof_lives_as_long_as_the_connection() -> None:
    hello = OK + b"Content-Length: 5\r\n\r\nhello"
    with peer(hello, hello, hello + b"and more", is_closing=False) as address:
        connections = Connections()
        for is_proven in (False, True, True):
            with connections.borrow(address) as connection:
                assert connection.is_proven is is_proven
                connection.ask(*ASKED, time.monotonic() + 5, 1000)
                connection.is_proven = connection.is_open
        with connections.borrow(address) as connection:
            assert not connection.is_proven
            assert not connection.is_open
        connections.close()


def test_connection_that_its_peer_closed_is_not_used_again() -> None:
    hello = OK + b"Content-Length: 5\r\n\r\nhello"
    with peer(hello) as address:
        connections = Connections()
        with connections.borrow(address) as first:
            first.ask(*ASKED, time.monotonic() + 5, 1000)
            first.is_proven = True
        time.sleep(0.1)
        with connections.borrow(address) as second:
            assert second is not first
            assert not second.is_proven
        connections.close()


def test_longest_unused_connection_is_given_up_first() -> None:
    hello = OK + b"Content-Length: 5\r\n\r\nhello"
    with peer(hello, is_closing=False) as one, peer(hello, is_closing=False) as other:
        connections = Connections(most=1)
        kept = []
        for address in (one, other):
            with connections.borrow(address) as connection:
                connection.ask(*ASKED, time.monotonic() + 5, 1000)
                kept.append(connection)
        assert [each.is_open for each in kept] == [False, True]
        connections.close()
        assert not kept[1].is_open
