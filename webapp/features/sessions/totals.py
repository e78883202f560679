"""How much was done: per day, project, language, hour and device. Reads a few stored rows per day, never sessions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import select

from webapp.extensions import db
from webapp.features.sessions.day_details import HOURS, DayDetail, read_detail
from webapp.features.sessions.models import EVERY_DEVICE, DayTotal
from webapp.features.sessions.recounting import refresh_stale_days
from webapp.lib.local_days import list_days

WEEKDAYS = 7

StoredDay = tuple[int, int, DayDetail]
"""`(people's ms, agents' ms, what they are made of)`"""


@dataclass(frozen=True)
class Share:
    """Milliseconds of one project, language or device."""

    name: str
    ms: int


@dataclass(frozen=True)
class DayTotals:
    """One local day. `ms` is people's time, no instant twice; `agent_ms` is the agents' own."""

    day: date
    ms: int
    agent_ms: int
    projects: Sequence[tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class Totals:
    """A range of local days. Shares are sorted, the largest first; `devices` may sum to more than `total_ms`.

    `hours` is 7 x 24 milliseconds: Monday to Sunday, local hour 0 to 23.
    """

    days: Sequence[DayTotals]
    projects: Sequence[Share]
    languages: Sequence[Share]
    hours: Sequence[Sequence[int]]
    devices: Sequence[Share]
    total_ms: int
    agent_ms: int


def read_totals(account_id: int, first_day: date, last_day: date, *, device_id: str | None = None) -> Totals:
    """The days `first_day` to `last_day` (both included) of all devices together, or of one device on its own."""
    stored = read_days(account_id, first_day, last_day, device_id=device_id)
    return add_up(stored, list_days(first_day, last_day), device_id)


def read_days(
    account_id: int, first_day: date, last_day: date, *, device_id: str | None = None
) -> dict[date, StoredDay]:
    """`(ms, agent_ms, detail)` of each day that has any time."""
    wanted = select(DayTotal.day, DayTotal.ms, DayTotal.agent_ms, DayTotal.detail).where(
        DayTotal.account_id == account_id,
        DayTotal.device_id == (EVERY_DEVICE if device_id is None else device_id),
        DayTotal.day.between(first_day, last_day),
    )
    return {day: (ms, agent_ms, read_detail(detail)) for day, ms, agent_ms, detail in db.session.execute(wanted)}


def add_up(stored: dict[date, StoredDay], days: Sequence[date], device_id: str | None) -> Totals:
    """The stored details of `days` as one set of totals; a day without any is there with zeros."""
    projects: Counter[str] = Counter()
    languages: Counter[str] = Counter()
    devices: Counter[str] = Counter()
    hours = [[0] * HOURS for _ in range(WEEKDAYS)]
    told: list[DayTotals] = []
    for day in days:
        if day not in stored:
            told.append(DayTotals(day, 0, 0, ()))
            continue
        ms, agent_ms, detail = stored[day]
        of_day: Counter[str] = Counter()
        for project, language, part in detail.shares:
            of_day[project] += part
            languages[language] += part
        projects.update(of_day)
        weekday = day.weekday()
        hours[weekday] = [one + other for one, other in zip(hours[weekday], detail.hours, strict=True)]
        for name, own_ms, _ in detail.devices if device_id is None else [(device_id, ms, agent_ms)]:
            devices[name] += own_ms
        told.append(DayTotals(day, ms, agent_ms, sort_shares(of_day.items())))
    return Totals(
        days=told,
        projects=[Share(*share) for share in sort_shares(projects.items())],
        languages=[Share(*share) for share in sort_shares(languages.items())],
        hours=hours,
        devices=[Share(*share) for share in sort_shares(devices.items())],
        total_ms=sum(day.ms for day in told),
        agent_ms=sum(day.agent_ms for day in told),
    )


def sort_shares(shares: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The largest first, equal ones by name."""
    return sorted(shares, key=lambda share: (-share[1], share[0]))


__all__ = ["DayTotals", "Share", "StoredDay", "Totals", "read_days", "read_totals", "refresh_stale_days"]
