"""The export: nothing lost, nothing stale, whatever the clock, the page edge or the backup does."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collector import exports, wire
from collector.store import Store
from collector.timeline.changes import bury
from collector.timeline.materialise import materialise
from tests.collector.conftest import MONDAY_MS, make_observation

DAY_MS = 86_400_000
IDLE_MS = 600_000


def work(store: Store, name: str, start: float, minutes: int = 1, now_ms: int | None = None) -> None:
    """Adds a stretch of work on a file that no other work in a test touches; by `now_ms` it is long over."""
    beats = [make_observation(f"/p/{name}.py", start + 60 * minute, editor=name) for minute in range(minutes + 1)]
    store.add_observations(beats)
    materialise(store, MONDAY_MS + round(start * 1000) + minutes * 60_000 + IDLE_MS if now_ms is None else now_ms)


def ask(store: Store, **request: object) -> dict:
    return store.export(wire.ExportRequest(**request))


def by_cursor(store: Store, limit: int = 3, cursor: str | None = None) -> tuple[dict[str, dict], str]:
    """Everything after a cursor, the latest version of each session, as a hub would keep it."""
    rows: dict[str, dict] = {}
    while True:
        page = ask(store, limit=limit, **({"cursor": cursor} if cursor else {}))
        rows |= {session["id"]: session for session in page["sessions"]}
        cursor = page["nextCursor"]
        if not page["hasMore"]:
            return rows, cursor


def by_last_sync_time(store: Store, limit: int = 3, since: str | None = None) -> tuple[dict[str, dict], str]:
    """The same by a plain client, which only echoes lastSyncTime."""
    rows: dict[str, dict] = {}
    while True:
        page = ask(store, limit=limit, **({"since": since} if since else {}))
        rows |= {session["id"]: session for session in page["sessions"]}
        since = page["lastSyncTime"]
        if not page["hasMore"]:
            return rows, since


def everything(store: Store) -> dict[str, dict]:
    page = ask(store, limit=5000)
    assert not page["hasMore"]
    return {session["id"]: session for session in page["sessions"]}


def test_an_empty_database_answers_with_the_beginning_of_time(store: Store) -> None:
    page = ask(store)
    assert (page["sessions"], page["hasMore"]) == ([], False)
    assert page["lastSyncTime"] == "1970-01-01T00:00:00.000Z"
    assert ask(store, since="2030-01-01T00:00:00Z")["lastSyncTime"] == "1970-01-01T00:00:00.000Z"


def test_a_session_is_what_the_wire_says_it_is(store: Store) -> None:
    work(store, "a", 0, minutes=5)
    (session,) = ask(store)["sessions"]
    read = msgspec.convert(session, wire.FileSession)
    assert read.total_duration == 300
    assert read.active_segments == [(MONDAY_MS, MONDAY_MS + 300_000)]
    assert read.device_id == store.identity.device_id
    assert read.revision == 1
    assert read.changed_at is not None
    assert wire.to_ms(read.changed_at) == MONDAY_MS + 300_000 + IDLE_MS
    required = "id filePath fileName fileExtension language projectName projectPath sessionStartTime sessionEndTime"
    required += " totalDuration linesAdded linesDeleted linesModified charactersAdded charactersDeleted"
    required += " charactersModified totalEdits isActive"
    assert set(required.split()) <= set(session)


@pytest.mark.parametrize("walk", [by_cursor, by_last_sync_time])
def test_a_thousand_changes_in_one_millisecond_all_arrive_once(store: Store, walk: Callable) -> None:
    store.add_observations([make_observation(f"/p/{n}.py", n * 3600, is_write=True) for n in range(1000)])
    assert materialise(store, MONDAY_MS) == 1000
    pages = []
    rows, _ = walk(store, limit=7)
    for session in rows.values():
        pages.append(session["changedAt"])
    assert len(rows) == len(set(pages)) == 1000
    assert pages == sorted(pages)


def test_page_size_is_the_limit_and_has_more_is_exact(store: Store) -> None:
    for n in range(6):
        work(store, f"f{n}", n * 3600)
    first = ask(store, limit=3)
    second = ask(store, limit=3, cursor=first["nextCursor"])
    assert (len(first["sessions"]), first["hasMore"]) == (3, True)
    assert (len(second["sessions"]), second["hasMore"]) == (3, False)
    assert len(ask(store)["sessions"]) == 6


def test_the_cursor_wins_over_since(store: Store) -> None:
    work(store, "a", 0)
    work(store, "b", 3600)
    first = ask(store, limit=1)
    again = ask(store, cursor=first["nextCursor"], since="1970-01-01T00:00:00Z")
    assert [session["fileName"] for session in again["sessions"]] == ["b.py"]


def test_since_is_exclusive_and_about_changes(store: Store) -> None:
    work(store, "a", 0)
    (session,) = ask(store)["sessions"]
    assert ask(store, since=session["changedAt"])["sessions"] == []
    before = wire.format_ms(wire.parse_ms(session["changedAt"]) - 1)
    assert len(ask(store, since=before)["sessions"]) == 1
    # Work of last year that arrives now is a change of now.
    work(store, "b", -300 * 86_400, now_ms=MONDAY_MS + DAY_MS)
    assert [s["fileName"] for s in ask(store, since=session["changedAt"])["sessions"]] == ["b.py"]


def test_since_without_a_zone_is_utc_and_digits_after_the_millisecond_are_cut(store: Store) -> None:
    work(store, "a", 0)
    changed_at = ask(store)["sessions"][0]["changedAt"]
    assert ask(store, since=changed_at.removesuffix("Z"))["sessions"] == []
    assert ask(store, since=changed_at.replace("Z", "999Z"))["sessions"] == []
    assert ask(store, since=changed_at.replace("Z", "999+00:00"))["lastSyncTime"] == changed_at


def test_a_since_from_the_future_does_not_poison_the_next_pull(store: Store) -> None:
    work(store, "a", 0)
    newest = ask(store)["lastSyncTime"]
    page = ask(store, since="2099-01-01T00:00:00.000Z")
    assert (page["sessions"], page["lastSyncTime"], "reset" in page) == ([], newest, False)
    work(store, "b", 3600)
    assert [s["fileName"] for s in ask(store, since=page["lastSyncTime"])["sessions"]] == ["b.py"]
    assert [s["fileName"] for s in ask(store, cursor=page["nextCursor"])["sessions"]] == ["b.py"]


@pytest.mark.parametrize("walk", [by_cursor, by_last_sync_time])
def test_sessions_that_grow_between_pages_arrive_in_their_last_state(store: Store, walk: Callable) -> None:
    for n in range(10):
        work(store, f"f{n}", n * 3600)
    kept, position = {}, None
    first = ask(store, limit=4)
    kept |= {session["id"]: session for session in first["sessions"]}
    position = first["nextCursor"] if walk is by_cursor else first["lastSyncTime"]
    work(store, "f1", 3600 + 120, minutes=3, now_ms=MONDAY_MS + 10 * 3_600_000)
    work(store, "f8", 8 * 3600 + 120, minutes=3, now_ms=MONDAY_MS + 10 * 3_600_000)
    rest, position = walk(store, 4, position)
    kept |= rest
    assert kept == everything(store)
    assert next(s for s in kept.values() if s["fileName"] == "f1.py")["totalDuration"] == 300
    assert walk(store, 4, position)[0] == {}


def test_a_heartbeat_that_is_five_days_late_changes_what_it_must(store: Store) -> None:
    work(store, "a", 0, minutes=2)
    work(store, "a", 5 * 86_400, minutes=2)
    _, cursor = by_cursor(store)
    store.add_observations([make_observation("/p/a.py", 300, editor="a", received_ms=MONDAY_MS + 5 * DAY_MS)])
    assert materialise(store, MONDAY_MS + 5 * DAY_MS + IDLE_MS + 120_000) == 1
    rows, _ = by_cursor(store, cursor=cursor)
    (session,) = rows.values()
    assert (session["totalDuration"], session["revision"]) == (300, 2)
    assert session["sessionStartTime"] == wire.format_ms(MONDAY_MS)


@pytest.mark.parametrize("step_ms", [-DAY_MS, 3650 * DAY_MS])
@pytest.mark.parametrize("walk", [by_cursor, by_last_sync_time])
def test_clock_steps_lose_nothing(store: Store, walk: Callable, step_ms: int) -> None:
    work(store, "a", 0, now_ms=MONDAY_MS)
    kept, position = walk(store)
    work(store, "b", 3600, now_ms=MONDAY_MS + step_ms)
    rows, position = walk(store, 3, position)
    kept |= rows
    work(store, "c", 7200, now_ms=MONDAY_MS + 1)
    rows, position = walk(store, 3, position)
    kept |= rows
    assert kept == everything(store)
    assert len(kept) == 3
    times = [session["changedAt"] for session in everything(store).values()]
    assert times == sorted(set(times))


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "djE", "ü", "A" * 500, "djEuYS5iLmMuZA"])
def test_a_cursor_that_nobody_made_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        ask(store, cursor=cursor)


def test_a_changed_cursor_is_refused(store: Store) -> None:
    identity = store.identity
    forged = exports.write_cursor(exports.Position(5, 5), identity.epoch, b"not the key")
    with pytest.raises(ValueError, match="changed"):
        ask(store, cursor=forged)


@pytest.mark.parametrize("since", ["yesterday", "", "2026-13-01", "2026-01-05T25:00:00Z"])
def test_a_since_that_is_no_time_is_refused(store: Store, since: str) -> None:
    with pytest.raises(ValueError):
        ask(store, since=since)


@pytest.mark.parametrize("since", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
def test_a_since_at_the_ends_of_time_is_answered(store: Store, since: str) -> None:
    work(store, "a", 0)
    page = ask(store, since=since)
    assert len(page["sessions"]) == (1 if since < "1970" else 0)


def test_a_page_ends_early_before_it_grows_too_large(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(5):
        work(store, f"f{n}", n * 3600)
    monkeypatch.setattr(exports, "PAGE_BYTES", 1)
    page = ask(store)
    assert (len(page["sessions"]), page["hasMore"]) == (1, True)
    assert by_cursor(store, limit=100)[0].keys() == {s["id"] for s in by_last_sync_time(store, limit=100)[0].values()}
    assert len(by_cursor(store)[0]) == 5


def test_a_page_of_any_letters_stays_below_the_limit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(40):
        work(store, "字" * 300 + str(n), n * 3600)
    monkeypatch.setattr(exports, "PAGE_BYTES", 20_000)
    page, seen = ask(store, limit=5000), 0
    while page["hasMore"]:
        assert len(msgspec.json.encode(page["sessions"])) <= 20_000
        seen += len(page["sessions"])
        page = ask(store, limit=5000, cursor=page["nextCursor"])
    assert seen + len(page["sessions"]) == 40


def at(hours: float) -> str:
    return wire.format_ms(MONDAY_MS + round(hours * 3_600_000))


def test_from_and_to_keep_what_starts_between_them(store: Store) -> None:
    for n in range(10):
        work(store, f"f{n}", n * 3600)
    names = lambda page: [session["fileName"] for session in page["sessions"]]  # noqa: E731
    assert names(ask(store, **{"started_from": at(2), "started_before": at(5)})) == ["f2.py", "f3.py", "f4.py"]
    assert names(ask(store, started_before=at(1))) == ["f0.py"]
    assert names(ask(store, started_from=at(9))) == ["f9.py"]
    assert names(ask(store, started_from=at(5), started_before=at(2))) == []
    first = ask(store, limit=2, started_from=at(2), started_before=at(5))
    second = ask(store, limit=2, started_from=at(2), started_before=at(5), cursor=first["nextCursor"])
    assert (names(first), first["hasMore"], names(second), second["hasMore"]) == (
        ["f2.py", "f3.py"],
        True,
        ["f4.py"],
        False,
    )


def test_from_and_to_are_about_the_start_as_exported(store: Store) -> None:
    work(store, "a", 0, minutes=3)
    (session,) = ask(store)["sessions"]
    start_ms = wire.parse_ms(session["sessionStartTime"])
    one = {"started_from": wire.format_ms(start_ms), "started_before": wire.format_ms(start_ms + 1)}
    assert ask(store, **one)["sessions"] == [session]
    assert ask(store, started_before=wire.format_ms(start_ms))["sessions"] == []
    # A late heartbeat gives it an earlier start; then it is found there, tombstone or not.
    store.add_observations([make_observation("/p/a.py", -60, editor="a", received_ms=MONDAY_MS + DAY_MS)])
    materialise(store, MONDAY_MS + DAY_MS)
    moved = [s for s in ask(store, started_before=wire.format_ms(start_ms))["sessions"] if not s.get("deleted")]
    assert [wire.parse_ms(s["sessionStartTime"]) for s in moved] == [MONDAY_MS - 60_000]


def test_reading_a_window_moves_no_reader(store: Store) -> None:
    for n in range(5):
        work(store, f"f{n}", n * 3600)
    kept, cursor = by_cursor(store)
    work(store, "f1", 3600 + 120, now_ms=MONDAY_MS + 30 * 3_600_000)
    work(store, "f4", 4 * 3600 + 120, now_ms=MONDAY_MS + 30 * 3_600_000)
    ask(store, started_from=at(4), started_before=at(5))
    rest, _ = by_cursor(store, cursor=cursor)
    assert {session["fileName"] for session in rest.values()} == {"f1.py", "f4.py"}
    assert kept | rest == everything(store)


@pytest.mark.parametrize("side", ["started_from", "started_before"])
def test_a_side_that_is_no_time_is_refused(store: Store, side: str) -> None:
    with pytest.raises(ValueError, match=r"^(from|to): RFC 3339"):
        ask(store, **{side: "noon"})


def test_a_tombstone_is_a_change(store: Store) -> None:
    work(store, "a", 0)
    rows, cursor = by_cursor(store)
    (session_id,) = rows
    with store.write() as connection:
        bury(connection, session_id, "other", MONDAY_MS)
    rows, _ = by_cursor(store, cursor=cursor)
    assert rows[session_id]["deleted"] is True
    assert rows[session_id]["supersededBy"] == "other"
    assert rows[session_id]["isActive"] is False
    msgspec.convert(rows[session_id], wire.FileSession)


steps = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, 30), st.integers(-(10**9), 10**9), st.integers(1, 4)), max_size=12
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_both_kinds_of_reader_end_equal_whatever_the_clock_does(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, int]]
) -> None:
    store = Store(tmp_path_factory.mktemp("export") / "collector.db")
    exact: dict[str, dict] = {}
    plain: dict[str, dict] = {}
    cursor = since = None
    for name, minute, skew_ms, limit in steps:
        work(store, name, minute * 60, now_ms=MONDAY_MS + skew_ms)
        page = ask(store, limit=limit, **({"cursor": cursor} if cursor else {}))
        exact |= {session["id"]: session for session in page["sessions"]}
        cursor = page["nextCursor"]
        page = ask(store, limit=limit, **({"since": since} if since else {}))
        plain |= {session["id"]: session for session in page["sessions"]}
        since = page["lastSyncTime"]
    exact |= by_cursor(store, 2, cursor)[0]
    plain |= by_last_sync_time(store, 2, since)[0]
    assert exact == plain == everything(store)
    store.close()
