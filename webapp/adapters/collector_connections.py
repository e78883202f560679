"""TCP connections to collectors: one deadline per call, and a credential travels only where the key was proven.

A timeout per read lets a peer that sends a byte a second hold a thread for ever, so the socket itself gives each
operation only what is left of the whole call. A proof counts for the connection that gave it: whoever takes over a port
later has another. `http.client` speaks the protocol; a pooling client would open connections behind our back.
"""

import socket
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Lock
from typing import Any

MOST_KEPT = 1000
CONNECT_SECONDS = 5.0

Address = tuple[str, int]
"""A checked `(IP address, port)`."""


class NothingThere(OSError):
    """Nobody accepts a connection at the address."""


class BrokeOff(Exception):
    """The answer ended early, or is no HTTP."""


class TooLarge(Exception):
    """The answer is larger than it may be; the rest of it was not read."""


@dataclass(frozen=True)
class Reply:
    """One answer. The body of anything but a 200 is not read, and the connection is closed in its place."""

    status: int
    body: bytes = b""


class DeadlineSocket(socket.socket):
    """A socket that gives each operation only what is left until `deadline` (monotonic clock); then TimeoutError."""

    deadline = 0.0

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receives, in what is left."""
        self.settimeout(self._seconds_left())
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Sends, in what is left."""
        self.settimeout(self._seconds_left())
        super().sendall(*args, **kwargs)

    def connect(self, address: Any) -> None:
        """Connects, in what is left, but in CONNECT_SECONDS at most."""
        self.settimeout(min(CONNECT_SECONDS, self._seconds_left()))
        super().connect(address)

    def _seconds_left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the call took too long")
        return left


class Connection:
    """One TCP connection after another to one address. `is_proven`: the peer at the other end now has proven the key.

    `ask` raises TimeoutError at the deadline, else NothingThere, BrokeOff or another OSError; then it is closed.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.is_proven = False
        self._socket: DeadlineSocket | None = None
        self._http = HTTPConnection(*address)
        self._http.auto_open = 0

    @property
    def is_open(self) -> bool:
        """Whether there is a connection now."""
        return self._socket is not None

    @property
    def is_quiet(self) -> bool:
        """Whether the peer of an idle connection has neither closed it nor said something that nobody asked for."""
        if self._socket is None:
            return False
        self._socket.settimeout(0)
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Whoever answers after this has proven nothing."""
        self.is_proven = False
        self._http.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask(
        self, method: str, path: str, headers: Mapping[str, str], deadline: float, limit: int, body: bytes | None = None
    ) -> Reply:
        """Sends a request, connecting first if need be, and reads the answer. TooLarge beyond `limit` bytes."""
        try:
            if self._socket is None:
                self._socket = self._http.sock = _connect(self.address, deadline)
            self._socket.deadline = deadline
            self._http.request(method, path, body, headers)
            with self._http.getresponse() as answer:
                return self._read(answer, limit)
        except HTTPException as error:
            self.close()
            raise BrokeOff(str(error)) from error
        except BaseException:
            self.close()
            raise

    def _read(self, answer: HTTPResponse, limit: int) -> Reply:
        if answer.status != 200:
            self.close()
            return Reply(answer.status)
        if answer.length is not None and answer.length > limit:
            raise TooLarge
        body = answer.read(limit + 1)
        if len(body) > limit:
            raise TooLarge
        if answer.length:
            raise BrokeOff("it ended early")
        if answer.will_close:
            self.close()
        return Reply(200, body)


def _connect(address: Address, deadline: float) -> DeadlineSocket:
    made = DeadlineSocket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    made.deadline = deadline
    try:
        made.connect(address)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except TimeoutError:
        made.close()
        raise
    except OSError as error:
        made.close()
        raise NothingThere(str(error)) from error
    return made


class Connections:
    """Idle connections, one per address, the longest unused given up first. For many threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._idle: OrderedDict[Address, Connection] = OrderedDict()
        self._lock = Lock()

    @contextmanager
    def borrow(self, address: Address) -> Iterator[Connection]:
        """A connection to `address` for this thread alone; an idle one if its peer is still there."""
        with self._lock:
            connection = self._idle.pop(address, None)
        if connection is None or not connection.is_quiet:
            if connection is not None:
                connection.close()
            connection = Connection(address)
        try:
            yield connection
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Closes every idle connection."""
        with self._lock:
            idle = list(self._idle.values())
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _give_back(self, connection: Connection) -> None:
        if not connection.is_open:
            return
        with self._lock:
            others = [self._idle.pop(connection.address, None)]
            self._idle[connection.address] = connection
            if len(self._idle) > self._most:
                others.append(self._idle.popitem(last=False)[1])
        for other in others:
            if other is not None:
                other.close()
