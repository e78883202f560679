"""The threads of a round: one per device that is being asked, and never so few that a silent one keeps others waiting.

At most MOVING devices that answer are asked at a time: more would only get in each other's way. A device counts as
moving for half a second after its start and after each answer; one that is silent, or that answers over its own
connection, costs a sleeping thread and no place.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic

from webapp.features.sessions.targets import Target

MOVING = 32
MOST_THREADS = 512
STILL_SECONDS = 0.5
AT_THE_WRITER = float("inf")
"""`Target.moved_at` of a device whose answer waits to be stored: it does not keep us waiting, we keep it."""


class Crew:
    """Threads that do `work` for each target, started as they are needed. `tend` and `add` are for one thread."""

    def __init__(self, work: Callable[[Target], None]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._waiting: deque[Target] = deque()
        self._busy: set[Target] = set()
        self._threads = 0
        self.still = 0

    @property
    def load(self) -> int:
        """How many targets wait or move: those that are still keep nobody waiting."""
        with self._lock:
            return len(self._waiting) + len(self._busy) - self.still

    @property
    def is_idle(self) -> bool:
        """Whether no thread is left."""
        return self._threads == 0

    def add(self, targets: Iterable[Target]) -> None:
        """More targets, which begin as soon as there is room."""
        with self._lock:
            self._waiting.extend(targets)
        self.tend()

    def tend(self) -> None:
        """Looks who is still, and starts the threads that this makes room for. To be called a few times a second."""
        silent_since = monotonic() - STILL_SECONDS
        with self._lock:
            self.still = sum(_is_still(target, silent_since) for target in self._busy)
            wanted = min(MOVING + self.still, MOST_THREADS, len(self._busy) + len(self._waiting))
            more = max(0, wanted - self._threads)
            self._threads += more
        for _ in range(more):
            threading.Thread(target=self._run, name="pull", daemon=True).start()

    def stop(self) -> None:
        """Begins nothing more. Threads that wait for a machine end when it answers or its time is over."""
        with self._lock:
            self._waiting.clear()
            busy = list(self._busy)
        for target in busy:
            target.is_lost = True

    def _run(self) -> None:
        """One thread: a target after the other, until none waits or enough others move."""
        while (target := self._take()) is not None:
            try:
                self._work(target)
            finally:
                with self._lock:
                    self._busy.discard(target)

    def _take(self) -> Target | None:
        with self._lock:
            if not self._waiting or self._threads > MOVING + self.still:
                self._threads -= 1
                return None
            target = self._waiting.popleft()
            target.moved_at = monotonic()
            self._busy.add(target)
            return target


def _is_still(target: Target, silent_since: float) -> bool:
    return target.progress.road == "relay" or target.moved_at < silent_since
