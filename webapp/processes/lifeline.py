"""No orphans: a child ends when its parent is gone, however the parent ended.

The parent holds the writing end of a pipe and never writes; the child reads, and an end of file means that the parent
is no more. Linux can also send a signal (PR_SET_PDEATHSIG), which reaches programs that do not know about the pipe.
"""

import ctypes
import os
import signal
import sys
import threading
import time

PARENT_FD = "MUSTER_PARENT_FD"
LAST_RESORT_SECONDS = 15
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class Lifeline:
    """The parent's end. Pass `fd` to children with `pass_fds`, and `env` in their environment."""

    def __init__(self) -> None:
        self.fd, self._held = os.pipe()

    @property
    def env(self) -> dict[str, str]:
        """What tells a child where its end is."""
        return {PARENT_FD: str(self.fd)}


def hold() -> None:
    """The child's end: this process gets SIGTERM when its parent is gone. Nothing, where no parent gave a pipe."""
    given = os.environ.pop(PARENT_FD, None)
    if given is None:
        return
    die_with_parent(signal.SIGTERM)
    threading.Thread(target=_wait_for_end, args=(int(given),), name="lifeline", daemon=True).start()


def die_with_parent(number: signal.Signals) -> None:
    """Asks Linux to send `number` to this process when the parent dies; nothing elsewhere."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _wait_for_end(fd: int) -> None:
    while os.read(fd, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_RESORT_SECONDS)
    os._exit(1)
