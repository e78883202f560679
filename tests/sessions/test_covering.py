"""The coverage ledger through real pulls of real collectors: what is asked when, and what becomes of the answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from collector import wire
from tests.collectors import PlainCollector, make_session
from tests.sessions.conftest import Pair, pull
from tests.sessions.covered import (
    NOW,
    Machine,
    SetClock,
    at,
    back,
    check_everything,
    clock_setter,
    ledger,
    read_state,
    statuses,
)
from webapp.adapters.collector_client import CollectorClient
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.sessions import day_contents
from webapp.features.sessions import service as sessions
from webapp.features.sessions.covered_days import DayHere
from webapp.features.sessions.models import CoverageState, QuarantinedSession, StoredSession


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The hub's clock stands at noon; `noon(moment)` moves it."""
    return clock_setter(monkeypatch)


@contextmanager
def counting(*tables: str) -> Iterator[list[str]]:
    """The statements that name one of `tables`."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if any(table in statement for table in tables):
            seen.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


def test_first_pull_proves_every_day(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(400, 2)
        machine.work(4, 3)
        machine.work(1, 2)
        assert pull(client, device_id)[0].problem is None
        assert statuses(device_id) == {
            back(400): "complete",
            back(5): "complete", back(4): "complete", back(3): "complete", back(2): "off", back(1): "complete",
            back(0): "complete",
        }  # fmt: skip
        row = ledger(device_id)[back(4)]
        assert (row.sessions, row.held, row.kept, row.ran_seconds, row.checked_at) == (3, 3, 0, 28_800, NOW)
        assert machine.questions()[0]["first"] == "1970-01-01"
        state = read_state(device_id)
        assert (state.checked_at, state.checked_all_at, state.problem) == (NOW, NOW, None)
        assert state.since_at == wire.EPOCH + timedelta(milliseconds=at(5))


def test_a_pull_that_brings_nothing_costs_one_statement_for_the_batch(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine, Machine() as other:
        ids = [pair(machine), pair(other)]
        machine.work(1, 2)
        pull(client, *ids)
        asked = len(machine.questions())
        with counting("coverage_states", "covered_days") as statements:
            pull(client, *ids)
        assert len(machine.questions()) == asked
        assert len(statements) == 1, statements


def test_days_that_were_proven_are_compared_again_when_they_change(
    pair: Pair, client: CollectorClient, noon: SetClock
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(3, 1)
        pull(client, device_id)
        machine.work(0, 1)
        noon(NOW + timedelta(minutes=1))
        pull(client, device_id)
        assert len(machine.questions()) == 1, "today may wait for five minutes"
        noon(NOW + timedelta(minutes=6))
        pull(client, device_id)
        assert machine.questions()[-1] | {"cursor": ""} == {
            "timezone": "UTC", "first": back(1), "last": back(0), "cursor": "",
        }  # fmt: skip
        assert len(machine.questions()) == 2
        machine.work(3, 1, first=1)
        noon(NOW + timedelta(minutes=7))
        pull(client, device_id)
        assert machine.questions()[-1]["first"] == back(3), "an old day is compared at once"
        assert ledger(device_id)[back(3)].sessions == 2


def test_a_new_day_is_compared_from_the_day_of_the_last_check(
    pair: Pair, client: CollectorClient, noon: SetClock
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1)
        noon(NOW - timedelta(days=2))
        pull(client, device_id)
        with transaction() as session:
            session.get_one(CoverageState, device_id).checked_all_at = NOW
        noon(NOW)
        pull(client, device_id)
        assert machine.questions()[-1]["first"] == back(2)
        assert statuses(device_id)[back(2)] == "off"


def test_everything_is_compared_once_a_day_and_in_a_new_zone(
    pair: Pair, client: CollectorClient, noon: SetClock, owner: Account
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1)
        pull(client, device_id)
        noon(NOW + timedelta(hours=25))
        pull(client, device_id)
        with transaction() as session:
            session.get_one(Account, owner.id).timezone = "Asia/Tokyo"
        pull(client, device_id)
        asked = [(one["first"], one["timezone"]) for one in machine.questions()]
        assert asked == [("1970-01-01", "UTC")] * 2 + [("1970-01-01", "Asia/Tokyo")]
        assert read_state(device_id).zone == "Asia/Tokyo"


def test_a_pull_that_breaks_off_leaves_holes_with_a_name_and_the_next_one_closes_them(
    pair: Pair, client: CollectorClient
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.most_per_page = 3
        machine.work(4, 2)
        machine.work(3, 4)
        machine.work(1, 2)
        # After health and the first page: the check goes through, then the line is dead.
        machine.break_after = 1
        assert pull(client, device_id)[0].problem is not None
        holes = {day: row for day, row in ledger(device_id).items() if row.status == "hole"}
        assert {day: row.reason for day, row in holes.items()} == {
            back(3): "3 sessions are still on the machine.",
            back(1): "2 sessions are still on the machine.",
        }
        assert all(row.refill_due_at is None for row in holes.values())
        assert read_state(device_id).hole_from == date.fromisoformat(back(3))
        machine.break_after = None
        assert pull(client, device_id)[0].problem is None
        assert set(statuses(device_id).values()) == {"complete", "off"}
        assert read_state(device_id).hole_from is None


def test_a_corrupt_record_leaves_its_day_proven_with_a_mark(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 2)
        machine.work(1, 1, first=2, totalDuration=-5)
        pull(client, device_id)
        row = ledger(device_id)[back(1)]
        assert (row.status, row.sessions, row.held, row.quarantined) == ("complete", 3, 2, 1)


def test_a_record_that_does_not_say_when_it_began_is_a_hole_that_names_it(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 2)
        machine.work(1, 1, first=2, totalDuration=-5)
        pull(client, device_id)
        with transaction() as session:
            session.query(QuarantinedSession).update({"started_ms": None})
        check_everything(client, machine, device_id)
        row = ledger(device_id)[back(1)]
        assert (row.status, row.held, row.sessions) == ("hole", 2, 3)
        assert row.reason is not None and "do not say when they began" in row.reason


def test_what_got_lost_here_is_found_and_is_to_be_refilled(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        sessions = machine.work(3, 3)
        machine.work(4, 1)
        pull(client, device_id)
        with transaction() as session:
            session.delete(session.get_one(StoredSession, (device_id, sessions[0]["id"])))
        check_everything(client, machine, device_id)
        row = ledger(device_id)[back(3)]
        assert (row.status, row.reason, row.refill_due_at) == ("hole", "2 of 3 sessions are here.", NOW)
        assert statuses(device_id)[back(4)] == "complete"
        assert read_state(device_id).refill_due_at == NOW


def test_a_quarantined_session_that_is_accepted_later_takes_its_mark_from_the_day(
    pair: Pair, client: CollectorClient, noon: SetClock, owner: Account
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1, sessionEndTime=wire.format_ms(at(-3)))
        pull(client, device_id)
        assert (ledger(device_id)[back(1)].quarantined, ledger(device_id)[back(1)].held) == (1, 0)
        noon(NOW + timedelta(hours=23))
        assert sessions.retry_all_quarantined(owner.id, device_id).accepted == 1
        pull(client, device_id)
        row = ledger(device_id)[back(1)]
        assert (row.status, row.quarantined, row.held) == ("complete", 0, 1)


def test_a_reinstalled_collector_takes_no_proof_back(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(3, 3)
        machine.work(1, 1)
        pull(client, device_id)
        machine.reinstall()
        machine.since_ms, machine.ran_seconds = at(0), {back(0): 60}
        machine.work(0, 2)
        pull(client, device_id)
        days = ledger(device_id)
        assert (days[back(3)].status, days[back(3)].sessions, days[back(3)].kept) == ("complete", 3, 3)
        assert statuses(device_id)[back(2)] == "off"
        assert (days[back(0)].sessions, days[back(0)].kept) == (2, 0)


def test_a_restored_collector_is_compared_as_it_is_now(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(3, 2)
        backup = machine.back_up()
        machine.work(3, 2, first=2)
        machine.work(1, 1)
        pull(client, device_id)
        machine.restore(backup)
        machine.work(3, 1, first=7)
        pull(client, device_id)
        days = ledger(device_id)
        assert (days[back(3)].status, days[back(3)].held, days[back(3)].kept) == ("complete", 3, 2)
        assert (days[back(1)].status, days[back(1)].kept) == ("complete", 1)


def test_tombstones_count_on_neither_side(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        first, *_ = machine.work(1, 3)
        pull(client, device_id)
        machine.put(first | {"deleted": True})
        pull(client, device_id)
        check_everything(client, machine, device_id)
        row = ledger(device_id)[back(1)]
        assert (row.status, row.sessions, row.held) == ("complete", 2, 2)


def test_days_are_compared_while_no_transaction_keeps_others_waiting(
    pair: Pair, client: CollectorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = day_contents.read_contents, []

    def read_and_look(*given: Any) -> dict[date, DayHere]:
        seen.append(bool(db.session.info.get("in_transaction")))
        return read(*given)

    monkeypatch.setattr(day_contents, "read_contents", read_and_look)
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 2)
        pull(client, device_id)
        assert seen == [False]
        assert statuses(device_id)[back(1)] == "complete"


def test_sessions_are_read_in_slices(pair: Pair, client: CollectorClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_contents, "SLICE_MS", 2 * 86_400_000)
    with Machine() as machine:
        device_id = pair(machine)
        for days in (40, 5, 4, 3, 0):
            machine.work(days, 3)
        machine.put(make_session(77, start_ms=at(40) + 2 * 86_400_000))  # the first instant of the second slice
        with counting("file_sessions") as statements:
            pull(client, device_id)
        assert sum("started_ms <" in one and "is_deleted" in one for one in statements) >= 20
        found = ledger(device_id)
        assert [found[back(days)].held for days in (40, 38, 5, 4, 3, 0)] == [3, 1, 3, 3, 3, 3]
        assert "hole" not in statuses(device_id).values()


def test_a_plain_collector_is_never_asked(pair: Pair, client: CollectorClient) -> None:
    with PlainCollector() as plain:
        device_id = pair(plain)
        plain.put(at(1), make_session(1, start_ms=at(1)))
        pull(client, device_id)
        assert all(one.path != "/api/sessions/coverage" for one in plain.received)
        assert db.session.get(CoverageState, device_id) is None


def test_days_outside_the_question_are_left_out(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1)
        real = machine.cover
        future = {"day": "2031-01-01", "sessions": 1, "digest": "0" * 32, "pending": 0, "ranSeconds": 0}
        machine.cover = lambda asked: (told := real(asked)) | {"days": [*told["days"], future]}  # type: ignore
        pull(client, device_id)
        assert "2031-01-01" not in statuses(device_id)
        assert statuses(device_id)[back(1)] == "complete"


def test_a_clock_that_was_never_set_makes_no_ledger_from_1970_on(pair: Pair, client: CollectorClient) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.since_ms = 0
        machine.work(1, 1)
        pull(client, device_id)
        assert len(statuses(device_id)) <= 3661


def test_days_are_cut_in_the_accounts_zone(pair: Pair, client: CollectorClient, owner: Account) -> None:
    with transaction() as session:
        session.get_one(Account, owner.id).timezone = "Asia/Tokyo"
    with Machine() as machine:
        device_id = pair(machine)
        machine.put(make_session(1, start_ms=at(2, hour=20)))
        pull(client, device_id)
        assert ledger(device_id)[back(1)].held == 1


def test_a_long_pull_that_ends_well_leaves_none_of_the_holes_that_it_named(
    pair: Pair, client: CollectorClient, noon: SetClock
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1)
        pull(client, device_id)
        noon(NOW + timedelta(minutes=1))
        machine.most_per_page = 3
        machine.work(0, 8)
        assert pull(client, device_id)[0].problem is None
        assert len(machine.questions()) == 3, "after the first page and after the last"
        row = ledger(device_id)[back(0)]
        assert (row.status, row.held) == ("complete", 8)


def test_a_collector_that_went_back_while_it_was_asked_is_judged_at_the_next_pull(
    pair: Pair, client: CollectorClient
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(4, 1)
        real = machine.cover
        machine.cover = lambda asked: real(asked) | {"reset": True}  # type: ignore[method-assign]
        pull(client, device_id)
        assert statuses(device_id) == {}
        assert (read_state(device_id).due_at, read_state(device_id).checked_at) == (NOW, None)
        machine.cover = real  # type: ignore[method-assign]
        pull(client, device_id)
        assert statuses(device_id)[back(4)] == "complete"
