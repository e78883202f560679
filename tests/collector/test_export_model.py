"""The export against a model: whatever happens to a machine, a reader that follows cursors ends with what it holds."""

import contextlib
import os
import shutil
import signal
import sqlite3
import tempfile
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from collector import store as store_module
from collector import wire
from collector.store import Store
from collector.timeline.materialise import materialise
from tests.collector.conftest import MONDAY_MS, make_observation

DAY_MS = 86_400_000
NAMES = "abc"
ZONE = "America/Sao_Paulo"


class Reader:
    """A hub in small: keeps the newest version of each session by id, and what came since it had to start over."""

    def __init__(self) -> None:
        self.rows: dict[str, dict] = {}
        self.cursor: str | None = None
        self.resets = 0

    def pull(self, store: Store, limit: int) -> bool:
        """One page; whether more follow."""
        page: dict = store.export(wire.ExportRequest(limit=limit, cursor=self.cursor))
        if page.get("reset"):
            self.rows, self.resets = {}, self.resets + 1
        self.rows |= {session["id"]: session for session in page["sessions"]}
        self.cursor = page["nextCursor"]
        return page["hasMore"]

    def pull_all(self, store: Store, limit: int = 3) -> None:
        while self.pull(store, limit):
            pass


def read_all(store: Store) -> dict[str, dict]:
    reader = Reader()
    reader.pull_all(store, 5000)
    return reader.rows


def digest_days(rows: dict[str, dict]) -> dict[str, str]:
    """What a hub with these rows would say of each day, counted by hand."""
    days: dict[str, list[tuple[str, int, int]]] = {}
    for session in rows.values():
        if not session.get("deleted"):
            start_ms = wire.parse_ms(session["sessionStartTime"])
            day = datetime.fromtimestamp(start_ms / 1000, ZoneInfo(ZONE)).date().isoformat()
            days.setdefault(day, []).append((session["id"], wire.parse_ms(session["changedAt"]), start_ms))
    return {day: wire.digest_sessions(found) for day, found in days.items()}


class Machine(RuleBasedStateMachine):
    """One collector, one reader, and what may happen to both. The clock is the machine's own, and may be wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store(self.folder / "collector.db")
        self.reader = Reader()
        self.clock_ms = MONDAY_MS

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @rule(minutes=st.sampled_from([1, 3, 11, 60]))
    def let_time_pass(self, minutes: int) -> None:
        self.clock_ms += minutes * 60_000

    @rule(step_ms=st.sampled_from([-DAY_MS, -1, 1, 3650 * DAY_MS, -3650 * DAY_MS]))
    def set_the_clock(self, step_ms: int) -> None:
        self.clock_ms = max(self.clock_ms + step_ms, MONDAY_MS - 30 * DAY_MS)

    @rule(name=st.sampled_from(NAMES))
    def work(self, name: str) -> None:
        self.observe(name, self.clock_ms)

    @rule(name=st.sampled_from(NAMES), back_ms=st.sampled_from([60_000, 3_600_000, 5 * DAY_MS]))
    def hear_of_old_work(self, name: str, back_ms: int) -> None:
        self.observe(name, self.clock_ms - back_ms)

    def observe(self, name: str, at_ms: int) -> None:
        seconds = (at_ms - MONDAY_MS) / 1000
        self.store.add_observations([make_observation(f"/p/{name}.py", seconds, received_ms=self.clock_ms)])

    @rule()
    def derive(self) -> None:
        materialise(self.store, self.clock_ms)

    @rule(limit=st.integers(1, 4))
    def read_a_page(self, limit: int) -> None:
        self.reader.pull(self.store, limit)

    @rule()
    def back_up(self) -> None:
        self.store.close()
        shutil.copy(self.store.path, self.folder / "backup.db")

    @rule()
    def restore(self) -> None:
        if (self.folder / "backup.db").exists():
            self.store.close()
            shutil.copy(self.folder / "backup.db", self.store.path)

    @rule()
    def reinstall(self) -> None:
        self.store.close()
        self.store.path.unlink()
        (self.folder / "backup.db").unlink(missing_ok=True)
        self.store = Store(self.store.path)

    @rule()
    def read_to_the_end(self) -> None:
        self.reader.pull_all(self.store)
        assert self.reader.rows == read_all(self.store)
        answer = self.ask_days()
        assert (answer.reset, sum(day.pending for day in answer.days)) == (False, 0)
        assert {day.day: day.digest for day in answer.days if day.sessions} == digest_days(self.reader.rows)

    @rule()
    def ask_what_is_pending(self) -> None:
        """As many rows as the reader would get now, if it went on from where it is."""
        answer, ahead = self.ask_days(), Reader()
        ahead.cursor = self.reader.cursor
        ahead.pull_all(self.store, 5000)
        assert sum(day.pending for day in answer.days) == len(ahead.rows)
        assert answer.reset == bool(ahead.resets)

    def ask_days(self) -> wire.CoverageAnswer:
        return self.store.cover(
            wire.CoverageRequest(timezone=ZONE, first="1990-01-01", last="2090-01-01", cursor=self.reader.cursor)
        )

    @invariant()
    def starts_are_those_of_the_bodies(self) -> None:
        with self.store.read() as connection:
            starts = dict(connection.execute("SELECT id, start_ms FROM sessions"))
        for session in read_all(self.store).values():
            assert starts[session["id"]] == wire.parse_ms(session["sessionStartTime"])


Machine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
test_a_reader_ends_with_what_the_collector_holds = Machine.TestCase


def test_a_kill_between_any_two_statements_loses_nothing(tmp_path: Path) -> None:
    """A child works and is killed before its n-th statement, for every n; the reader pulls after each death."""
    store = Store(tmp_path / "collector.db")
    reader = Reader()
    survived = False
    for count in range(1, 400):
        store.close()
        survived = run_child(store.path, count)
        reader.pull(store, 2)
        if survived:
            break
        materialise(store, MONDAY_MS + count * 3_600_000)
    assert survived
    assert count > 30
    reader.pull_all(store)
    assert reader.rows == read_all(store)
    assert reader.resets == 0
    assert len(reader.rows) > 3
    with contextlib.closing(sqlite3.connect(store.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        revs, times, (rev, changed_at_ms) = (
            connection.execute("SELECT count(DISTINCT rev), max(rev) FROM sessions").fetchone(),
            connection.execute("SELECT count(DISTINCT changed_at_ms), max(changed_at_ms) FROM sessions").fetchone(),
            connection.execute("SELECT rev, changed_at_ms FROM change_clock").fetchone(),
        )
    assert (revs, times) == ((len(reader.rows), rev), (len(reader.rows), changed_at_ms))


def run_child(path: Path, count: int) -> bool:
    """Whether a child did its work with fewer than `count` statements; else it was killed before that one."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work_until_killed(path, count)
            os._exit(0)
        os._exit(1)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return not os.WIFSIGNALED(status)


def work_until_killed(path: Path, count: int) -> None:
    left = [count]

    def die_in_time(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    connect = store_module.connect

    def connect_traced(file: Path) -> sqlite3.Connection:
        connection = connect(file)
        connection.set_trace_callback(die_in_time)
        return connection

    store_module.connect = connect_traced
    store = Store(path)
    hour = (count % 5) * 3600
    beats = [make_observation(f"/p/{name}.py", hour + 60 * n + count, editor=name) for n in range(2) for name in "xy"]
    store.add_observations(beats)
    materialise(store, MONDAY_MS + count * 3_600_000)
    store.export(wire.ExportRequest(limit=1))
