"""A hub with a machine in every state that there is: `fill(account_id)` writes it as of `clock.utc_now()`."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy.orm import Session

from collector import wire
from tests.pages import story
from webapp.database import transaction
from webapp.features.devices.models import Device
from webapp.features.sessions import quarantine
from webapp.features.sessions.models import Pull, PullState, Restart, StoredSession
from webapp.features.sessions.parsing import parse, reject
from webapp.features.sessions.recounting import refresh_stale_days
from webapp.features.sessions.stale_days import find_days, mark_stale
from webapp.lib import clock

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NOTHING = "Nothing answers at http://10.0.0.7:8001. Is the collector running?"
SILENCE = "It did not answer over its own connection within 30 s."
RELAYED = {
    "road": "relay",
    "direct_failures": 9,
    "direct_problem": "unreachable",
    "direct_detail": NOTHING,
    "direct_since": 5 * HOUR,
    "direct_due": 8 * MINUTE,
}


@dataclass(frozen=True)
class Odd:
    """A machine of the fleet: when it was heard of and pulled (how long ago), and what its rows say besides.

    In `state` a name ending in `_since` or `_due` is a span, before or after now.
    """

    name: str
    heard: timedelta | None = 3 * SECOND
    pulled: timedelta | None = 12 * SECOND
    state: dict[str, Any] | None = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The device's id."""
        return f"fleet-{self.name}"


def failing(problem: str, detail: str, since: timedelta, **more: Any) -> dict[str, Any]:
    """A pull that fails."""
    return {
        "problem": problem,
        "problem_detail": detail,
        "problem_since": since,
        "failures": 5,
        "due": 40 * SECOND,
        **more,
    }


FLEET = (
    Odd("atlas"),
    Odd("borealis", state={"is_behind": True}),
    Odd("cassini", state=RELAYED),
    Odd("draco", heard=6 * MINUTE, pulled=11 * MINUTE),
    Odd("equinox"),
    Odd("faraday", heard=19 * HOUR, pulled=19 * HOUR, state=failing("timeout", NOTHING, 19 * HOUR)),
    Odd("galileo", heard=16 * DAY, pulled=16 * DAY, state=failing("unreachable", NOTHING, 16 * DAY)),
    Odd("huygens", pulled=3 * HOUR, state=failing("timeout", SILENCE, 3 * HOUR, **RELAYED)),
    Odd("io", pulled=48 * MINUTE, state=failing("identity", "It cannot prove its key.", 47 * MINUTE)),
    Odd("juno", pulled=2 * HOUR, state=failing("refused", "It refuses the hub's credential (401).", 2 * HOUR)),
    Odd("kepler", pulled=26 * MINUTE, state=failing("disk_full", "The disk is full.", 25 * MINUTE)),
    Odd(
        "lovelace",
        pulled=7 * MINUTE,
        state=failing("bad_answer", "It says that there is more, but it does not go on from where it was.", 6 * MINUTE),
    ),
    Odd("meitner", heard=None, pulled=None, state=None),
    Odd("noether", heard=None, pulled=None, state=failing("unreachable", NOTHING, 4 * MINUTE)),
    Odd("old-thinkpad-from-the-office-upstairs", device={"unpaired": 40 * DAY}, pulled=40 * DAY, heard=40 * DAY),
    Odd("vscode", heard=2 * HOUR, pulled=None, state=None, device={"kind": "editor", "paired_at": None}),
)
EQUINOX, CASSINI, GALILEO, HUYGENS = (
    next(odd for odd in FLEET if odd.name == name)
    for name in (
        "equinox",
        "cassini",
        "galileo",
        "huygens",
    )
)


def fill(account_id: int) -> None:
    """All of it, in one transaction; the totals are counted afterwards."""
    now = clock.utc_now()
    with transaction() as session:
        for odd in FLEET:
            add(session, account_id, odd, now)
        session.flush()
        add_sessions(session, account_id, now)
        add_pulls(session, now)
        add_quarantined(session, now)
        add_restarts(session, now)
    refresh_stale_days(account_id)


def add(session: Session, account_id: int, odd: Odd, now: datetime) -> None:
    """A machine and where its pull stands."""
    unpaired = odd.device.get("unpaired")
    told = {
        "kind": "collector",
        "paired_at": now - 60 * DAY,
        "unpaired_at": now - unpaired if unpaired else None,
    } | {name: value for name, value in odd.device.items() if name != "unpaired"}
    session.add(
        Device(
            id=odd.id,
            account_id=account_id,
            name=odd.name,
            platform="linux",
            version="0.1.0",
            settings_epoch="fleet",
            endpoint_url="http://10.0.0.7:8001" if odd.pulled else None,
            endpoint_proven_at=now - odd.pulled if odd.pulled else None,
            last_seen_at=now - odd.heard if odd.heard is not None else None,
            created_at=now - 60 * DAY,
            **told,
        )
    )
    if odd.state is None:
        return
    values = {"due_at": now + 48 * SECOND}
    for name, value in odd.state.items():
        if name.endswith("since"):
            values[f"{name}_at"] = now - value
        elif name.endswith("due"):
            values[f"{name}_at"] = now + value
        else:
            values[name] = value
    pulled_at = now - odd.pulled if odd.pulled is not None else None
    session.add(PullState(device_id=odd.id, cursor="fleet", last_pulled_at=pulled_at, **values))


def add_sessions(session: Session, account_id: int, now: datetime) -> None:
    """Some days of work on two of the machines."""
    rows = []
    for machine, told in story.tell(now):
        if machine is story.STUDIO:
            device_id = f"fleet-{'atlas' if len(rows) % 3 else 'borealis'}"
            row = parse(msgspec.json.encode(told), wire.to_ms(now))
            rows.append(row | {"account_id": account_id, "device_id": device_id, "pull_id": None})
    session.execute(StoredSession.__table__.insert(), rows)
    mark_stale(session, account_id, find_days([(row["started_ms"], row["ended_ms"]) for row in rows], story.ZONE))


def add_pulls(session: Session, now: datetime) -> None:
    """The last ten pulls of the one that is relayed and of the one that nobody reaches."""
    for index in range(10):
        at = now - 12 * SECOND - index * MINUTE
        is_direct, rows = index > 7, (4, 0, 0, 12, 0, 1, 0, 0, 3, 0)[index]
        session.add(
            Pull(
                device_id=CASSINI.id,
                road="direct" if is_direct else "relay",
                status="succeeded",
                started_at=at,
                finished_at=at + SECOND,
                pages=1,
                rows=rows,
                changed_rows=rows,
                milliseconds=61 if is_direct else 1180 + 40 * index,
                direct_detail=None if is_direct else NOTHING,
            )
        )
        session.add(
            Pull(
                device_id=HUYGENS.id,
                road="relay",
                status="failed",
                started_at=at,
                finished_at=at + 30 * SECOND,
                milliseconds=30_120,
                problem="timeout",
                error=SILENCE,
                direct_detail=NOTHING,
            )
        )


def add_quarantined(session: Session, now: datetime) -> None:
    """What could not be accepted, each for another reason."""
    _, told = next(story.tell(now))
    good = msgspec.to_builtins(told)
    pull = Pull(device_id=EQUINOX.id, status="succeeded", started_at=now - 2 * HOUR, rows=14, changed_rows=9, pages=1)
    session.add(pull)
    session.flush()
    bad = (
        ("sessionStartTime: the year 1601 is too long ago.", {"sessionStartTime": "1601-01-01T00:00:00Z"}),
        ("Expected `int`, got `str` - at `$.linesAdded`", {"linesAdded": "three", "filePath": "/home/ada/<b>x</b>.py"}),
        ("sessionEndTime: before sessionStartTime.", {"sessionEndTime": "2026-01-01T00:00:00Z"}),
        ("It is larger than 64 KiB (71,234 bytes).", {"note": "y" * 71_234}),
        ("project_name: has a NUL character.", {"projectName": "harbour\0web \u202e txt.exe"}),
    )
    rejected = [
        reject(msgspec.json.encode({**good, "id": f"{number:08x}-5a43-4c05-9d0b-6a2f6f1f6b11", **changes}), reason)
        for number, (reason, changes) in enumerate(bad, start=0x3F0D6D0E)
    ]
    broken = msgspec.json.encode({**good, "note": 0})[:-1] + b",}"
    rejected.append(reject(broken, f"JSON is malformed: trailing comma in object (byte {len(broken) - 1})"))
    quarantine.quarantine(session, EQUINOX.id, rejected, pull.id)


def add_restarts(session: Session, now: datetime) -> None:
    """A collector with a new database, one that went back to an old copy, and one that is at it now."""
    for kind, back, held, received, kept, is_open in (
        ("reinstalled", 3 * DAY, 12_480, 11_240, 1240, False),
        ("restored", 21 * DAY, 9120, 9120, 0, False),
        ("reinstalled", 5 * MINUTE, 12_502, 0, 0, True),
    ):
        session.add(
            Restart(
                device_id=CASSINI.id,
                kind=kind,
                generation=1,
                began_at=now - back,
                ended_at=None if is_open else now - back + 4 * SECOND,
                held=held,
                received=received,
                kept=kept,
            )
        )
