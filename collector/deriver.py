"""Turns observations into sessions soon after they come, and now and then without any (open sessions end by time)."""

import logging
import threading
import time

from collector import wire
from collector.store import Store
from collector.timeline.materialise import materialise

IDLE_SECONDS = 30.0
BUSY_SECONDS = 2.0
"""However many observations come, no more often than this."""

log = logging.getLogger(__name__)


class Deriver:
    """`wake` it after a change; `derive` at once when somebody is about to read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self.last_error: str | None = None

    def run(self) -> None:
        """The thread's work, until `stop`."""
        while not self._stopping.is_set():
            self._woken.wait(IDLE_SECONDS)
            self._woken.clear()
            started = time.monotonic()
            try:
                self.derive()
            except Exception:  # the next round may succeed, and the observations wait on disk
                log.exception("Deriving sessions failed; trying again")
            self._stopping.wait(max(0.0, BUSY_SECONDS - (time.monotonic() - started)))

    def derive(self) -> int:
        """Derives what is new and returns how many sessions changed."""
        with self._lock:
            try:
                changed = materialise(self._store, wire.now_ms())
            except Exception as error:
                self.last_error = f"{type(error).__name__}: {error}"
                raise
            self.last_error = None
        return changed

    def wake(self) -> None:
        """Says that something was observed."""
        self._woken.set()

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()
        self._woken.set()
