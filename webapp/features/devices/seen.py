"""When a device was last heard of, and which devices somebody looks at: kept in this process's memory.

A poll every few seconds per device is no reason for a write each, so the times are kept here and written together. The
web server is one process; other processes read the rows, which are at most a few seconds behind.
"""

import logging
import threading
import time
from datetime import datetime

from sqlalchemy import bindparam, or_, update
from sqlalchemy.exc import OperationalError

from webapp.database import transaction
from webapp.features.devices.models import Device

FLUSH_SECONDS = 5.0
WATCHED_SECONDS = 15.0

log = logging.getLogger(__name__)


class Memory:
    """What is known but not yet written, and who is looked at. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, datetime] = {}
        self._watched: dict[str, float] = {}
        self._flushed_at = float("-inf")

    def note(self, device_id: str, at: datetime) -> bool:
        """Remembers that the device was heard of; whether it is time to write."""
        with self._lock:
            self._seen[device_id] = max(at, self._seen.get(device_id, at))
            return time.monotonic() - self._flushed_at >= FLUSH_SECONDS

    def take(self) -> dict[str, datetime]:
        """Everything not yet written; the caller writes it, or gives it back with `note`."""
        with self._lock:
            self._flushed_at = time.monotonic()
            taken, self._seen = self._seen, {}
            return taken

    def watch(self, device_id: str) -> None:
        """Remembers that somebody looks at the device now."""
        with self._lock:
            self._watched[device_id] = time.monotonic()

    def is_watched(self, device_id: str) -> bool:
        """Whether somebody looked at the device a moment ago."""
        with self._lock:
            return time.monotonic() - self._watched.get(device_id, float("-inf")) < WATCHED_SECONDS


memory = Memory()


def note_seen(device_id: str, at: datetime) -> None:
    """The device was heard of at `at`; every few seconds this writes what has come together."""
    if memory.note(device_id, at):
        flush_seen()


def flush_seen() -> int:
    """Writes what is not yet written, in one go; for how many devices. A busy database gets it at the next flush."""
    taken = memory.take()
    if not taken:
        return 0
    older = or_(Device.last_seen_at.is_(None), Device.last_seen_at < bindparam("seen_at"))
    newer = update(Device.__table__).where(Device.id == bindparam("device"), older)  # type: ignore[arg-type]
    rows = [{"device": device_id, "seen_at": at} for device_id, at in taken.items()]
    try:
        with transaction() as session:
            session.connection().execute(newer.values(last_seen_at=bindparam("seen_at")), rows)
    except OperationalError as error:
        log.warning("could not write when %d devices were last seen yet: %s", len(rows), error)
        for device_id, at in taken.items():
            memory.note(device_id, at)
        return 0
    return len(rows)


def note_watched(device_id: str) -> None:
    """Somebody looks at the device's page: its polls come every second for a while."""
    memory.watch(device_id)


def is_watched(device_id: str) -> bool:
    """Whether somebody looks at the device's page."""
    return memory.is_watched(device_id)
