"""One directory, one daemon: a lock that the operating system lets go of, however the daemon ends."""

import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 1.0
"""Longer than the moment for which `is_running` holds the lock."""


class AlreadyRunning(Exception):
    """Another daemon has the directory."""


class DirectoryLock:
    """The lock of a collector's directory. As a context manager it is taken, or AlreadyRunning is raised."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._handle = -1

    def __enter__(self) -> Self:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.take():
            if time.monotonic() > deadline:
                raise AlreadyRunning(f"A collector already runs on {self._directory}.")
            time.sleep(0.05)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.release()

    def take(self) -> bool:
        """Takes the lock if it is free."""
        handle = os.open(self._directory / "daemon.lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not lock_handle(handle):
            os.close(handle)
            return False
        self._handle = handle
        return True

    def release(self) -> None:
        """Lets go of it."""
        os.close(self._handle)


def is_running(directory: Path) -> bool:
    """Whether a daemon has the directory at this moment."""
    lock = DirectoryLock(directory)
    if not lock.take():
        return True
    lock.release()
    return False


if sys.platform == "win32":
    import msvcrt

    def lock_handle(handle: int) -> bool:
        """Locks an open file, at once or not at all."""
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def lock_handle(handle: int) -> bool:
        """Locks an open file, at once or not at all."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
