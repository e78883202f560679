"""What a simulated collector holds and answers: a small worklog that grows, exact exports of it, and its days."""

import json
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import msgspec

from bench import worklog
from collector import wire

HISTORY = 12
DAY_MS = 86_400_000
TEMPLATES = 400


def _make_templates() -> list[tuple[bytes, int]]:
    """Sessions as JSON with `@` for the id and `~` for the change, and how long each is in ms."""
    made = []
    for session in worklog.tell("fleet", TEMPLATES):
        told = msgspec.to_builtins(session)
        start, end = wire.to_ms(session.session_start_time), wire.to_ms(session.session_end_time or worklog.at(0))
        told |= {"id": "@", "changedAt": "~C", "sessionStartTime": "~S", "sessionEndTime": "~E"}
        told |= {"deviceId": "", "activeSegments": ["~G"]}
        made.append((json.dumps(told).encode(), end - start))
    return made


_templates = _make_templates()


class Worklog:
    """One collector's sessions: HISTORY of the last days, then a new one every `work_seconds`."""

    def __init__(self, device_id: str, number: int, work_seconds: float) -> None:
        self.device_id, self.number, self.work_seconds = device_id, number, work_seconds
        self.begun = time.monotonic() - (number * 7919 % 1000) / 1000 * work_seconds
        self.first_ms = wire.now_ms() - 2 * DAY_MS

    def count(self) -> int:
        """How many sessions there are now."""
        return HISTORY + int((time.monotonic() - self.begun) / self.work_seconds)

    def answer(self, op: str, args: dict[str, object]) -> bytes:
        """The answer to an operation of the hub, or a problem."""
        if op == "sessions.export":
            return self.export(msgspec.convert(args, wire.ExportRequest))
        if op == "sessions.coverage":
            return self.cover(msgspec.convert(args, wire.CoverageRequest))
        if op == "health":
            return json.dumps(_health(self.device_id)).encode()
        return b'{"type":"about:blank","title":"Not Found","status":404,"detail":"Unknown operation."}'

    def export(self, request: wire.ExportRequest) -> bytes:
        """A page; the cursor is the number of sessions that the hub has."""
        have = int(request.cursor[1:]) if request.cursor else 0
        upto = min(self.count(), have + request.limit)
        rows = b",".join(self.tell(number) for number in range(have, upto))
        last = wire.format_ms(self.times(upto - 1)[2])
        tail = {"hasMore": upto < self.count(), "lastSyncTime": last, "nextCursor": f"c{upto}", "epoch": "fleet"}
        return b'{"sessions":[' + rows + b"]," + json.dumps(tail).encode()[1:]

    def tell(self, number: int) -> bytes:
        """Session `number` as JSON."""
        start, end, changed = self.times(number)
        text = _templates[(self.number + number) % TEMPLATES][0]
        text = text.replace(b'"@"', b'"%b"' % self.id_of(number).encode())
        text = text.replace(b"~C", wire.format_ms(changed).encode()).replace(b"~S", wire.format_ms(start).encode())
        text = text.replace(b"~E", wire.format_ms(end).encode())
        return text.replace(b'["~G"]', b"[[%d,%d]]" % (start, end))

    def id_of(self, number: int) -> str:
        """The id of session `number`."""
        return f"{self.device_id}-{number}"

    def times(self, number: int) -> tuple[int, int, int]:
        """`(start, end, change)` of session `number` in ms: the history an hour apart, the rest as it happens."""
        length = _templates[(self.number + number) % TEMPLATES][1]
        if number < HISTORY:
            start = self.first_ms + number * 3_600_000
        else:
            start = self.first_ms + 2 * DAY_MS + int((number - HISTORY) * self.work_seconds * 1000) - 3_600_000
        return start, start + length, self.first_ms + 2 * DAY_MS + number

    def cover(self, request: wire.CoverageRequest) -> bytes:
        """What it holds of each day that the hub asks for."""
        zone, have = ZoneInfo(request.timezone), int(request.cursor[1:]) if request.cursor else 0
        days: dict[str, list[int]] = {}
        for number in range(self.count()):
            day = datetime.fromtimestamp(self.times(number)[0] / 1000, UTC).astimezone(zone).date().isoformat()
            if request.first <= day <= request.last:
                days.setdefault(day, []).append(number)
        answer = wire.CoverageAnswer(
            epoch="fleet",
            since=wire.format_ms(self.first_ms),
            timestamp=wire.format_ms(wire.now_ms()),
            days=[self._cover_day(day, numbers, have) for day, numbers in sorted(days.items())],
        )
        return msgspec.json.encode(answer)

    def _cover_day(self, day: str, numbers: list[int], have: int) -> wire.CoverageDay:
        held = [(self.id_of(number), self.times(number)[2], self.times(number)[0]) for number in numbers]
        pending = sum(number >= have for number in numbers)
        digest = wire.digest_sessions(held)
        return wire.CoverageDay(day=day, sessions=len(held), digest=digest, pending=pending, ran_seconds=3600)


def health(target: str, device_id: str, secret: str, port: int) -> bytes:
    """The answer of `GET /api/health?challenge=`."""
    nonce = parse_qs(urlsplit(target).query).get("challenge", [""])[0]
    proof = wire.health_proof(secret, nonce, device_id, port)
    return json.dumps(_health(device_id) | {"proof": proof}).encode()


def _health(device_id: str) -> dict[str, object]:
    told = {"status": "healthy", "deviceId": device_id, "timestamp": wire.format_ms(wire.now_ms())}
    return told | {"version": "0.1.0", "protocol": wire.PROTOCOL, "paired": True}
