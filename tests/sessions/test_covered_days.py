"""The judgement of one day, without a database."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from collector import wire
from webapp.features.sessions.covered_days import (
    Circumstances,
    DayHere,
    DayThere,
    Verdict,
    judge,
    next_refill,
)

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
TODAY, DAY, SINCE = date(2026, 3, 10), date(2026, 3, 8), date(2026, 3, 3)
FOUND = Circumstances(NOW, TODAY, SINCE)
SESSIONS = [("a", 5, 100), ("b", 7, 200), ("c", 9, 300)]


def there(count: int = 3, **changes: int) -> DayThere:
    """The collector has the first `count` sessions."""
    return DayThere(count, wire.digest_sessions(SESSIONS[:count]), **changes)


def here(held: int = 3, quarantined: int = 0, kept: int = 0) -> DayHere:
    """The hub holds the first `held`, and the next `quarantined` came and are aside."""
    return DayHere(held, quarantined, kept, wire.sum_digests(SESSIONS[: held + quarantined]))


def before(**facts: object) -> Circumstances:
    """The day had a row with these facts."""
    return replace(FOUND, before={DAY: Verdict(DAY, **facts)})  # type: ignore[arg-type]


def test_equal_count_and_digest_prove_the_day() -> None:
    assert judge(DAY, there(ran_seconds=60), here(), FOUND) == Verdict(DAY, "complete", 3, 3, 0, 0, 60)


def test_what_is_in_quarantine_came_so_the_day_is_whole() -> None:
    assert judge(DAY, there(), here(2, 1), FOUND) == Verdict(DAY, "complete", 3, 2, 1)


def test_a_missing_session_is_a_hole_to_be_filled_at_once() -> None:
    verdict = judge(DAY, there(), here(2), FOUND)
    assert verdict is not None
    assert (verdict.status, verdict.reason) == ("hole", "2 of 3 sessions are here.")
    assert (verdict.hole_since_at, verdict.refill_due_at, verdict.refills) == (NOW, NOW, 0)


def test_an_older_version_is_a_hole_too() -> None:
    old = DayHere(held=3, sum=wire.sum_digests([*SESSIONS[:2], ("c", 8, 300)]))
    verdict = judge(DAY, there(), old, FOUND)
    assert verdict is not None
    assert (verdict.status, verdict.reason) == (
        "hole",
        "All 3 sessions are here, but not all as the machine has them now.",
    )


def test_the_reason_names_what_does_not_say_when_it_began() -> None:
    verdict = judge(DAY, there(), here(2), replace(FOUND, unread=1))
    assert verdict is not None and verdict.reason is not None
    assert "1 that could not be accepted do not say when they began" in verdict.reason


def test_what_is_still_to_come_is_a_hole_that_needs_no_refill() -> None:
    verdict = judge(DAY, there(pending=2), here(1), FOUND, is_last=False)
    assert verdict is not None
    assert (verdict.status, verdict.reason) == ("hole", "2 sessions are still on the machine.")
    assert verdict.refill_due_at is None
    one = judge(DAY, there(pending=1), here(2), FOUND, is_last=False)
    assert one is not None and one.reason == "1 session is still on the machine."


def test_before_the_last_page_nothing_else_is_said() -> None:
    assert judge(DAY, there(), here(1), FOUND, is_last=False) is None
    assert judge(DAY, there(0), here(0), FOUND, is_last=False) is None


def test_a_day_that_changed_again_is_left_to_the_next_pull() -> None:
    assert judge(DAY, there(pending=1), here(2), FOUND) is None


@pytest.mark.parametrize(
    ("day", "status"),
    [
        (DAY, "off"),
        (TODAY, "complete"),
        (SINCE, None),
        (SINCE - timedelta(days=1), None),
        (SINCE + timedelta(days=1), "off"),
    ],
)
def test_an_empty_day_is_off_only_when_it_is_over_and_the_collector_can_know(day: date, status: str | None) -> None:
    verdict = judge(day, there(0), DayHere(), FOUND)
    assert (verdict.status if verdict else None) == status


def test_a_day_on_which_it_ran_and_saw_nothing_is_complete() -> None:
    assert judge(DAY, there(0, ran_seconds=10), DayHere(), FOUND) == Verdict(DAY, "complete", ran_seconds=10)


def test_what_a_new_database_does_not_remember_stays_proven_and_is_kept() -> None:
    verdict = judge(DAY, there(0), here(0, kept=3), before(status="complete", sessions=3, held=3))
    assert verdict == Verdict(DAY, "complete", 3, 3, kept=3)
    never_proven = judge(DAY, there(0), here(0, kept=3), FOUND)
    assert never_proven == Verdict(DAY, "complete", kept=3)


def test_what_the_collector_forgot_without_a_word_is_only_here() -> None:
    assert judge(DAY, there(0, ran_seconds=1), here(3), FOUND) == Verdict(DAY, "complete", kept=3, ran_seconds=1)


def test_a_day_whose_sessions_were_all_deleted_is_complete_and_empty() -> None:
    verdict = judge(DAY, there(0), DayHere(), before(status="complete", sessions=3, held=3))
    assert verdict == Verdict(DAY, "complete")


def test_a_hole_that_stays_keeps_its_age_and_its_tries() -> None:
    old = NOW - timedelta(hours=3)
    due = NOW + timedelta(minutes=20)
    known = before(status="hole", hole_since_at=old, refills=2, refill_due_at=due)
    verdict = judge(DAY, there(), here(2), known)
    assert verdict is not None
    assert (verdict.hole_since_at, verdict.refills, verdict.refill_due_at) == (old, 2, due)
    healed = judge(DAY, there(), here(), known)
    assert healed is not None and (healed.hole_since_at, healed.refills, healed.refill_due_at) == (None, 0, None)


def test_a_hole_of_a_broken_pull_that_stays_after_a_whole_one_is_refilled() -> None:
    known = before(status="hole", hole_since_at=NOW - timedelta(hours=1))
    verdict = judge(DAY, there(), here(2), known)
    assert verdict is not None and verdict.refill_due_at == NOW


def test_tries_come_at_once_then_ever_later() -> None:
    pauses = [next_refill(tries, NOW) - NOW for tries in range(6)]
    minutes = [pause.total_seconds() / 60 for pause in pauses]
    assert minutes == [0, 5, 30, 360, 1440, 1440]
