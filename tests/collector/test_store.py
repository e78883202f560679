"""The store: made once, safe between threads and processes, on disk before it answers."""

import json
import sqlite3
import stat
import threading
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import time_machine

from collector import store_schema, wire
from collector.runs import list_runs
from collector.store import Link, Store, journal_mode
from collector.timeline.materialise import materialise
from tests.collector.conftest import MONDAY_MS, make_observation

LINK = Link(
    hub_url="http://127.0.0.1:8000",
    device_id="d",
    token="t",
    pull_secret="s" * 32,
    poll_interval=5,
    hub_name="hub",
    paired_at_ms=1,
)


def test_folder_and_file_are_private(store: Store) -> None:
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_identity_and_keys_survive_a_restart(store: Store) -> None:
    before = (store.identity, store.local_token(), store.wakatime_key())
    again = Store(store.path)
    assert (again.identity, again.local_token(), again.wakatime_key()) == before
    again.close()


def test_wakatime_key_is_what_plug_ins_accept(store: Store) -> None:
    assert uuid.UUID(store.wakatime_key()).version == 4
    assert store.wakatime_key() == store.wakatime_key().lower()


def test_two_openers_of_a_new_file_agree(tmp_path: Path) -> None:
    path, seen = tmp_path / "new" / "collector.db", []
    barrier = threading.Barrier(8)

    def open_it() -> None:
        barrier.wait()
        opened = Store(path)
        seen.append((opened.identity, opened.local_token()))
        opened.close()

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_a_write_that_raises_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError), store.write() as connection:
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")
        raise RuntimeError
    assert store.get_meta("a") is None


def test_a_read_sees_one_state(store: Store) -> None:
    store.set_meta("a", "1")
    with store.read() as connection:
        before = connection.execute("SELECT value FROM meta WHERE key = 'a'").fetchone()
        other = threading.Thread(target=store.set_meta, args=("b", "2"))
        other.start()
        after = connection.execute("SELECT count(*) FROM meta WHERE key = 'b'").fetchone()
    other.join()
    assert (before, after) == (("1",), (0,))
    assert store.get_meta("b") == "2"


def test_meta_can_be_deleted(store: Store) -> None:
    store.set_meta("a", "1")
    store.delete_meta("a")
    store.delete_meta("a")
    assert store.get_meta("a") is None


def test_link_is_kept_and_forgotten(store: Store) -> None:
    assert store.find_link() is None
    store.save_link(LINK)
    assert Store(store.path).find_link() == LINK
    store.clear_link()
    assert store.find_link() is None


def test_the_same_path_is_watched_once(store: Store, tmp_path: Path) -> None:
    added = store.add_path(tmp_path)
    assert store.add_path(f"{tmp_path}/") == added
    assert store.list_paths() == [added]
    assert store.remove_path(added.id)
    assert not store.remove_path(added.id)
    assert store.list_paths() == []


def test_a_removed_path_number_is_never_used_again(store: Store, tmp_path: Path) -> None:
    first = store.add_path(tmp_path / "a")
    store.remove_path(first.id)
    assert store.add_path(tmp_path / "b").id > first.id


def test_observations_come_back_as_they_went_in(store: Store) -> None:
    whole = make_observation(
        "/p/ü.py", 1, is_write=True, lines=3, branch="main", ai_session="x", end_ms=MONDAY_MS + 5000, timezone="UTC"
    )
    assert store.add_observations([whole]) == 1
    found = store.find_last_observation("wakatime")
    assert found is not None
    assert found.seq == 1
    assert {name: getattr(found, name) for name in found.__struct_fields__ if name != "seq"} == {
        name: getattr(whole, name) for name in whole.__struct_fields__ if name != "seq"
    }


def test_a_repeated_delivery_adds_nothing(store: Store) -> None:
    one, other = make_observation("/a.py", 1), make_observation("/a.py", 2)
    assert store.add_observations([one, one]) == 1
    assert store.add_observations([one, other]) == 1
    assert store.add_observations([make_observation("/a.py", 1, received_ms=MONDAY_MS + 999_999)]) == 0
    assert store.add_observations([make_observation("/a.py", 1, is_write=True)]) == 1
    assert store.add_observations([make_observation("/a.py", 1, machine="other")]) == 1


def test_last_observation_is_the_latest_by_its_own_time(store: Store) -> None:
    assert store.last_observation_ms("wakatime") is None
    store.add_observations([make_observation("/a.py", 9), make_observation("/a.py", 3)])
    assert store.last_observation_ms("wakatime") == MONDAY_MS + 9000


def test_today_begins_at_midnight_where_the_user_is(store: Store) -> None:
    evening = 14 * 3600 + 30 * 60  # 23:30 UTC, and 00:30 of Tuesday in Berlin
    store.add_observations([make_observation("/a.py", evening + s) for s in range(-3600, 601, 300)])
    with time_machine.travel(datetime(2026, 1, 5, 23, 45, tzinfo=UTC), tick=False):
        materialise(store, MONDAY_MS + (evening + 900) * 1000)
        assert store.today_seconds(UTC) == 3600 + 600
        assert store.today_seconds(ZoneInfo("Europe/Berlin")) == 1800 + 600


def test_today_counts_overlapping_sessions_once(store: Store) -> None:
    beats = [make_observation(f"/{editor}.py", s, editor=editor) for editor in ("vim", "vscode") for s in (0, 300)]
    store.add_observations(beats)
    with time_machine.travel(datetime(2026, 1, 5, 9, 10, tzinfo=UTC), tick=False):
        materialise(store, MONDAY_MS + 600_000)
        assert store.count_sessions() == 2
        assert store.today_seconds(UTC) == 300


def test_a_call_is_good_once_also_after_a_restart(store: Store) -> None:
    soon = int(datetime.now(UTC).timestamp()) + 60
    assert store.note_jti("j", soon)
    assert not store.note_jti("j", soon)
    again = Store(store.path)
    assert not again.note_jti("j", soon)
    assert again.note_jti("k", soon)
    again.close()


def test_expired_calls_are_forgotten_but_not_while_the_clocks_may_differ(store: Store) -> None:
    now = int(datetime.now(UTC).timestamp())
    store.note_jti("old", now - 3600)
    store.note_jti("recent", now - 60)
    store.note_jti("new", now + 60)
    with store.read() as connection:
        assert {row[0] for row in connection.execute("SELECT jti FROM seen_calls")} == {"recent", "new"}


def test_an_adopted_id_begins_a_new_epoch_and_derives_again(store: Store) -> None:
    store.add_observations([make_observation("/a.py", 0), make_observation("/a.py", 60)])
    materialise(store, MONDAY_MS + 60_000)
    before = store.identity
    store.adopt_device_id("given-by-the-hub")
    assert store.identity.device_id == "given-by-the-hub"
    assert store.identity.epoch != before.epoch
    assert materialise(store, MONDAY_MS + 60_000) == 1
    epoch = store.identity.epoch
    store.adopt_device_id("given-by-the-hub")
    assert store.identity.epoch == epoch


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "DELETE"),
        ((3, 44, 5), "DELETE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "DELETE"),
        ((3, 50, 6), "DELETE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "DELETE"),
        ((3, 51, 3), "WAL"),
        ((3, 53, 0), "WAL"),
    ],
)
def test_wal_only_where_the_library_is_sound(version: tuple[int, ...], mode: str) -> None:
    assert journal_mode(version) == mode


def test_a_file_is_not_upgraded_twice(store: Store) -> None:
    connection = sqlite3.connect(store.path)
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()
    store.set_meta("kept", "yes")
    assert Store(store.path).get_meta("kept") == "yes"


def test_a_file_of_the_first_version_is_upgraded_as_it_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [-1, 0, 999, MONDAY_MS + 7, MONDAY_MS + 999, 253_402_300_799_999]
    old = store.path.with_name("old.db")
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        monkeypatch.setattr(store_schema, "STEPS", store_schema.STEPS[:1])
        store_schema.upgrade(connection)
        monkeypatch.undo()
        rows = [
            (f"s{n}", n, n, json.dumps({"sessionStartTime": wire.format_ms(moment), "activeSegments": []}))
            for n, moment in enumerate(moments, start=1)
        ]
        connection.executemany("INSERT INTO sessions VALUES (?, ?, ?, 1, 's', 0, 0, 0, 0, 0, NULL, ?)", rows)
        connection.execute("UPDATE change_clock SET rev = 6, changed_at_ms = 6")
        connection.execute("INSERT INTO meta VALUES ('epoch', 'e1')")
    upgraded = Store(old)
    with upgraded.read() as connection:
        starts = [row[0] for row in connection.execute("SELECT start_ms FROM sessions ORDER BY rev")]
        assert list_runs(connection, 0, 2**62) == []
    assert starts == moments
    assert upgraded.identity.epoch == "e1"
    # It did run before, but nobody noted when: what is known begins now.
    assert abs(upgraded.since_ms - wire.now_ms()) < 60_000
    assert len(upgraded.export(wire.ExportRequest())["sessions"]) == 6
    upgraded.close()


def test_a_daemon_of_the_first_version_may_still_write_after_the_upgrade(store: Store) -> None:
    """Any command of a new version upgrades the file, also beside a daemon that was started before."""
    with store.write() as connection:
        connection.execute(
            "INSERT INTO sessions (id, rev, changed_at_ms, revision, stream, first_ms, first_seq, last_ms, is_active,"
            " deleted, body) VALUES ('s', 1, 1, 1, 'a', 0, 0, 0, 0, 0, ?)",
            (json.dumps({"sessionStartTime": wire.format_ms(MONDAY_MS)}),),
        )
    answer = store.cover(wire.CoverageRequest(timezone="UTC", first="1970-01-01", last="2026-12-31"))
    assert [(day.day, day.sessions) for day in answer.days] == [("2026-01-05", 1)]


def test_a_pull_is_noted_at_most_every_ten_seconds(store: Store) -> None:
    def noted() -> dict[str, object]:
        found: dict[str, object] = json.loads(store.get_meta("last_pull") or "{}")
        return found

    store.note_pull(MONDAY_MS, "direct")
    store.note_pull(MONDAY_MS + 9_999, "relay")
    assert noted() == {"atMs": MONDAY_MS, "road": "direct"}
    store.note_pull(MONDAY_MS + 10_000, "relay")
    assert noted() == {"atMs": MONDAY_MS + 10_000, "road": "relay"}
    store.note_pull(MONDAY_MS - 86_400_000, "direct")  # the clock was set back
    assert noted() == {"atMs": MONDAY_MS - 86_400_000, "road": "direct"}
