"""The stored sessions against the pure derivation, whatever comes in whatever order."""

import json
import sqlite3
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.store import Store
from collector.timeline import changes
from collector.timeline.derive import derive_sessions
from collector.timeline.materialise import Derivation, materialise
from collector.timeline.observation import Observation
from collector.wire import ExportRequest
from tests.collector.conftest import MONDAY_MS, make_observation

HOUR = 3600


def stored(store: Store) -> list[tuple]:
    """The sessions that exist, as the pure function would give them, in its order."""
    query = (
        "SELECT id, stream, first_ms, last_ms, is_active, body FROM sessions WHERE deleted = 0"
        " ORDER BY stream, first_ms, first_seq"
    )
    with store.read() as connection:
        rows = connection.execute(query).fetchall()
    return [(*row[:4], bool(row[4]), json.loads(row[5])) for row in rows]


def derived(store: Store, observations: list[Observation], now_ms: int, idle: int = 600) -> list[tuple]:
    works = derive_sessions(observations, device_id=store.identity.device_id, now_ms=now_ms, idle_timeout_seconds=idle)
    return [(w.id, w.stream, w.first_ms, w.last_ms, w.is_active, json.loads(w.body)) for w in works]


def one_observation(entity: str, seconds: int, source: str, is_write: bool, minutes: int, lines: int) -> Observation:
    fields: dict[str, object] = {"source": source, "is_write": is_write, "received_ms": MONDAY_MS + seconds * 1000}
    if source == "vim":
        fields |= {"source": "wakatime", "editor": "vim"}
    elif source == "filesystem":
        fields |= {"editor": "fs", "kind": "write", "is_write": True}
    elif source == "git":
        start_ms = MONDAY_MS + seconds * 1000
        fields |= {"editor": "git", "kind": "commit", "is_write": False, "end_ms": start_ms + minutes * 60_000}
        fields |= {"lines_added": lines}
    else:
        fields |= {"lines": lines or None}
    return make_observation(entity, seconds, **fields)


observations = st.builds(
    one_observation,
    entity=st.sampled_from(["/p/a.py", "/p/b.py", "/p/c.ts"]),
    seconds=st.one_of(
        st.integers(0, 40 * 60),
        st.integers(0, 26 * HOUR).map(lambda s: s - s % 60),
        st.sampled_from([0, 9, 10, 11, 119, 120, 121, 599, 600, 601, 1200, 1800]),
    ),
    source=st.sampled_from(["wakatime", "wakatime", "vim", "filesystem", "filesystem", "git"]),
    is_write=st.booleans(),
    minutes=st.integers(0, 120),
    lines=st.integers(0, 50),
)
deliveries = st.lists(st.lists(observations, max_size=12), min_size=1, max_size=6)
begin = st.sampled_from([600, 2400, 24 * HOUR])


@settings(max_examples=120, deadline=None)
@given(deliveries=deliveries, begin=begin, idle=st.sampled_from([60, 600, 3600]))
def test_late_data_in_any_order_ends_where_a_derivation_from_scratch_ends(
    deliveries: list[list[Observation]], begin: int, idle: int
) -> None:
    now_ms = MONDAY_MS + begin * 1000
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "collector.db")
        seen: list[Observation] = []
        for step, sent in enumerate(deliveries):
            now_ms += step * 300_000
            delivery = [msgspec.structs.replace(observation, received_ms=now_ms) for observation in sent]
            store.add_observations(delivery)
            seen += delivery
            materialise(store, now_ms, idle_timeout_seconds=idle)
            assert stored(store) == derived(store, seen, now_ms, idle)
        assert materialise(store, now_ms, idle_timeout_seconds=idle) == 0
        other = {60: 600, 600: 3600, 3600: 60}[idle]
        materialise(store, now_ms, idle_timeout_seconds=other)
        assert stored(store) == derived(store, seen, now_ms, other)
        store.close()


def test_a_short_span_that_arrives_late_splits_what_was_one_session(store: Store) -> None:
    first = [one_observation("/p/b.py", seconds, "git", False, 1, 0) for seconds in (0, 60)]
    late = [one_observation("/p/a.py", 0, "git", False, 0, 0)]
    now_ms = MONDAY_MS + HOUR * 1000
    for delivery in (first, late):
        store.add_observations(delivery)
        materialise(store, now_ms, idle_timeout_seconds=60)
    assert stored(store) == derived(store, first + late, now_ms, 60)
    assert len(stored(store)) == 1


def test_a_crowd_of_saves_that_arrives_in_parts_is_recognised_in_the_end(store: Store) -> None:
    saves = [one_observation(f"/p/{n}.py", 60, "filesystem", True, 0, 0) for n in range(60)]
    now_ms = MONDAY_MS + HOUR * 1000
    store.add_observations(saves[:40])
    assert materialise(store, now_ms) == 40
    store.add_observations(saves[40:])
    assert materialise(store, now_ms) == 40
    assert stored(store) == derived(store, saves, now_ms) == []


def test_nothing_new_changes_nothing_and_writes_nothing(store: Store) -> None:
    store.add_observations([make_observation("/p/a.py", 0), make_observation("/p/a.py", 60)])
    assert materialise(store, MONDAY_MS + 70_000) == 1
    before = store.path.read_bytes()
    assert materialise(store, MONDAY_MS + 80_000) == 0
    assert store.path.read_bytes() == before


def test_a_session_ends_by_time_alone(store: Store) -> None:
    store.add_observations([make_observation("/p/a.py", 0), make_observation("/p/a.py", 60)])
    materialise(store, MONDAY_MS + 60_000)
    assert stored(store)[0][4] is True
    assert materialise(store, MONDAY_MS + 659_999) == 0
    assert materialise(store, MONDAY_MS + 660_000) == 1
    assert stored(store)[0][4] is False
    assert materialise(store, MONDAY_MS + 661_000) == 0


def test_sessions_that_grow_together_leave_a_tombstone_that_says_where(store: Store) -> None:
    store.add_observations([make_observation("/p/a.py", s) for s in (0, 60, 1000, 1060)])
    now_ms = MONDAY_MS + HOUR * 1000
    assert materialise(store, now_ms) == 2
    first, second = (row[0] for row in stored(store))
    store.add_observations([make_observation("/p/a.py", 500)])
    assert materialise(store, now_ms) == 2
    rows = {session["id"]: session for session in store.export(ExportRequest())["sessions"]}
    assert rows[first]["totalDuration"] == 1060
    assert (rows[second]["deleted"], rows[second]["supersededBy"]) == (True, first)


def test_every_change_has_a_number_and_a_time_of_its_own(store: Store) -> None:
    store.add_observations([make_observation(f"/p/{n}.py", n, is_write=True) for n in range(50)])
    materialise(store, MONDAY_MS)
    materialise(store, MONDAY_MS - 10**9)
    materialise(store, MONDAY_MS + 10**7)
    with store.read() as connection:
        rows = connection.execute("SELECT rev, changed_at_ms FROM sessions ORDER BY rev").fetchall()
        clock = connection.execute("SELECT rev, changed_at_ms FROM change_clock").fetchone()
    assert rows == sorted(set(rows))
    assert len({time for _, time in rows}) == len(rows)
    assert rows[-1] == clock


def test_a_failure_in_the_middle_leaves_everything_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add_observations([make_observation("/p/a.py", 0, is_write=True)])
    materialise(store, MONDAY_MS)
    store.add_observations([make_observation("/p/b.py", n, is_write=True, branch=str(n)) for n in range(5)])
    calls: list[int] = []

    def tick(connection: sqlite3.Connection, now_ms: int) -> tuple[int, int]:
        calls.append(now_ms)
        if len(calls) == 4:
            raise RuntimeError("power cut")
        return real_tick(connection, now_ms)

    real_tick = changes.tick
    monkeypatch.setattr(changes, "tick", tick)
    with pytest.raises(RuntimeError, match="power cut"):
        materialise(store, MONDAY_MS)
    monkeypatch.undo()
    assert store.count_sessions() == 1
    assert materialise(store, MONDAY_MS) == 6  # five new ones, and the first one is closed
    assert store.count_sessions() == 6


def test_cost_follows_what_is_new_and_not_the_history(store: Store) -> None:
    history = [
        make_observation(f"/p/{n % 7}.py", hour * HOUR + n * 60) for hour in range(0, 24 * 60, 2) for n in range(30)
    ]
    store.add_observations(history)
    end = 24 * 60 * HOUR
    materialise(store, MONDAY_MS + end * 1000)
    for step in range(3):
        store.add_observations([make_observation("/p/0.py", end + step * 60)])
        steps: list[int] = []
        with store.write() as connection:
            connection.set_progress_handler(lambda steps=steps: steps.append(1), 1000)
            assert Derivation(connection, MONDAY_MS + (end + step * 60) * 1000, 600).run() <= 1
            connection.set_progress_handler(None, 0)
        assert len(steps) < 20, f"{len(steps)},000 instructions of the database for one heartbeat"


@pytest.mark.parametrize("seconds", [59, 3601, 0, -1])
def test_an_idle_timeout_that_makes_no_sense_is_refused(store: Store, seconds: int) -> None:
    with pytest.raises(ValueError, match="idle timeout"):
        materialise(store, MONDAY_MS, idle_timeout_seconds=seconds)


@settings(max_examples=40, deadline=None)
@given(late=st.lists(st.integers(0, 5 * 24 * HOUR), min_size=1, max_size=30, unique=True))
def test_an_offline_queue_of_days_ends_where_its_delivery_in_time_would_have(late: list[int]) -> None:
    now_ms = MONDAY_MS + 6 * 24 * HOUR * 1000
    beats = [make_observation("/p/a.py", seconds, received_ms=now_ms) for seconds in range(0, 5 * 24 * HOUR, 7000)]
    queue = [make_observation("/p/b.py", seconds, received_ms=now_ms) for seconds in late]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "collector.db")
        store.add_observations(beats)
        materialise(store, now_ms)
        for start in range(0, len(queue), 25):
            store.add_observations(queue[start : start + 25])
            materialise(store, now_ms)
        assert stored(store) == derived(store, beats + queue, now_ms)
        store.close()
