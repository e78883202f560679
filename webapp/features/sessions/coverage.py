"""What is shown of the coverage ledger: its rows, and what follows for the days that have none or are not over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import String, and_, bindparam, case, cast, func, select

from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.sessions.models import CoverageState, CoveredDay, PullState
from webapp.lib import clock
from webapp.lib.local_days import list_days, read_zone

STATUSES = ("complete", "off", "hole", "waiting", "unknown")
LETTERS = {status[0]: status for status in ("complete", "off", "hole")}


MINE = and_(CoveredDay.device_id == CoverageState.device_id, CoveredDay.day >= bindparam("since"))
IS_MARKED = case((CoveredDay.quarantined > 0, "!"), else_="")
TOLD = func.aggregate_strings(cast(CoveredDay.day, String) + func.substr(CoveredDay.status, 1, 1) + IS_MARKED, ",")
STATE = (CoverageState.device_id, CoverageState.zone, CoverageState.checked_at)
STRIPS = (
    select(*STATE, TOLD)
    .join(Device, Device.id == CoverageState.device_id)
    .outerjoin(CoveredDay, MINE)
    .where(Device.account_id == bindparam("of_account"))
    .group_by(CoverageState.device_id)
)
"""One row for each device; `read_marks` reads its days."""


class Mark(NamedTuple):
    """One day of a small strip: its status, and whether something of it waits in quarantine."""

    day: date
    status: str
    has_quarantined: bool


class ShownDay(NamedTuple):
    """One day as pages and the API tell it. `status` is one of STATUSES: `waiting` has not been compared since it was
    over, `unknown` lies before all that is known. `next_try_at` is there for a hole."""

    day: date
    status: str
    sessions: int = 0
    held: int = 0
    quarantined: int = 0
    kept: int = 0
    ran_seconds: int = 0
    reason: str | None = None
    next_try_at: datetime | None = None
    checked_at: datetime | None = None
    hole_since_at: datetime | None = None


@dataclass(frozen=True)
class DeviceCoverage:
    """The ledger of one device. `proven_since` begins the last run of days without a gap in what is known.

    `problem` is `unsupported`, or `plain` for a collector that does not even have a cursor, else a failed check's word.
    """

    zone: str
    since_at: datetime | None
    checked_at: datetime | None
    problem: str | None
    detail: str | None
    days: Sequence[ShownDay]
    holes: Sequence[ShownDay]
    proven_since: date | None


@dataclass(frozen=True)
class Standing:
    """Where the pull and the checks of one device stand."""

    zone: str
    since_at: datetime | None = None
    checked_at: datetime | None = None
    problem: str | None = None
    detail: str | None = None
    last_pulled_at: datetime | None = None
    pull_problem: str | None = None
    pull_detail: str | None = None
    due_at: datetime | None = None
    cursor: str | None = None

    @property
    def checked(self) -> date | None:
        """The local day of the last check."""
        return self.checked_at.astimezone(read_zone(self.zone)).date() if self.checked_at is not None else None


def read_coverage(account_id: int, days: int) -> dict[str, Sequence[Mark]]:
    """The last `days` days up to today of every device whose collector can be asked, oldest first.

    One query, of one row for each device: it is part of the first page and of every poll of it.
    """
    now = clock.utc_now()
    found = db.session.execute(STRIPS, {"of_account": account_id, "since": now.date() - timedelta(days=days + 1)})
    return {
        device_id: read_marks(text or "", Standing(zone, None, checked_at).checked, day_in(zone, now), days)
        for device_id, zone, checked_at, text in found
        if text or checked_at is not None
    }


@lru_cache(maxsize=4096)
def read_marks(text: str, checked: date | None, today: date, days: int) -> Sequence[Mark]:
    """The last `days` days from `2026-03-09c,2026-03-10h!`: each written day, its status, and its quarantine."""
    rows = {part[:10]: part[10:] for part in text.split(",")}
    marks = []
    for day in list_days(today - timedelta(days=days - 1), today):
        told = rows.get(day.isoformat(), "")
        marks.append(Mark(day, derive_status(LETTERS.get(told[:1]), day, checked, today), told.endswith("!")))
    return tuple(marks)


def day_in(zone: str, now: datetime) -> date:
    """The day that it is there."""
    return now.astimezone(read_zone(zone)).date()


def read_device_coverage(account_id: int, device_id: str, first: date, last: date) -> DeviceCoverage:
    """The days from `first` to `last` of one of the account's devices, and every open hole. NotFound."""
    device = devices.get_device(account_id, device_id)
    standing = read_standing(device)
    rows = {row.day: row for row in _read_rows(device_id, first, last)}
    today = day_in(standing.zone, clock.utc_now())
    open_holes = select(CoveredDay).where(CoveredDay.device_id == device_id, CoveredDay.status == "hole")
    return DeviceCoverage(
        zone=standing.zone,
        since_at=standing.since_at,
        checked_at=standing.checked_at,
        problem=standing.problem,
        detail=standing.detail,
        days=[tell_day(day, rows.get(day), standing, today) for day in list_days(first, last)],
        holes=[
            tell_day(row.day, row, standing, today)
            for row in db.session.scalars(open_holes.order_by(CoveredDay.day.desc()))
        ],
        proven_since=find_run(device_id),
    )


def read_standing(device: Device) -> Standing:
    """Where the device stands; a plain collector, that was pulled and has no cursor, has the problem `plain`."""
    checks = [CoverageState.zone, CoverageState.since_at, CoverageState.checked_at]
    problems = [CoverageState.problem, CoverageState.detail]
    pulls = [getattr(PullState, name) for name in ("last_pulled_at", "problem", "problem_detail", "due_at", "cursor")]
    joined = select(Account.timezone, *checks, *problems, *pulls).select_from(Device)
    joined = joined.join(Account, Account.id == Device.account_id)
    joined = joined.outerjoin(CoverageState, CoverageState.device_id == Device.id)
    joined = joined.outerjoin(PullState, PullState.device_id == Device.id)
    zone, checked_in, *facts = list[Any](db.session.execute(joined.where(Device.id == device.id)).one())
    known = Standing(checked_in or zone, *facts)
    is_plain = known.cursor is None and known.last_pulled_at is not None and known.problem is None
    return replace(known, problem="plain") if is_plain else known


def tell_day(day: date, row: CoveredDay | None, standing: Standing, today: date) -> ShownDay:
    """One day, from its row and from how long ago anybody compared it."""
    status = derive_status(row.status if row is not None else None, day, standing.checked, today)
    if row is None:
        return ShownDay(day, status, reason=_say_why_waiting(standing) if status == "waiting" else None)
    counts = (row.sessions, row.held, row.quarantined, row.kept, row.ran_seconds)
    reason, next_try_at = row.reason, None
    if status == "waiting":
        reason = _say_why_waiting(standing)
    elif status == "hole":
        reason, next_try_at = _explain_hole(row, standing)
    return ShownDay(day, status, *counts, reason, next_try_at, row.checked_at, row.hole_since_at)


def derive_status(written: str | None, day: date, checked: date | None, today: date) -> str:
    """What a day is shown as. A day that was compared only before it was over is not proven as a whole."""
    if written == "hole":
        return "hole"
    if checked is None:
        return written or ("waiting" if day == today else "unknown")
    if checked < day <= today or (day == checked and day < today):
        return "waiting"
    return written or "unknown"


def find_run(device_id: str) -> date | None:
    """The first day of the last run of days of which each has a row."""
    days = db.session.scalars(
        select(CoveredDay.day).where(CoveredDay.device_id == device_id).order_by(CoveredDay.day.desc())
    )
    first: date | None = None
    for day in days:
        if first is not None and first - day > timedelta(days=1):
            break
        first = day
    return first


def count_statuses(days: Sequence[Mark] | Sequence[ShownDay]) -> dict[str, int]:
    """How many days of each status."""
    found = [day.status for day in days]
    return {status: found.count(status) for status in STATUSES}


@dataclass(frozen=True)
class Summary:
    """All machines together: of `days` days of which anything is known, so many are `proven` on each of them."""

    days: int
    proven: int
    holes: Mapping[str, int]


def sum_up(strips: Mapping[str, Sequence[Mark]]) -> Summary | None:
    """The strips in one line; None when there is nothing to tell. A day of which a machine is known to have been
    without a collector counts for the others."""
    statuses: dict[date, set[str]] = {}
    for strip in strips.values():
        for mark in strip:
            if mark.status != "unknown":
                statuses.setdefault(mark.day, set()).add(mark.status)
    if not statuses:
        return None
    holes = {key: sum(mark.status == "hole" for mark in strip) for key, strip in strips.items()}
    proven = sum(found <= {"complete", "off"} for found in statuses.values())
    return Summary(len(statuses), proven, {key: count for key, count in holes.items() if count})


def _read_rows(device_id: str, first: date, last: date) -> Sequence[CoveredDay]:
    wanted = select(CoveredDay).where(CoveredDay.device_id == device_id, CoveredDay.day.between(first, last))
    return db.session.scalars(wanted).all()


def _say_why_waiting(standing: Standing) -> str:
    if standing.pull_problem is None or standing.last_pulled_at is None:
        return "It is compared with the next pull."
    heard = standing.last_pulled_at.astimezone(read_zone(standing.zone))
    return f"Not heard of since {heard.day} {heard:%B}, {heard:%H:%M}. It is compared as soon as it is back."


def _explain_hole(row: CoveredDay, standing: Standing) -> tuple[str | None, datetime | None]:
    """The reason and the next try, by the pull that broke off or by a refill."""
    if row.refill_due_at is None:
        broke = f" The pull broke off: {standing.pull_detail or 'it failed.'}" if standing.pull_problem else ""
        return f"{row.reason or ''}{broke}", standing.due_at
    if standing.pull_problem is None or standing.due_at is None:
        return row.reason, row.refill_due_at
    return row.reason, max(row.refill_due_at, standing.due_at)
