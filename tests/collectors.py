"""Small real collectors for tests, over HTTP on loopback: `with ExactCollector() as collector: collector.put(...)`.

`ExactCollector` speaks the whole protocol, `PlainCollector` only what the first collectors did. The hostile ones are in
`tests/squatters.py`. Everything that a collector received is kept in `received`.
"""

import base64
import json
import math
import secrets
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from collector import wire
from tests.collector_server import Collector, Json, Received, Reply

START_MS = wire.parse_ms("2026-01-05T09:00:00Z")
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Row:
    """One session as an exact collector keeps it."""

    rev: int
    changed_ms: int
    session: Json


class ExactCollector(Collector):
    """Cursor, epoch, reset and coverage as docs/wire-protocol.md says. `put` adds or changes a session, also during a
    pull. `ran_seconds` is how long it ran, by local day; its database was made at `since_ms`.
    """

    def __init__(self, *, now_ms: Callable[[], int] = wire.now_ms, **options: Any) -> None:
        super().__init__(**options)
        self.epoch = secrets.token_hex(8)
        self.rows: dict[str, Row] = {}
        self.most_per_page = wire.EXPORT_MAX_LIMIT
        self.since_ms = START_MS
        self.ran_seconds: dict[str, int] = {}
        self._counter = self._changed_ms = 0
        self._now_ms = now_ms
        self._lock = threading.RLock()

    def put(self, *sessions: Json) -> None:
        """Stores new or changed sessions, each with a revision and a change time of its own."""
        with self._lock:
            for session in sessions:
                self._counter += 1
                self._changed_ms = max(self._now_ms(), self._changed_ms + 1)
                known = self.rows.get(session["id"])
                revision = known.session["revision"] + 1 if known else 1
                full = {**session, "deviceId": self.device_id, "schemaVersion": 1, "revision": revision}
                full["changedAt"] = wire.format_ms(self._changed_ms)
                self.rows[session["id"]] = Row(self._counter, self._changed_ms, full)

    def reinstall(self) -> None:
        """Forgets everything, like a collector with a new database."""
        with self._lock:
            self.epoch, self.rows = secrets.token_hex(8), {}
            self._counter = self._changed_ms = 0

    def restore(self, backup: tuple[int, dict[str, Row]]) -> None:
        """Goes back to an old copy of its database (see `back_up`), epoch included."""
        with self._lock:
            self._counter, self.rows = backup[0], dict(backup[1])

    def back_up(self) -> tuple[int, dict[str, Row]]:
        """A copy of the database as it is now."""
        with self._lock:
            return self._counter, dict(self.rows)

    @property
    def sessions(self) -> list[Json]:
        """What there is to pull."""
        with self._lock:
            return [row.session for row in sorted(self.rows.values(), key=lambda row: row.rev)]

    def export(self, asked: Json) -> Json:
        """One page."""
        with self._lock:
            after, is_reset = self._position(asked)
            newer = sorted((row for row in self._started_in(asked) if row.rev > after), key=lambda row: row.rev)
            limit = min(asked.get("limit", wire.EXPORT_DEFAULT_LIMIT), self.most_per_page)
            page = newer[:limit]
            since_ms = wire.parse_ms(asked["since"]) if asked.get("since") else self._changed_ms
            last_ms = page[-1].changed_ms if page else min(since_ms, self._changed_ms)
            answer = {
                "sessions": [row.session for row in page],
                "hasMore": len(newer) > limit,
                "lastSyncTime": wire.format_ms(last_ms),
                "nextCursor": self._cursor(page[-1].rev if page else min(after, self._counter)),
                "epoch": self.epoch,
            }
            return answer | ({"reset": True} if is_reset else {})

    def cover(self, asked: Json) -> Json:
        """What there is of each day."""
        zone, (after, is_reset) = ZoneInfo(asked["timezone"]), self._position(asked)
        days: dict[str, Json] = {}
        live: dict[str, list[tuple[str, int, int]]] = {}
        with self._lock:
            for row in self.rows.values():
                start_ms = wire.parse_ms(row.session["sessionStartTime"])
                day = _day(start_ms, zone)
                told = days.setdefault(day, {"sessions": 0, "pending": 0, "ranSeconds": self.ran_seconds.get(day, 0)})
                told["pending"] += row.rev > after
                if not row.session.get("deleted"):
                    told["sessions"] += 1
                    live.setdefault(day, []).append((row.session["id"], row.changed_ms, start_ms))
        for day, seconds in self.ran_seconds.items():
            days.setdefault(day, {"sessions": 0, "pending": 0, "ranSeconds": seconds})
        listed = [
            {"day": day, "digest": wire.digest_sessions(live.get(day, [])), **told}
            for day, told in sorted(days.items())
            if asked["first"] <= day <= asked["last"]
        ]
        answer = {"epoch": self.epoch, "since": wire.format_ms(self.since_ms), "days": listed}
        answer["timestamp"] = wire.format_ms(self._now_ms())
        return answer | ({"reset": True} if is_reset else {})

    def _started_in(self, asked: Json) -> list[Row]:
        if not (asked.get("from") or asked.get("to")):
            return list(self.rows.values())
        first = wire.parse_ms(asked["from"]) if asked.get("from") else -math.inf
        last = wire.parse_ms(asked["to"]) if asked.get("to") else math.inf
        return [row for row in self.rows.values() if first <= wire.parse_ms(row.session["sessionStartTime"]) < last]

    def _position(self, asked: Json) -> tuple[int, bool]:
        if asked.get("cursor"):
            epoch, rev, changed_ms = json.loads(base64.urlsafe_b64decode(asked["cursor"]))
            is_rolled_back = any(row.rev <= rev and row.changed_ms > changed_ms for row in self.rows.values())
            is_foreign = epoch != self.epoch or rev > self._counter or is_rolled_back
            return (0, True) if is_foreign else (rev, False)
        since_ms = wire.parse_ms(asked["since"]) if asked.get("since") else -1
        return max((row.rev for row in self.rows.values() if row.changed_ms <= since_ms), default=0), False

    def _cursor(self, rev: int) -> str:
        changed_ms = max((row.changed_ms for row in self.rows.values() if row.rev <= rev), default=0)
        return base64.urlsafe_b64encode(json.dumps([self.epoch, rev, changed_ms]).encode()).decode()


class PlainCollector(Collector):
    """Only `sessions`, `hasMore` and `lastSyncTime`; change times of whole seconds, so that many are the same.

    It closes the connection after every answer, as the simplest servers do. `since` is exclusive unless told otherwise.
    """

    http_version = "HTTP/1.0"

    def __init__(self, *, most_per_page: int = 100, is_since_exclusive: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.most_per_page = most_per_page
        self.is_since_exclusive = is_since_exclusive
        self._rows: dict[str, tuple[int, Json]] = {}
        self._lock = threading.Lock()

    def put(self, changed_ms: int, *sessions: Json) -> None:
        """Stores sessions that all changed in the second of `changed_ms`."""
        with self._lock:
            for session in sessions:
                self._rows[session["id"]] = (changed_ms // 1000 * 1000, session)

    @property
    def sessions(self) -> list[Json]:
        """What there is to pull."""
        with self._lock:
            return [session for _, session in self._rows.values()]

    def export(self, asked: Json) -> Json:
        """One page; the only order there is, is by second."""
        since_ms = wire.parse_ms(asked["since"]) if asked.get("since") else -1
        first_ms = since_ms + 1 if self.is_since_exclusive else since_ms
        with self._lock:
            newer = sorted((row for row in self._rows.values() if row[0] >= first_ms), key=lambda row: row[0])
        page = newer[: min(asked.get("limit", 100), self.most_per_page)]
        last_ms = page[-1][0] if page else max(since_ms, 0)
        return {
            "sessions": [session for _, session in page],
            "hasMore": len(newer) > len(page),
            "lastSyncTime": f"{datetime.fromtimestamp(last_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}",
        }


def _day(ms: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(ms / 1000, zone).date().isoformat()


def make_session(number: int, *, start_ms: int | None = None, minutes: int = 10, **changes: Any) -> Json:
    """A file session with the eighteen required fields and its segments; the `number`-th of some hours of work."""
    began_ms = START_MS + number * 15 * MINUTE_MS if start_ms is None else start_ms
    ended_ms = began_ms + minutes * MINUTE_MS
    session = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"session-{number}")),
        "filePath": f"/home/ada/code/tide/src/part_{number % 7}.py",
        "fileName": f"part_{number % 7}.py",
        "fileExtension": "py",
        "language": "Python",
        "projectName": "tide",
        "projectPath": "/home/ada/code/tide",
        "sessionStartTime": wire.format_ms(began_ms),
        "sessionEndTime": wire.format_ms(ended_ms),
        "totalDuration": minutes * 60,
        "linesAdded": 3,
        "linesDeleted": 1,
        "linesModified": 2,
        "charactersAdded": 120,
        "charactersDeleted": 40,
        "charactersModified": 60,
        "totalEdits": 9,
        "isActive": False,
        "editor": "vscode",
        "platform": "linux",
        "activeSegments": [[began_ms, ended_ms]],
        "sources": ["wakatime"],
    }
    return session | changes


def make_plain_session(number: int, **changes: Any) -> Json:
    """The same with the eighteen required fields only."""
    extra = ("editor", "platform", "activeSegments", "sources")
    return {name: value for name, value in make_session(number, **changes).items() if name not in extra}


def grow(session: Json, minutes: int) -> Json:
    """The session after so many more minutes of work."""
    ended = datetime.fromisoformat(session["sessionEndTime"]) + timedelta(minutes=minutes)
    ended_ms = wire.to_ms(ended)
    grown = session | {
        "sessionEndTime": wire.format_ms(ended_ms),
        "totalDuration": session["totalDuration"] + minutes * 60,
    }
    if "activeSegments" in session:
        grown["activeSegments"] = [[session["activeSegments"][0][0], ended_ms]]
    return grown


__all__ = [
    "Collector",
    "ExactCollector",
    "Json",
    "PlainCollector",
    "Received",
    "Reply",
    "grow",
    "make_plain_session",
    "make_session",
]
