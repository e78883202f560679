"""The first page: how much, on what, when, where; what runs; what a person must decide."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import select

from webapp.errors import NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job
from webapp.features.overview.notices import Notice, list_notices
from webapp.features.overview.steps import FirstSteps, find_steps
from webapp.features.sessions import service as sessions
from webapp.features.sessions.freshness import DeviceState, Standing
from webapp.features.sessions.totals import StoredDay, Totals, add_up, read_days
from webapp.lib import clock
from webapp.lib.local_days import list_days, read_zone


@dataclass(frozen=True)
class Machine:
    """A device with how it is, and its own time today. `standing` is None before its first pull."""

    device: Device
    state: DeviceState
    standing: Standing | None
    last_pulled_at: datetime | None
    road: str | None
    quarantined: int
    today_ms: int


@dataclass(frozen=True, kw_only=True)
class Overview:
    """Everything on the first page. `steps` is None once there is something to see."""

    today_ms: int
    week_ms: int
    agent_today_ms: int
    totals: Totals
    machines: Sequence[Machine]
    jobs: Sequence[Job]
    needs_you: Sequence[Notice]
    steps: FirstSteps | None


def read_overview(
    account_id: int, *, days: int = 30, device_id: str | None = None, now: datetime | None = None
) -> Overview:
    """The last `days` days up to today, in the account's zone; NotFound for a device that is not the account's."""
    today = find_today(account_id, now)
    first, monday = today - timedelta(days=days - 1), today - timedelta(days=today.weekday())
    everything = read_days(account_id, min(first, monday), today)
    machines = _list_machines(account_id, everything.get(today))
    if device_id is not None and all(machine.device.id != device_id for machine in machines):
        raise NotFound("There is no such machine.")
    stored = everything if device_id is None else read_days(account_id, min(first, monday), today, device_id=device_id)
    return Overview(
        today_ms=stored[today][0] if today in stored else 0,
        week_ms=sum(ms for day, (ms, _, _) in stored.items() if day >= monday),
        agent_today_ms=stored[today][1] if today in stored else 0,
        totals=add_up(stored, list_days(first, today), device_id),
        machines=machines,
        jobs=jobs.list_unfinished(account_id),
        needs_you=list_notices(account_id, machines),
        steps=find_steps(account_id, [machine.device for machine in machines]),
    )


def list_machines(account_id: int, *, now: datetime | None = None) -> list[Machine]:
    """Every device of the account, by name."""
    today = find_today(account_id, now)
    return _list_machines(account_id, read_days(account_id, today, today).get(today))


def _list_machines(account_id: int, today: StoredDay | None) -> list[Machine]:
    own_ms = {device_id: ms for device_id, ms, _ in today[2].devices} if today is not None else {}
    return [
        Machine(
            device=fresh.device,
            state=fresh.state,
            standing=fresh.standing,
            last_pulled_at=fresh.last_pulled_at,
            road=fresh.road,
            quarantined=fresh.quarantined,
            today_ms=own_ms.get(fresh.device.id, 0),
        )
        for fresh in sessions.freshness(account_id)
    ]


def find_today(account_id: int, now: datetime | None = None) -> date:
    """The account's local day."""
    zone = db.session.scalar(select(Account.timezone).where(Account.id == account_id)) or "UTC"
    return (now or clock.utc_now()).astimezone(read_zone(zone)).date()


__all__ = ["FirstSteps", "Machine", "Notice", "Overview", "list_machines", "read_overview"]
