"""What the tests of the coverage ledger share: a machine in March 2026, and what the hub has written of its days."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select

from collector import wire
from tests.collector_server import Received, Reply
from tests.collectors import ExactCollector, Json, make_session
from webapp.adapters.collector_client import CollectorClient
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.sessions import covering
from webapp.features.sessions.check_plans import CheckPlan, Known
from webapp.features.sessions.models import CoverageState, CoveredDay, PullState
from webapp.features.sessions.targets import Position
from webapp.lib import clock
from webapp.lib.local_days import read_zone

SetClock = Callable[[datetime], None]
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY = date(2026, 3, 10)


def back(days: int) -> str:
    """The day so many days before today."""
    return (TODAY - timedelta(days=days)).isoformat()


def at(days: int, hour: int = 9) -> int:
    """Milliseconds of an hour of that day (UTC)."""
    return wire.to_ms(datetime(2026, 3, 10, hour, tzinfo=UTC) - timedelta(days=days))


class Machine(ExactCollector):
    """A collector with the hub's clock, installed five days ago, that ran every day but the day before yesterday.

    With `break_after` it fails every export after so many.
    """

    def __init__(self) -> None:
        super().__init__(now_ms=lambda: clock.now_ms())
        self.since_ms = at(5)
        self.ran_seconds = {back(days): 28_800 for days in (5, 4, 3, 1, 0)}
        self.break_after: int | None = None

    def answer(self, request: Received) -> Reply:
        """As any collector, until it breaks."""
        if request.path == "/api/sessions/export" and self.break_after is not None:
            if self.break_after == 0:
                return Reply({"title": "Broken"}, 500)
            self.break_after -= 1
        return super().answer(request)

    def health(self, nonce: str | None) -> Json:
        """At the hub's time."""
        return super().health(nonce) | {"timestamp": wire.format_ms(clock.now_ms())}

    def work(self, days: int, count: int, first: int = 0, **changes: object) -> list[Json]:
        """So many sessions of that day."""
        made = [
            make_session(1000 * days + first + number, start_ms=at(days) + (first + number) * 60_000, **changes)
            for number in range(count)
        ]
        self.put(*made)
        return made

    def questions(self) -> list[Json]:
        """What it was asked of its days."""
        return [one.json() for one in self.received if one.path == "/api/sessions/coverage"]


def ledger(device_id: str) -> dict[str, CoveredDay]:
    """The days of the device that are written, by day."""
    db.session.rollback()
    db.session.expire_all()
    rows = db.session.scalars(select(CoveredDay).where(CoveredDay.device_id == device_id))
    return {row.day.isoformat(): row for row in rows}


def statuses(device_id: str) -> dict[str, str]:
    """The same, as statuses."""
    return {day: row.status for day, row in ledger(device_id).items()}


def read_state(device_id: str) -> CoverageState:
    """Where the device's proof stands."""
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(CoverageState, device_id)


def clock_setter(patch: pytest.MonkeyPatch) -> SetClock:
    """What sets the hub's clock; it stands at noon to begin with."""

    def set_clock(moment: datetime) -> None:
        patch.setattr(clock, "utc_now", lambda: moment)
        patch.setattr(clock, "now_ms", lambda: wire.to_ms(moment))

    set_clock(NOW)
    return set_clock


def check_everything(client: CollectorClient, machine: Machine, device_id: str, zone: str = "UTC") -> None:
    """A check of every day as the end of a pull makes it, now."""
    state = db.session.get_one(PullState, device_id)
    plan = CheckPlan(read_zone(zone), Known())
    request = plan.ask_last(Position(state.cursor))
    assert request is not None
    answer = client.cover_days(machine.url, device_id, machine.pull_secret, request)
    found = covering.weigh(device_id, request, answer, is_last=True)
    assert isinstance(found, covering.Findings)
    with transaction() as session:
        covering.record_check(session, device_id, found)
