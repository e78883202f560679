"""When a device was last heard of, what it reported, and which should poll quickly: in this process's memory at first.

A poll every few seconds per device is no reason for a write each, nor are the reports of thousands, as each commit
waits for the disk. So what comes is kept here and written together. Other processes, also other web servers, read the
rows, which are at most a few seconds behind; what a killed process had not written, the devices soon say again.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, or_, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from webapp.database import transaction
from webapp.features.devices.models import Device
from webapp.lib import clock

FLUSH_SECONDS = 5.0
REPORT_SECONDS = 1.0
"""A report is written at once, unless another one was less than this long ago."""
WATCHED_SECONDS = 15.0
ANSWERED_SECONDS = 10.0

Times = dict[str, datetime]
Report = dict[str, Any]
"""Columns of a device, but `told_version` None for a version that stays."""

log = logging.getLogger(__name__)


@dataclass
class News:
    """What is not yet written, by device."""

    seen: Times = field(default_factory=dict)
    watched: Times = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)

    def count(self) -> int:
        """How many devices it is about."""
        return len(self.seen.keys() | self.watched.keys() | self.reports.keys())


class Memory:
    """What is known and not yet written, and who is looked at. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._news = News()
        self._watched: Times = {}
        self._flushed_at = self._reported_at = float("-inf")

    def note(self, device_id: str, at: datetime, report: Report | None = None) -> bool:
        """Remembers that the device was heard of and what it reported; whether it is time to write."""
        with self._lock:
            keep_later(self._news.seen, device_id, at)
            if report is not None:
                self._news.reports[device_id] = report
            return self._is_due()

    def watch(self, device_id: str, at: datetime) -> bool:
        """Remembers that somebody looked at the device; whether it is time to write."""
        with self._lock:
            keep_later(self._watched, device_id, at)
            keep_later(self._news.watched, device_id, at)
            return self._is_due()

    def take(self) -> News:
        """All that is not yet written; the caller writes it, or gives it back."""
        with self._lock:
            taken, self._news = self._news, News()
            self._flushed_at = time.monotonic()
            if taken.reports:
                self._reported_at = self._flushed_at
            old = clock.utc_now() - timedelta(seconds=WATCHED_SECONDS)
            self._watched = {device_id: at for device_id, at in self._watched.items() if at > old}
            return taken

    def give_back(self, news: News) -> None:
        """What could not be written, unless there is newer by now."""
        with self._lock:
            for device_id, at in news.seen.items():
                keep_later(self._news.seen, device_id, at)
            for device_id, at in news.watched.items():
                keep_later(self._news.watched, device_id, at)
            self._news.reports = news.reports | self._news.reports

    def watched_at(self, device_id: str) -> datetime | None:
        """When somebody last looked at the device, as far as this process remembers."""
        return self._watched.get(device_id)

    def _is_due(self) -> bool:
        now = time.monotonic()
        has_old_reports = bool(self._news.reports) and now - self._reported_at >= REPORT_SECONDS
        return has_old_reports or now - self._flushed_at >= FLUSH_SECONDS


def keep_later(times: Times, device_id: str, at: datetime) -> None:
    """`at`, unless a later time is there."""
    times[device_id] = max(at, times.get(device_id, at))


memory = Memory()


_ask_writer: list[Callable[[], None]] = []


def hand_over(ask: Callable[[], None] | None) -> None:
    """From now on `ask` makes another thread call `flush_seen`, so that no request waits for a write; None ends it."""
    _ask_writer[:] = [ask] if ask is not None else []


def write_out() -> None:
    """Writes what has come together, here or in the thread that was named for it."""
    for ask in _ask_writer or (flush_seen,):
        ask()


def note_seen(device_id: str, at: datetime) -> None:
    """The device was heard of at `at`; every few seconds this writes what has come together."""
    if memory.note(device_id, at):
        write_out()


def note_report(device_id: str, at: datetime, report: Report) -> None:
    """The device reported how it is; see REPORT_SECONDS."""
    if memory.note(device_id, at, report):
        write_out()


def note_watched(device_id: str) -> None:
    """Somebody looks at the device's page: its polls come every second for a while."""
    if memory.watch(device_id, clock.utc_now()):
        write_out()


def note_answered(device_id: str) -> None:
    """The device answered a relayed request, and the next one is near: as if somebody had looked a moment ago."""
    since = timedelta(seconds=WATCHED_SECONDS - ANSWERED_SECONDS)
    if memory.watch(device_id, clock.utc_now() - since):
        write_out()


def is_watched(device_id: str, watched_at: datetime | None = None) -> bool:
    """Whether somebody looked at the device a moment ago, here or (`watched_at` of its row) in another process."""
    old = clock.utc_now() - timedelta(seconds=WATCHED_SECONDS)
    here = memory.watched_at(device_id)
    return (here is not None and here > old) or (watched_at is not None and watched_at > old)


def flush_seen() -> int:
    """Writes what is not yet written, in one go; of how many devices. A busy database gets it at the next flush."""
    news = memory.take()
    if not news.count():
        return 0
    try:
        with transaction() as session:
            _raise_times(session, "last_seen_at", news.seen)
            _raise_times(session, "watched_at", news.watched)
            _keep_reports(session, news.reports)
    except OperationalError as error:
        log.warning("could not write when %d devices were last seen yet: %s", news.count(), error)
        memory.give_back(news)
        return 0
    return news.count()


def _raise_times(session: Session, column: str, times: Mapping[str, datetime]) -> None:
    """Sets a column of each device to a later time; one that is there already stays."""
    if not times:
        return
    table: Any = Device.__table__
    older = or_(table.c[column].is_(None), table.c[column] < bindparam("at"))
    newer = update(table).where(table.c.id == bindparam("device"), older).values({column: bindparam("at")})
    rows = [{"device": device_id, "at": at} for device_id, at in sorted(times.items())]
    session.connection().execute(newer, rows)


def _keep_reports(session: Session, reports: Mapping[str, Report]) -> None:
    if not reports:
        return
    table: Any = Device.__table__
    columns = [name for name in next(iter(reports.values())) if not name.startswith("told_")]
    values: dict[str, Any] = {name: bindparam(name, type_=table.c[name].type) for name in columns}
    for name in ("version", "host"):
        values[name] = func.coalesce(bindparam(f"told_{name}", type_=table.c[name].type), table.c[name])
    rows = [{"device": device_id, **report} for device_id, report in sorted(reports.items())]
    session.connection().execute(update(table).where(table.c.id == bindparam("device")).values(values), rows)
