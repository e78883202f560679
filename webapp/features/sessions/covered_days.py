"""What can be said of one local day of one device: the collector's count and digest against what is here. Pure.

Nothing is concluded from a day of which the collector knows nothing (before its database was made), and nothing that
was proven is taken back because a newer database does not remember it.
"""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

REFILL_PAUSES = (timedelta(0), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=6))
LATER_PAUSE = timedelta(days=1)


@dataclass(frozen=True)
class DayThere:
    """What the collector said of a day; all zero for one that it left out."""

    sessions: int = 0
    digest: str = "0" * 32
    pending: int = 0
    ran_seconds: int = 0


@dataclass
class DayHere:
    """What the hub has of a day: `held` sessions of the collector's present database, `kept` of earlier ones.

    `quarantined` came and could not be accepted. `sum` adds up the digests of held and quarantined.
    """

    held: int = 0
    quarantined: int = 0
    kept: int = 0
    sum: int = 0

    @property
    def digest(self) -> str:
        """As the collector writes it."""
        return f"{self.sum:032x}"


@dataclass(frozen=True)
class Verdict:
    """One row of the ledger, as `CoveredDay` has it. Only a hole that refilling can close has a `refill_due_at`."""

    day: date
    status: str
    sessions: int = 0
    held: int = 0
    quarantined: int = 0
    kept: int = 0
    ran_seconds: int = 0
    reason: str | None = None
    hole_since_at: datetime | None = None
    refills: int = 0
    refill_due_at: datetime | None = None


@dataclass(frozen=True)
class Circumstances:
    """What holds for all days of one check. `unread` sessions of the device are aside and do not say on which day."""

    now: datetime
    today: date
    since: date
    unread: int = 0
    before: dict[date, Verdict] = field(default_factory=dict)


def judge(day: date, there: DayThere, here: DayHere, found: Circumstances, *, is_last: bool = True) -> Verdict | None:
    """What to write of `day`; None to leave it as it is. `is_last`: everything that the pull could bring is here.

    Before the last page only what is still on the machine can be told. After it, a day with something still pending has
    just changed again: the next pull will tell.
    """
    if there.pending:
        return None if is_last else _expect(day, there, here, found)
    if not is_last:
        return None
    if there.sessions == 0:
        return _judge_empty(day, there, here, found)
    if there.sessions == here.held + here.quarantined and there.digest == here.digest:
        return _prove(day, there, here)
    return _miss(day, there, here, found)


def next_refill(refills: int, now: datetime) -> datetime:
    """When to try to refill a hole again that was tried so often."""
    return now + (REFILL_PAUSES[refills] if refills < len(REFILL_PAUSES) else LATER_PAUSE)


def _judge_empty(day: date, there: DayThere, here: DayHere, found: Circumstances) -> Verdict | None:
    """The collector has no session of this day: nothing can be missing, but was the machine on, and who says so?"""
    everything = keep_all(here)
    if there.ran_seconds or day == found.today:
        return _prove(day, there, everything)
    known = found.before.get(day)
    was_used = known is not None and known.status == "complete" and bool(known.sessions or known.ran_seconds)
    if known is not None and was_used:
        return _remember(known, everything)
    if everything.kept:
        return _prove(day, there, everything)
    if found.since < day < found.today:
        return Verdict(day, "off", quarantined=here.quarantined)
    return None


def _remember(known: Verdict, here: DayHere) -> Verdict:
    """A day that was proven with an earlier database stays so; what was deleted since is taken off."""
    if known.sessions and here.kept:
        return replace(known, kept=here.kept)
    return replace(known, sessions=0, held=0, kept=here.kept)


def keep_all(here: DayHere) -> DayHere:
    """The same day when the collector has nothing of it any more: all that is here is only here."""
    return DayHere(held=0, quarantined=here.quarantined, kept=here.kept + here.held)


def _prove(day: date, there: DayThere, here: DayHere) -> Verdict:
    return Verdict(day, "complete", there.sessions, here.held, here.quarantined, here.kept, there.ran_seconds)


def _expect(day: date, there: DayThere, here: DayHere, found: Circumstances) -> Verdict:
    """A hole that the pull on its way, or the next one, fills."""
    text = f"{there.pending} session is" if there.pending == 1 else f"{there.pending} sessions are"
    return _hole(day, there, here, found, f"{text} still on the machine.")


def _miss(day: date, there: DayThere, here: DayHere, found: Circumstances) -> Verdict:
    """A hole that a pull would not fill by itself: the cursor is past it."""
    known = found.before.get(day)
    is_same = known is not None and known.status == "hole" and known.refill_due_at is not None
    made = _hole(day, there, here, found, _explain(there, here, found.unread))
    if known is not None and is_same:
        return replace(made, refills=known.refills, refill_due_at=known.refill_due_at)
    return replace(made, refill_due_at=next_refill(0, found.now))


def _hole(day: date, there: DayThere, here: DayHere, found: Circumstances, reason: str) -> Verdict:
    known = found.before.get(day)
    since_at = known.hole_since_at if known is not None and known.status == "hole" else None
    counts = (there.sessions, here.held, here.quarantined, here.kept, there.ran_seconds)
    return Verdict(day, "hole", *counts, reason=reason, hole_since_at=since_at or found.now)


def _explain(there: DayThere, here: DayHere, unread: int) -> str:
    count = here.held + here.quarantined
    if count < there.sessions:
        said = f"{here.held} of {there.sessions} sessions are here"
    elif count > there.sessions:
        said = f"{here.held} sessions are here, and the machine has {there.sessions} of that day"
    else:
        said = f"All {there.sessions} sessions are here, but not all as the machine has them now"
    if here.quarantined:
        said += f"; {here.quarantined} of that day came and could not be accepted"
    if unread and count < there.sessions:
        said += f"; {unread} that could not be accepted do not say when they began"
    return f"{said}."
