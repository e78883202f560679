"""What is proven of the sample's machines: studio has two holes, thinkpad sleeps, build-box broke off in a pull."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.pages import story
from webapp.features.sessions.models import CoverageState, CoveredDay, PullState, StoredSession
from webapp.lib.local_days import day_of

KNOWN_DAYS = {story.STUDIO.id: 84, story.THINKPAD.id: 84, story.BUILDBOX.id: 33}
CHECKED = {
    story.STUDIO.id: timedelta(seconds=40),
    story.THINKPAD.id: timedelta(hours=19),
    story.BUILDBOX.id: timedelta(minutes=52),
}


def add_coverage(session: Session, now: datetime) -> None:
    """The ledger of every machine, in the caller's transaction."""
    session.flush()
    for machine in story.MACHINES:
        checked_at = now - CHECKED[machine.id]
        rows = list(tell_days(session, machine.id, now, checked_at))
        holes = [row for row in rows if row.status == "hole"]
        session.add_all(rows)
        session.add(
            CoverageState(
                device_id=machine.id,
                zone=story.ZONE.key,
                since_at=now - timedelta(days=KNOWN_DAYS[machine.id]),
                checked_at=checked_at,
                checked_all_at=checked_at,
                hole_from=min((row.day for row in holes), default=None),
            )
        )
    session.get_one(PullState, story.BUILDBOX.id).is_behind = True


def tell_days(session: Session, device_id: str, now: datetime, checked_at: datetime) -> Iterator[CoveredDay]:
    """Day after day up to the check: those with sessions are proven, most Sundays the machine was off."""
    starts = session.scalars(select(StoredSession.started_ms).where(StoredSession.device_id == device_id)).all()
    days = [day_of(started_ms, story.ZONE) for started_ms in starts]
    today, last = (moment.astimezone(story.ZONE).date() for moment in (now, checked_at))
    for back in range(KNOWN_DAYS[device_id] - 1, (today - last).days - 1, -1):
        day = today - timedelta(days=back)
        count = days.count(day) or (7 + day.day % 5 if back >= story.DAYS and day.weekday() < 5 else 0)
        is_off = count == 0 and day.weekday() >= 5
        row = CoveredDay(
            device_id=device_id,
            day=day,
            status="off" if is_off else "complete",
            sessions=count,
            held=count,
            ran_seconds=0 if is_off else 3600 * (8 + day.day % 4) + 900,
            checked_at=checked_at,
        )
        change(row, device_id, back, now)
        yield row


def change(row: CoveredDay, device_id: str, back: int, now: datetime) -> None:
    """The days on which something happened."""
    if device_id == story.STUDIO.id and back in (9, 23):
        make_hole(row, now - timedelta(hours=3), f"{row.sessions} of {row.sessions + back - 7} sessions are here.")
        row.sessions += back - 7
        row.refills, row.refill_due_at = 2, now + timedelta(minutes=18)
    if device_id == story.STUDIO.id and back == 14:
        row.quarantined, row.held = 1, row.sessions - 1
    if device_id == story.STUDIO.id and back in (40, 41):
        row.kept = 3
    if device_id == story.THINKPAD.id and back == 2:
        row.status, row.quarantined, row.sessions = "complete", 1, row.sessions + 1
    if device_id == story.BUILDBOX.id and back == 0:
        make_hole(row, now - timedelta(minutes=52), "12 sessions are still on the machine.")
        row.sessions = row.held + 12


def make_hole(row: CoveredDay, since_at: datetime, reason: str) -> None:
    """Something of the day is missing."""
    row.status, row.reason, row.hole_since_at = "hole", reason, since_at
