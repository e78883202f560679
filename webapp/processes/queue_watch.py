"""Notices an embedded queue that nobody can reach: its socket was deleted, or who else kept it has ended."""

import time
from pathlib import Path

from webapp import embedded_queue
from webapp.processes.children import Child

LOOK_SECONDS = 3.0
MISSES = 2


class QueueWatch:
    """Looks every few seconds whether the queue of `data_dir` answers; `child` is replaced when it keeps silent."""

    def __init__(self, child: Child, data_dir: Path) -> None:
        self._child = child
        self._path = embedded_queue.socket_path(data_dir)
        self._look_at = time.monotonic() + LOOK_SECONDS
        self._misses = 0

    def look(self) -> str | None:
        """A sentence when the queue had to be replaced."""
        if time.monotonic() < self._look_at:
            return None
        self._misses = 0 if embedded_queue.is_live(self._path) else self._misses + 1
        self._look_at = time.monotonic() + LOOK_SECONDS
        if self._misses < MISSES:
            return None
        self._misses = 0
        self._child.replace()
        return f"{self._child.name} does not answer on {self._path}. Starting another."
