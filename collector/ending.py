"""How the collector is told to end: by a signal, by its parent's end (MUSTER_PARENT_FD), or by a part that failed."""

import os
import select
import signal
import socket
import sys
import threading

PARENT_FD = "MUSTER_PARENT_FD"
"""The number of an inherited pipe whose other end the parent holds. No orphan: its closing ends the collector."""


class End:
    """`wait` in the main thread until `call`, which any thread and any signal handler may do."""

    def __init__(self) -> None:
        # A socket, not an Event: an Event's lock, held while the handler runs, would stop both for ever.
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self.is_called = False

    def call(self) -> None:
        """Makes `wait` return, now or later."""
        if not self.is_called:
            self.is_called = True
            self._writer.send(b".")

    def wait(self) -> None:
        """Returns when `call` was called. On Windows signals are only seen between naps."""
        nap_seconds = 1.0 if sys.platform == "win32" else None
        while not self.is_called:
            select.select([self._reader], [], [], nap_seconds)

    def on_signals(self) -> None:
        """Ctrl-C and the service manager end it."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.call())

    def on_parent(self) -> None:
        """The parent's end ends it, where a parent gave a pipe."""
        given = os.environ.pop(PARENT_FD, None)
        if given is not None:
            threading.Thread(target=self._watch_parent, args=(int(given),), name="parent", daemon=True).start()

    def _watch_parent(self, fd: int) -> None:
        while os.read(fd, 1):
            pass
        self.call()
