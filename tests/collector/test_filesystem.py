"""Saved files: real events and real scans of real folders."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collector import wire
from collector.sources import hints
from collector.sources.filesystem import FilesystemSource
from collector.sources.scanning import PathScanner
from collector.store import Store
from collector.timeline.materialise import materialise

PATIENCE_SECONDS = 10


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one project in it, older than the moment that it is watched."""
    folder = tmp_path / "code"
    (folder / "shop" / "src").mkdir(parents=True)
    (folder / "shop" / "src" / "old.py").write_text("old")
    hour_ago = time.time() - 3600
    os.utime(folder / "shop" / "src" / "old.py", (hour_ago, hour_ago))
    return folder


@pytest.fixture
def running(store: Store, root: Path) -> Iterator[FilesystemSource]:
    """A source that watches the root and has finished its first scan."""
    store.add_path(root)
    source = FilesystemSource(store, store.list_paths(), lambda: None)
    source.start()
    wait_for(lambda: source.status()["state"] == "watching")
    yield source
    source.stop()


def wait_for(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def seen(store: Store) -> list[str]:
    """The observed files, by name, in the order in which they were noticed."""
    with store.read() as connection:
        rows = connection.execute("SELECT entity FROM observations WHERE source = 'filesystem' ORDER BY seq")
        return [Path(entity).name for (entity,) in rows]


def scan(store: Store, root: Path) -> FilesystemSource:
    """Looks through the root as `collector scan` does without a daemon."""
    if not store.list_paths():
        store.add_path(root)
    source = FilesystemSource(store, store.list_paths(), lambda: None)
    source.rescan()
    return source


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_first_scan_only_takes_note(store: Store, root: Path) -> None:
    source = scan(store, root)
    assert seen(store) == []
    assert source.status()["paths"][0]["files"] == 1
    assert materialise(store, wire.now_ms()) == 0


def test_a_saved_file_is_noticed_by_its_event(store: Store, root: Path, running: FilesystemSource) -> None:
    began = time.monotonic()
    write(root / "shop" / "src" / "old.py", "changed")
    wait_for(lambda: seen(store) == ["old.py"])
    assert time.monotonic() - began < 5, "that was the scan, not the event"
    assert materialise(store, wire.now_ms()) == 1
    (session,) = store.export(wire.ExportRequest())["sessions"]
    assert (session["projectName"], session["language"], session["editor"]) == ("shop", "Python", "fs")
    assert session["writes"] == 1


def test_on_change_is_called_after_the_observation_is_kept(store: Store, root: Path) -> None:
    store.add_path(root)
    calls: list[int] = []
    source = FilesystemSource(store, store.list_paths(), lambda: calls.append(len(seen(store))))
    source.start()
    wait_for(lambda: source.status()["state"] == "watching")
    write(root / "new.py")
    wait_for(lambda: calls == [1])
    source.stop()


def test_files_in_new_folders_are_noticed(store: Store, root: Path, running: FilesystemSource) -> None:
    write(root / "shop" / "deep" / "deeper" / "new.py")
    write(root / "fresh" / "other.py")
    wait_for(lambda: sorted(seen(store)) == ["new.py", "other.py"])


def test_a_save_through_a_temporary_file_is_one_write(store: Store, root: Path, running: FilesystemSource) -> None:
    target = root / "shop" / "src" / "old.py"
    (target.parent / ".old.py.swp").write_text("editor's own")
    (target.parent / "old.py~").write_text("backup")
    temporary = target.parent / "old.py.tmp"
    temporary.write_text("new content")
    temporary.rename(target)
    wait_for(lambda: bool(seen(store)))
    time.sleep(1)
    assert seen(store) == ["old.py"]


def test_what_changed_while_nobody_looked_is_found_with_its_time(store: Store, root: Path) -> None:
    scan(store, root)
    when = time.time() - 30
    write(root / "shop" / "src" / "old.py", "changed")
    os.utime(root / "shop" / "src" / "old.py", (when, when))
    scan(store, root)
    assert seen(store) == ["old.py"]
    assert store.last_observation_ms("filesystem") == int(when * 1000)
    scan(store, root)
    assert seen(store) == ["old.py"]


def test_files_that_were_moved_or_unpacked_here_are_no_work(store: Store, root: Path) -> None:
    scan(store, root)
    (root / "shop" / "src").rename(root / "shop" / "lib")
    write(root / "unpacked.py")
    os.utime(root / "unpacked.py", (1_600_000_000, 1_600_000_000))
    scan(store, root)
    assert seen(store) == []


def test_a_change_that_keeps_an_old_time_is_dated_now(store: Store, root: Path) -> None:
    scan(store, root)
    before_ms = wire.now_ms()
    write(root / "shop" / "src" / "old.py", "longer than before")
    os.utime(root / "shop" / "src" / "old.py", (1_600_000_000, 1_600_000_000))
    scan(store, root)
    last_ms = store.last_observation_ms("filesystem")
    assert last_ms is not None
    assert before_ms <= last_ms <= wire.now_ms()


def test_work_goes_on_when_the_clock_was_set_back(store: Store, root: Path) -> None:
    (watched,) = [store.add_path(root)]
    day_ms = 86_400_000
    kept: list[str] = []
    scanner = PathScanner(
        store=store,
        watched=watched,
        clock=lambda: wire.now_ms() + day_ms,
        is_stopping=lambda: False,
        on_saves=lambda saves: kept.extend(save.path for save in saves),
    )
    scanner.scan()
    scanner.clock = wire.now_ms
    write(root / "new.py")
    scanner.scan()
    assert kept == [str(root / "new.py")]


def test_ignored_files_are_not_work(store: Store, root: Path) -> None:
    write(root / "shop" / ".gitignore", "build/\n*.gen.py\n!keep.gen.py\n/top.py\n")
    write(root / "shop" / "src" / ".gitignore", "local.py\n")
    scan(store, root)
    for name in ("build/a.py", "a.gen.py", "top.py", "src/local.py", "node_modules/m/i.js", ".git/index", ".venv/x.py"):
        write(root / "shop" / name)
    for name in ("__pycache__/a.pyc", "app.log", "data.sqlite3-wal", "a.swp", "cache/CACHEDIR.TAG", "cache/x.py"):
        write(root / "shop" / name)
    for name in ("keep.gen.py", "src/top.py", "local.py"):
        write(root / "shop" / name)
    scan(store, root)
    assert sorted(seen(store)) == ["keep.gen.py", "local.py", "top.py"]


def test_ignore_files_above_the_root_and_of_another_repository(store: Store, root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".gitignore").write_text("*.tmpl\n")
    write(root / "shop" / "inner" / ".git" / "info" / "exclude", "mine.py\n")
    inside = root / "shop"
    scan(store, inside)
    write(inside / "a.tmpl")
    write(inside / "inner" / "b.tmpl")
    write(inside / "inner" / "mine.py")
    scan(store, inside)
    assert seen(store) == ["b.tmpl"]


def test_a_changed_ignore_file_counts_from_then_on(store: Store, root: Path, running: FilesystemSource) -> None:
    write(root / "shop" / ".gitignore", "src/old.py\n")
    wait_for(lambda: seen(store) == [".gitignore"])
    running.rescan()
    write(root / "shop" / "src" / "old.py", "changed")
    write(root / "shop" / "src" / "other.py", "new")
    wait_for(lambda: "other.py" in seen(store))
    assert seen(store) == [".gitignore", "other.py"]


def test_links_are_not_followed(store: Store, root: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "a.py")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    (root / "loop").symlink_to(root)
    scan(store, root)
    write(tmp_path / "elsewhere" / "b.py")
    scan(store, root)
    assert seen(store) == []


def test_a_name_that_is_no_text_does_not_stop_the_scan(store: Store, root: Path) -> None:
    scan(store, root)
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.py")).write_text("x")
    except OSError:
        pytest.skip("this file system takes only text for names")
    write(root / "ünïcode.py")
    scan(store, root)
    assert sorted(seen(store)) == ["caf\ufffd.py", "ünïcode.py"]


def test_a_folder_that_cannot_be_read_is_left_out(store: Store, root: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    write(root / "secret" / "a.py")
    (root / "secret").chmod(0)
    source = scan(store, root)
    (root / "secret").chmod(0o700)
    assert source.status()["state"] == "polling"


def test_a_missing_path_is_a_state_and_not_a_loss(store: Store, root: Path, tmp_path: Path) -> None:
    scan(store, root)
    root.rename(tmp_path / "away")
    source = scan(store, root)
    assert source.status()["state"] == "missing"
    assert source.status()["paths"][0]["trouble"]
    (tmp_path / "away").rename(root)
    source.rescan()
    assert source.status()["state"] == "polling"
    assert seen(store) == []


def test_an_empty_mount_point_is_not_an_empty_folder(store: Store, root: Path, tmp_path: Path) -> None:
    scan(store, root)
    root.rename(tmp_path / "away")
    root.mkdir()
    source = scan(store, root)
    assert source.status()["state"] == "missing"
    root.rmdir()
    (tmp_path / "away").rename(root)
    write(root / "shop" / "src" / "old.py", "changed")
    source.rescan()
    assert seen(store) == ["old.py"]


def test_a_path_that_comes_back_is_watched_again(
    store: Store, root: Path, tmp_path: Path, running: FilesystemSource
) -> None:
    shutil.move(root, tmp_path / "away")
    running.rescan()
    wait_for(lambda: running.status()["state"] == "missing")
    shutil.move(tmp_path / "away", root)
    running.rescan()
    wait_for(lambda: running.status()["state"] == "watching")
    write(root / "shop" / "src" / "old.py", "changed")
    wait_for(lambda: seen(store) == ["old.py"])


def test_a_path_that_was_replaced_is_watched_anew(
    store: Store, root: Path, tmp_path: Path, running: FilesystemSource
) -> None:
    shutil.move(root, tmp_path / "away")
    shutil.copytree(tmp_path / "away", root)
    running.rescan()
    time.sleep(0.5)
    wait_for(lambda: running.status()["state"] == "watching")
    write(root / "shop" / "src" / "old.py", "changed")
    wait_for(lambda: "old.py" in seen(store), seconds=5)


def test_paths_may_be_added_and_removed_while_it_runs(
    store: Store, root: Path, tmp_path: Path, running: FilesystemSource
) -> None:
    write(tmp_path / "second" / "a.py")
    added = store.add_path(tmp_path / "second")
    running.rescan()
    wait_for(lambda: [path["state"] for path in running.status()["paths"]] == ["watching", "watching"])
    write(tmp_path / "second" / "a.py", "changed")
    wait_for(lambda: seen(store) == ["a.py"])
    store.remove_path(added.id)
    running.rescan()
    wait_for(lambda: len(running.status()["paths"]) == 1)
    write(tmp_path / "second" / "a.py", "changed again")
    write(root / "last.py")
    wait_for(lambda: "last.py" in seen(store))
    assert seen(store) == ["a.py", "last.py"]


def test_a_file_saved_right_after_the_path_was_added_is_not_missed(store: Store, root: Path) -> None:
    store.add_path(root)
    time.sleep(0.05)
    write(root / "at-once.py")
    scan(store, root)
    assert seen(store) == ["at-once.py"]


def test_too_many_events_end_in_a_scan_that_finds_all(
    store: Store, root: Path, running: FilesystemSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "MANY_EVENTS", 10)
    for number in range(40):
        write(root / "many" / str(number) / "a.py")
    wait_for(lambda: len(seen(store)) == 40)


def test_lost_events_are_made_up_for_by_the_scan(store: Store, root: Path, running: FilesystemSource) -> None:
    running._hinter.unwatch(str(root))
    write(root / "silent.py")
    time.sleep(0.8)
    assert seen(store) == []
    running.rescan()
    wait_for(lambda: seen(store) == ["silent.py"])


def test_without_events_it_still_works(store: Store, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints.Hinter, "watch", lambda self, path: False)
    monkeypatch.setattr("collector.sources.filesystem.BLIND_SCAN_SECONDS", 0.2)
    store.add_path(root)
    source = FilesystemSource(store, store.list_paths(), lambda: None)
    source.start()
    wait_for(lambda: source.status()["state"] == "polling")
    write(root / "a.py")
    wait_for(lambda: seen(store) == ["a.py"])
    source.stop()


def test_it_stops_quickly_also_in_the_middle_of_a_scan(store: Store, root: Path) -> None:
    for number in range(300):
        write(root / "many" / str(number) / "a.py")
    store.add_path(root)
    source = FilesystemSource(store, store.list_paths(), lambda: None)
    source.start()
    began = time.monotonic()
    source.stop()
    assert time.monotonic() - began < 3
    again = FilesystemSource(store, store.list_paths(), lambda: None)
    again.rescan()
    assert again.status()["paths"][0]["files"] == 301


def test_a_second_look_at_an_unchanged_tree_compares_no_file(store: Store, root: Path) -> None:
    for number in range(50):
        write(root / str(number) / "a.py")
    source = scan(store, root)
    scanner = next(iter(source._watches.values())).scanner
    looks = {folder: scanner._look(folder) for folder in list(scanner.folders)}
    assert len(looks) == 53
    assert all(look is not None and look.files is None for look in looks.values())
    write(root / "7" / "a.py", "changed")
    changed = scanner._look(str(root / "7"))
    assert changed is not None
    assert changed.files is not None
    assert list(changed.files) == ["a.py"]


def test_one_broken_path_does_not_stop_the_others(
    store: Store, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "second" / "a.py")
    first, second = store.add_path(root), store.add_path(tmp_path / "second")
    source = FilesystemSource(store, [first, second], lambda: None)

    def check(scanner: PathScanner) -> None:
        if scanner.watched == first:
            raise RuntimeError("broken")

    monkeypatch.setattr(PathScanner, "_check_root", check)
    source.rescan()
    states = {path["id"]: path["state"] for path in source.status()["paths"]}
    assert states == {first.id: "missing", second.id: "polling"}
