"""What the answer of a collector makes of the coverage ledger: each day compared, judged and written.

The thread of a pull asks (`check_plans`, which never touches the database). After all pages that came before the answer
the one writer compares (`weigh`), while no transaction keeps others waiting: what it reads changes only under the lease
of that pull. Then it writes (`record_check`). A check that fails never fails the pull.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from collector import wire
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.sessions import day_contents
from webapp.features.sessions.check_plans import FIRST_DAY
from webapp.features.sessions.covered_days import Circumstances, DayHere, DayThere, Verdict, judge
from webapp.features.sessions.models import CoverageState, CoveredDay, PullState
from webapp.features.sessions.upserting import insert_into
from webapp.lib import clock
from webapp.lib.local_days import list_days, read_zone

AFTER_FAILURE, LONGEST_PAUSE = timedelta(minutes=5), timedelta(hours=6)
UNSUPPORTED_EVERY = timedelta(days=1)
LONGEST_LEDGER = timedelta(days=3660)
"""So far back at most are days called off: a clock that was never set would make them from 1970."""
MOST = 2**31 - 1
LONGEST_DAY_SECONDS = 30 * 3600


@dataclass(frozen=True)
class Check:
    """One answer, read: the days from `first` to `last` in `zone`, and the day `since` in which the database was made.

    `is_last`: it was asked after the last page of its pull. `has_gone_back`: the database is no longer the one that the
    pages came from.
    """

    zone: ZoneInfo
    first: date
    last: date
    since_at: datetime
    since: date
    is_last: bool
    has_gone_back: bool
    days: dict[date, DayThere] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why days could not be compared: a word, and a sentence for people."""

    problem: str
    detail: str


@dataclass(frozen=True)
class Findings:
    """What an answer proves of each day."""

    check: Check
    verdicts: Collection[Verdict]


def weigh(
    device_id: str, request: wire.CoverageRequest, answer: wire.CoverageAnswer, *, is_last: bool
) -> Findings | Failure:
    """Compares the days of the answer with what is here. After the first page of a long pull (`is_last` False) it names
    only what is still to come."""
    try:
        check = read_check(request, answer, is_last=is_last)
    except (ValueError, OverflowError) as error:
        return Failure("bad_answer", f"What its collector says of its days cannot be understood ({error}).")
    return Findings(check, [] if check.has_gone_back else judge_days(db.session(), device_id, check))


def record_check(session: Session, device_id: str, found: Findings) -> None:
    """Writes what was found of each day, in the writer's transaction."""
    check = found.check
    if check.has_gone_back:  # the next pull begins again, and then asks again
        _write_state(session, device_id, {"zone": check.zone.key, **_due_now(FIRST_DAY)})
        return
    write_days(session, device_id, found.verdicts)
    _write_outcome(session, device_id, check)


def record_check_failure(session: Session, device_id: str, failure: Failure) -> None:
    """Notes that the days could not be compared, in the writer's transaction; asks again ever later."""
    known = select(CoverageState.failures).where(CoverageState.device_id == device_id)
    failures = session.scalar(known) or 0
    pause = min(LONGEST_PAUSE, AFTER_FAILURE * 2 ** min(failures, 10))
    if failure.problem == "unsupported":
        pause = UNSUPPORTED_EVERY
    facts = {"problem": failure.problem, "detail": failure.detail[:500], "due_at": clock.utc_now() + pause}
    _write_state(session, device_id, facts | {"failures": failures + 1})


def compare_all_again(session: Session, device_id: str) -> None:
    """Has every day compared at the end of the next pull, in the caller's transaction."""
    known = update(CoverageState).where(CoverageState.device_id == device_id)
    session.execute(known.values(due_at=clock.utc_now(), due_from=None))


def read_check(request: wire.CoverageRequest, answer: wire.CoverageAnswer, *, is_last: bool) -> Check:
    """The answer as days. ValueError or OverflowError for one that no collector can mean."""
    first, last = date.fromisoformat(request.first), date.fromisoformat(request.last)
    zone, since_at = read_zone(request.timezone), wire.EPOCH + timedelta(milliseconds=wire.parse_ms(answer.since))
    days: dict[date, DayThere] = {}
    for told in answer.days:
        day = date.fromisoformat(told.day)
        if max(told.sessions, told.pending) > MOST:
            raise ValueError(f"{told.day} has more sessions than there can be")
        if first <= day <= last:
            ran_seconds = min(told.ran_seconds, LONGEST_DAY_SECONDS)
            days[day] = DayThere(told.sessions, told.digest, told.pending, ran_seconds)
    since = since_at.astimezone(zone).date()
    return Check(zone, first, last, since_at, since, is_last, answer.reset, days)


def judge_days(session: Session, device_id: str, check: Check) -> list[Verdict]:
    """What is to be written of each day of the check."""
    pending = [day for day, there in check.days.items() if there.pending]
    is_last = check.is_last
    if not is_last and not pending:
        return []
    first, last = (check.first, check.last) if is_last else (min(pending), max(pending))
    here = day_contents.read_contents(session, device_id, first, last, check.zone)
    now = clock.utc_now()
    found = Circumstances(
        now=now,
        today=now.astimezone(check.zone).date(),
        since=check.since,
        unread=day_contents.count_unread(session, device_id) if is_last else 0,
        before=day_contents.read_ledger(session, device_id, first, last),
    )
    days = {*check.days, *here, *found.before} if is_last else set(pending)
    if is_last:
        oldest = max(first, found.since, found.today - LONGEST_LEDGER)
        days.update(list_days(oldest, last))
    nothing, unknown = DayHere(), DayThere()
    judged = (
        judge(day, check.days.get(day, unknown), here.get(day, nothing), found, is_last=is_last)
        for day in sorted(days)
        if first <= day <= last
    )
    return [verdict for verdict in judged if verdict is not None]


def write_days(session: Session, device_id: str, verdicts: Collection[Verdict]) -> None:
    """The ledger's rows, new or in place of what stood there."""
    if not verdicts:
        return
    now = clock.utc_now()
    rows = [{"device_id": device_id, "checked_at": now, **vars(verdict)} for verdict in verdicts]
    insert = insert_into(session, CoveredDay)
    changed = {name: insert.excluded[name] for name in rows[0] if name not in ("device_id", "day")}
    session.connection().execute(insert.on_conflict_do_update(index_elements=["device_id", "day"], set_=changed), rows)


def _write_outcome(session: Session, device_id: str, check: Check) -> None:
    """Where the proof of the device stands after a check. What is pending is asked for again with the next pull."""
    now = clock.utc_now()
    pending = min((day for day, there in check.days.items() if there.pending), default=None)
    facts: dict[str, Any] = {"zone": check.zone.key, "since_at": check.since_at}
    facts |= {"problem": None, "detail": None, "failures": 0}
    if check.is_last:
        reached = select(PullState.reached_ms).where(PullState.device_id == device_id)
        facts |= {"checked_at": now, "reached_ms": session.scalar(reached)}
        if check.first == FIRST_DAY:
            facts["checked_all_at"] = now
    facts |= _due_now(pending) if pending is not None else {"due_at": None, "due_from": None}
    _write_state(session, device_id, facts | find_holes(session, device_id))


def find_holes(session: Session, device_id: str) -> dict[str, Any]:
    """`hole_from` and `refill_due_at` of the device's state, as its days have them now."""
    holes = select(func.min(CoveredDay.day), func.min(CoveredDay.refill_due_at))
    row = session.execute(holes.where(CoveredDay.device_id == device_id, CoveredDay.status == "hole")).one()
    return {"hole_from": row[0], "refill_due_at": row[1]}


def _due_now(first: date) -> dict[str, Any]:
    return {"due_at": clock.utc_now(), "due_from": first}


def _write_state(session: Session, device_id: str, facts: dict[str, Any]) -> None:
    """Changes the device's state, or begins it. A device that was deleted meanwhile has none."""
    known = update(CoverageState).where(CoverageState.device_id == device_id)
    if session.connection().execute(known.values(facts)).rowcount:
        return
    zone = select(Account.timezone).join(Device, Device.account_id == Account.id).where(Device.id == device_id)
    name = session.scalar(zone)
    if name is not None:
        insert = insert_into(session, CoverageState).on_conflict_do_nothing()
        session.connection().execute(insert, {"device_id": device_id, "zone": name, **facts})
