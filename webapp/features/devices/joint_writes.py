"""Small writes of many threads in one transaction: whoever comes first writes for all who wait meanwhile.

Each commit waits for the disk, and only one can at a time. A fleet's reports one by one would hold every thread of the
server at that door; this way they share the wait, and each still returns only when its own write is safe.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.orm import Session

from webapp.database import transaction
from webapp.extensions import db

T = TypeVar("T")

PAUSE_SECONDS = 0.1
"""Between two commits."""


class Batch(Generic[T]):
    """Writes that go into one transaction, and what became of it."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self.is_done = False
        self.error: BaseException | None = None


class JointWrites(Generic[T]):
    """`write(session, items)` for what many threads `add`, the items in the order of their coming."""

    def __init__(self, write: Callable[[Session, Sequence[T]], None]) -> None:
        self._write = write
        self._turn = threading.Lock()
        self._lock = threading.Lock()
        self._open: Batch[T] = Batch()
        self._written_at = float("-inf")

    def add(self, item: T) -> None:
        """Returns when `item` is committed; raises what the transaction raised that it went into.

        Many that come together wait for each other a little: the first of them at once, the rest in joint commits.
        """
        db.session.rollback()  # no connection is held while waiting
        with self._lock:
            batch = self._open
            batch.items.append(item)
        with self._turn:
            if not batch.is_done:
                time.sleep(max(0.0, self._written_at + PAUSE_SECONDS - time.monotonic()))
                self._commit()
                self._written_at = time.monotonic()
        if batch.error is not None:
            raise batch.error

    def _commit(self) -> None:
        """Writes the open batch; who waits for it finds it done."""
        with self._lock:
            batch, self._open = self._open, Batch()
        try:
            with transaction() as session:
                self._write(session, batch.items)
        except BaseException as error:
            batch.error = error
        batch.is_done = True
