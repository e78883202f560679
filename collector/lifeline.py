"""No orphan: where a parent passed a pipe (MUSTER_PARENT_FD), the collector ends when the parent is gone."""

import os
import threading
from collections.abc import Callable

PARENT_FD = "MUSTER_PARENT_FD"


def hold(on_end: Callable[[], None]) -> None:
    """Calls `on_end` when the pipe's other end closes; nothing, where no parent gave one."""
    given = os.environ.pop(PARENT_FD, None)
    if given is not None:
        threading.Thread(target=_wait_for_end, args=(int(given), on_end), name="lifeline", daemon=True).start()


def _wait_for_end(fd: int, on_end: Callable[[], None]) -> None:
    while os.read(fd, 1):
        pass
    on_end()
