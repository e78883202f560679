"""The export of a database that is not the one that the reader knows: reinstalled, or restored from an old copy."""

import base64
import shutil

import pytest

from collector import exports
from collector.store import Store, read_key
from tests.collector.conftest import MONDAY_MS
from tests.collector.test_export import DAY_MS, ask, by_cursor, everything, work


def test_a_reinstalled_collector_is_a_new_epoch(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    work(store, "a", 0)
    _, cursor = by_cursor(store)
    fresh = Store(tmp_path_factory.mktemp("fresh") / "collector.db")
    work(fresh, "b", 0)
    page = ask(fresh, cursor=cursor)
    assert page["reset"] is True
    assert [session["fileName"] for session in page["sessions"]] == ["b.py"]
    assert page["epoch"] != ask(store)["epoch"]
    assert "reset" not in ask(fresh, cursor=page["nextCursor"])
    fresh.close()


def backup(store: Store) -> None:
    store.close()
    shutil.copy(store.path, store.path.with_suffix(".bak"))


def restore(store: Store) -> None:
    store.close()
    shutil.copy(store.path.with_suffix(".bak"), store.path)


def test_a_restored_backup_behind_the_reader_starts_over(store: Store) -> None:
    work(store, "a", 0)
    backup(store)
    work(store, "b", 3600)
    _, cursor = by_cursor(store)
    restore(store)
    page = ask(store, cursor=cursor)
    assert page["reset"] is True
    assert [session["fileName"] for session in page["sessions"]] == ["a.py"]


@pytest.mark.parametrize("growth", [1, 2, 5])
def test_a_restored_backup_that_outgrew_the_reader_starts_over(store: Store, growth: int) -> None:
    work(store, "a", 0)
    backup(store)
    work(store, "b", 3600)
    _, cursor = by_cursor(store)
    restore(store)
    for n in range(growth):
        work(store, f"new{n}", 7200 + n * 3600)
    page = ask(store, cursor=cursor, limit=5000)
    assert page["reset"] is True
    assert {s["id"]: s for s in page["sessions"]} == everything(store)
    assert "reset" not in ask(store, cursor=page["nextCursor"])


def test_a_restored_backup_that_outgrew_the_reader_with_one_session_starts_over(store: Store) -> None:
    """No row of the lost future's numbers is left to give it away: the growing session has taken them all along."""
    work(store, "a", 0)
    work(store, "b", 3600, now_ms=MONDAY_MS + 3_660_000)
    backup(store)
    kept, cursor = by_cursor(store)
    work(store, "a", 120)
    kept |= by_cursor(store, cursor=cursor)[0]
    cursor = by_cursor(store, cursor=cursor)[1]
    restore(store)
    for minute in range(2, 6):
        work(store, "b", 3600 + 60 * minute, minutes=0, now_ms=MONDAY_MS + 3_660_000 + 60_000 * minute)
    page = ask(store, cursor=cursor, limit=5000)
    assert page["reset"] is True
    assert {s["id"]: s for s in page["sessions"]} == everything(store)
    assert kept.keys() == everything(store).keys()
    assert kept != everything(store)
    assert "reset" not in ask(store, cursor=page["nextCursor"])


@pytest.mark.parametrize("back_ms", [0, DAY_MS])
def test_a_restored_backup_is_noticed_whatever_its_clock_says(store: Store, back_ms: int) -> None:
    work(store, "a", 0)
    backup(store)
    work(store, "b", 3600)
    _, cursor = by_cursor(store)
    restore(store)
    work(store, "c", 7200, now_ms=MONDAY_MS - back_ms)
    assert ask(store, cursor=cursor)["reset"] is True


def test_a_restored_backup_is_noticed_even_when_its_changes_bear_the_same_times(store: Store) -> None:
    """A clock that was once far ahead: since then every change is one millisecond after the last, in both histories."""
    work(store, "a", 0, now_ms=MONDAY_MS + 3650 * DAY_MS)
    backup(store)
    work(store, "b", 3600)
    lost, cursor = by_cursor(store)
    restore(store)
    work(store, "c", 7200)
    assert [s["changedAt"] for s in everything(store).values()] == [s["changedAt"] for s in lost.values()]
    page = ask(store, cursor=cursor)
    assert page["reset"] is True
    assert [s["fileName"] for s in page["sessions"]] == ["a.py", "c.py"]


def test_a_place_that_was_told_stays_good_when_its_session_has_moved_on(store: Store) -> None:
    work(store, "a", 0)
    _, cursor = by_cursor(store)
    for minute in range(2, 6):
        work(store, "a", 60 * minute)
    page = ask(store, cursor=cursor)
    assert "reset" not in page
    assert [session["revision"] for session in page["sessions"]] == [5]
    store.close()
    assert "reset" not in ask(Store(store.path), cursor=cursor)


def test_a_cursor_from_before_places_were_kept_is_believed(store: Store) -> None:
    work(store, "a", 0)
    with store.read() as connection:
        key, clock = read_key(connection), exports.read_clock(connection)
    text = f"v1.{store.identity.epoch}.{clock.rev}.{clock.changed_at_ms}"
    cursor = base64.urlsafe_b64encode(f"{text}.{exports.sign(text, key)}".encode()).decode()
    for minute in range(2, 6):
        work(store, "a", 60 * minute)
    page = ask(store, cursor=cursor)
    assert (len(page["sessions"]), "reset" in page) == (1, False)
    fresh = f"v1.{store.identity.epoch}.{clock.rev + 99}.{clock.changed_at_ms}"
    cursor = base64.urlsafe_b64encode(f"{fresh}.{exports.sign(fresh, key)}".encode()).decode()
    assert ask(store, cursor=cursor)["reset"] is True


def test_told_places_are_forgotten_far_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "KEPT_CHANGES", 2)
    for n in range(6):
        work(store, f"f{n}", n * 3600)
        by_cursor(store)
    with store.read() as connection:
        assert [row[0] for row in connection.execute("SELECT rev FROM told_positions")] == [4, 5, 6]


def test_a_pull_without_news_writes_nothing(store: Store) -> None:
    work(store, "a", 0)
    _, cursor = by_cursor(store)
    statements: list[str] = []
    for connection in store._idle:
        connection.set_trace_callback(statements.append)
    assert ask(store, cursor=cursor)["sessions"] == []
    assert statements
    assert not [text for text in statements if text.startswith(("BEGIN IMMEDIATE", "INSERT", "DELETE"))]


def test_a_backup_restored_at_once_is_no_reason_to_start_over(store: Store) -> None:
    work(store, "a", 0)
    backup(store)
    _, cursor = by_cursor(store)
    restore(store)
    assert "reset" not in ask(store, cursor=cursor)
