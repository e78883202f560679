"""TCP connections to collectors: each call has one deadline, and a credential travels only where the key was proven.

A timeout per read lets a peer that sends a byte a second hold a thread for ever, so the socket itself watches the
deadline of the whole call. A proof counts for the connection that gave it: whoever takes over a port later has
another.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

MOST_POOLS = 1000


class NotProven(Exception):
    """A credential was about to go out on a connection that has not proven the key."""


@dataclass(frozen=True)
class Call:
    """One request in progress: when it must be over, and whether its credential may use a connection not yet proven."""

    deadline: float
    is_vouched: bool

    @property
    def seconds_left(self) -> float:
        """What is left of it; TimeoutError when nothing is."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the call took too long")
        return left


_call: ContextVar[Call] = ContextVar("collector_call")


@contextmanager
def calling(deadline: float, *, is_vouched: bool = False) -> Iterator[Call]:
    """Everything that this thread sends and receives inside is over by `deadline` (monotonic clock)."""
    call = Call(deadline, is_vouched)
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)


class DeadlineSocket(socket.socket):
    """A connected socket that gives each operation only what the call has left."""

    @classmethod
    def adopt(cls, plain: socket.socket) -> "DeadlineSocket":
        """The same connection, watched."""
        timeout = plain.gettimeout()
        watched = cls(plain.family, plain.type, plain.proto, fileno=plain.detach())
        watched.settimeout(timeout)
        return watched

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        """Receives, in what is left of the call."""
        self.settimeout(_call.get().seconds_left)
        return super().recv_into(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        """Sends, in what is left of the call."""
        self.settimeout(_call.get().seconds_left)
        super().sendall(*args, **kwargs)


class CollectorConnection(HTTPConnection):
    """A connection that knows whether its peer has proven the key since it was made."""

    proven_number = -1
    number = 0

    def connect(self) -> None:
        """Connects; whoever answers now has proven nothing."""
        super().connect()
        self.number += 1
        self.sock = DeadlineSocket.adopt(self.sock)

    def prove(self, number: int) -> None:
        """Marks the peer of the `number`-th connect as the holder of the key."""
        self.proven_number = number

    @property
    def is_proven(self) -> bool:
        """Whether the peer at the other end now is one that proved the key."""
        return self.sock is not None and self.proven_number == self.number

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        """Sends a request; NotProven, and nothing sent, if it holds a credential that the peer may not see."""
        if headers and "Authorization" in headers and not (self.is_proven or _call.get().is_vouched):
            raise NotProven
        super().request(method, url, body, headers, **options)


class CollectorPool(HTTPConnectionPool):
    """The connections to one address."""

    ConnectionCls = CollectorConnection


def make_manager() -> urllib3.PoolManager:
    """Pools for many collectors, that retry nothing, follow nothing and know no proxy."""
    manager = urllib3.PoolManager(num_pools=MOST_POOLS, maxsize=1, block=False, retries=False)
    manager.pool_classes_by_scheme = {"http": CollectorPool}
    return manager
