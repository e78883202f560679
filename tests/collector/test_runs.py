"""When it ran: noted as it lives, whatever the machine and its clock do."""

import sqlite3
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector import runs, wire
from collector.runs import KEPT_MS, LifeSigns, add_run, list_runs
from collector.store import Store
from collector.timeline import spans
from tests.collector.conftest import MONDAY_MS

BEAT_MS = 30_000
DAY_MS = 86_400_000
ALWAYS = (-(2**62), 2**62)


class Clocks:
    """A wall clock and a monotonic one that tests move."""

    def __init__(self) -> None:
        self.wall_ms, self.steady_ms = MONDAY_MS, 5_000

    def pass_ms(self, ms: int, *, beats: LifeSigns | None = None, count: int = 1) -> None:
        for _ in range(count):
            self.wall_ms += ms
            self.steady_ms += ms
            if beats is not None:
                beats.beat()


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def signs(store: Store, clocks: Clocks) -> LifeSigns:
    return LifeSigns(store, lambda: clocks.wall_ms, lambda: clocks.steady_ms)


def read_runs(store: Store, from_ms: int = ALWAYS[0], to_ms: int = ALWAYS[1]) -> list[tuple[int, int]]:
    with store.read() as connection:
        return list_runs(connection, from_ms, to_ms)


def test_a_life_is_one_run(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    assert read_runs(store) == []
    clocks.pass_ms(BEAT_MS, beats=signs, count=10)
    assert read_runs(store) == [(MONDAY_MS, MONDAY_MS + 10 * BEAT_MS)]


def test_runs_are_cut_to_what_is_asked(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    clocks.pass_ms(BEAT_MS, beats=signs, count=4)
    assert read_runs(store, MONDAY_MS + 1, MONDAY_MS + 2) == [(MONDAY_MS + 1, MONDAY_MS + 2)]
    assert read_runs(store, MONDAY_MS + 4 * BEAT_MS, ALWAYS[1]) == []
    assert read_runs(store, ALWAYS[0], MONDAY_MS) == []


def test_the_next_life_is_another_run(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    clocks.pass_ms(BEAT_MS, beats=signs, count=2)
    clocks.pass_ms(10_000)
    again = LifeSigns(store, lambda: clocks.wall_ms, lambda: clocks.steady_ms)
    clocks.pass_ms(BEAT_MS, beats=again, count=2)
    first_end, second_start = MONDAY_MS + 2 * BEAT_MS, MONDAY_MS + 2 * BEAT_MS + 10_000
    assert read_runs(store) == [(MONDAY_MS, first_end), (second_start, second_start + 2 * BEAT_MS)]


def test_sleep_is_no_run_whether_or_not_the_steady_clock_saw_it(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    clocks.pass_ms(BEAT_MS, beats=signs)
    clocks.wall_ms += 3_600_000  # Linux: the monotonic clock stands still
    clocks.pass_ms(BEAT_MS, beats=signs)
    clocks.pass_ms(BEAT_MS, beats=signs)
    clocks.pass_ms(3_600_000, beats=signs)  # elsewhere it goes on
    clocks.pass_ms(BEAT_MS, beats=signs)
    found = read_runs(store)
    assert [end - start for start, end in found] == [BEAT_MS, BEAT_MS, BEAT_MS]
    assert found[1][0] == MONDAY_MS + 3_600_000 + 2 * BEAT_MS


def test_a_clock_that_is_trimmed_begins_no_run(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    for trim_ms in (-900, 400, -4_000, 4_000):
        clocks.wall_ms += trim_ms
        clocks.pass_ms(BEAT_MS, beats=signs)
    assert read_runs(store) == [(MONDAY_MS, MONDAY_MS + 4 * BEAT_MS - 500)]


@pytest.mark.parametrize("step_ms", [-60_000, -DAY_MS, 3650 * DAY_MS])
def test_a_clock_that_was_set_makes_no_run_negative_or_overlapping(
    store: Store, clocks: Clocks, signs: LifeSigns, step_ms: int
) -> None:
    clocks.pass_ms(BEAT_MS, beats=signs, count=5)
    clocks.wall_ms += step_ms
    clocks.pass_ms(BEAT_MS, beats=signs, count=3)
    clocks.wall_ms -= step_ms
    clocks.pass_ms(BEAT_MS, beats=signs, count=3)
    found = read_runs(store)
    assert found == spans.union(found)
    assert found[0] == (MONDAY_MS, MONDAY_MS + 5 * BEAT_MS) if step_ms > 0 else found[-1][1] > MONDAY_MS
    # Each of the two steps costs the beat in which it happened, and the minute that was lived twice counts once.
    assert spans.measure(found) == (8 if step_ms == -60_000 else 9) * BEAT_MS


def test_a_failed_write_is_noted_by_the_next_beat(
    store: Store, clocks: Clocks, signs: LifeSigns, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(runs, "add_run", fail)
    clocks.pass_ms(BEAT_MS)
    signs._try_beat()
    monkeypatch.undo()
    clocks.pass_ms(BEAT_MS, beats=signs)
    assert read_runs(store) == [(MONDAY_MS, MONDAY_MS + 2 * BEAT_MS)]


def test_old_runs_go_after_an_unbroken_hour_and_never_before(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    old = (MONDAY_MS - KEPT_MS - DAY_MS, MONDAY_MS - KEPT_MS - 1)
    young = (MONDAY_MS - KEPT_MS + DAY_MS, MONDAY_MS - KEPT_MS + 2 * DAY_MS)
    with store.write() as connection:
        add_run(connection, *old)
        add_run(connection, *young)
    clocks.pass_ms(BEAT_MS, beats=signs, count=119)
    assert read_runs(store)[:2] == [old, young]
    clocks.pass_ms(BEAT_MS, beats=signs)
    assert read_runs(store) == [young, (MONDAY_MS, MONDAY_MS + 3_600_000)]


def test_a_wrong_clock_for_a_moment_takes_no_run_with_it(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    clocks.pass_ms(BEAT_MS, beats=signs, count=130)
    before = read_runs(store)
    clocks.wall_ms += 3650 * DAY_MS
    clocks.pass_ms(BEAT_MS, beats=signs, count=20)
    assert read_runs(store)[:1] == before


def test_a_beat_is_one_write(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    clocks.pass_ms(BEAT_MS, beats=signs, count=2)
    statements: list[str] = []
    for connection in store._idle:
        connection.set_trace_callback(statements.append)
    clocks.pass_ms(BEAT_MS, beats=signs)
    changing = [text for text in statements if text.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert len(changing) == 1


def test_the_thread_notes_its_end(store: Store, clocks: Clocks, signs: LifeSigns) -> None:
    thread = threading.Thread(target=signs.run)
    thread.start()
    clocks.pass_ms(7_000)
    signs.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert read_runs(store) == [(MONDAY_MS, MONDAY_MS + 7_000)]


def test_since_is_when_the_database_was_made_or_as_far_as_runs_are_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_ms = store.since_ms
    assert abs(made_ms - wire.now_ms()) < 60_000
    assert Store(store.path).since_ms == made_ms
    monkeypatch.setattr(wire, "now_ms", lambda: made_ms + KEPT_MS + 5)
    assert store.since_ms == made_ms + 5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(-5, 15)), max_size=30))
def test_runs_are_the_union_of_what_was_noted(store: Store, noted: list[tuple[int, int]]) -> None:
    with store.write() as connection:
        connection.execute("DELETE FROM runs")
        for start, length in noted:
            add_run(connection, start, start + length)
    assert read_runs(store) == spans.union((start, start + length) for start, length in noted)
