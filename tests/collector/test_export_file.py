"""The export as a file: whole or not there, equal to what a hub would have pulled, and only for the paired hub."""

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from collector import export_file, wire
from collector.export_file import ExportFileError, write_export_file
from collector.runs import add_run
from collector.store import Store
from collector.timeline.materialise import materialise
from tests.collector.api_fixtures import SECRET, make_link
from tests.collector.conftest import MONDAY_MS, make_observation

ROOT = Path(__file__).parent.parent.parent
HOUR_MS = 3_600_000


def work(store: Store, *names: str) -> None:
    """Two minutes on each file, long ago."""
    beats = [make_observation(f"/p/{name}.py", 60 * beat, editor=name) for name in names for beat in range(3)]
    store.add_observations(beats)
    materialise(store, MONDAY_MS + HOUR_MS)


def read(path: Path) -> tuple[dict, list[dict], dict]:
    """Head, pages and tail."""
    head, *pages, tail = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    return head, pages, tail


def pull(store: Store) -> list[dict]:
    """Every session as a hub is told it."""
    return store.export(wire.ExportRequest(limit=5000))["sessions"]


def test_it_holds_what_a_pull_brings_and_proves_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_file, "PAGE_ROWS", 3)
    store.save_link(make_link(store))
    work(store, *"abcdefgh")
    with store.write() as connection:
        add_run(connection, MONDAY_MS, MONDAY_MS + HOUR_MS)
    path = tmp_path / "laptop.muster"
    written = write_export_file(store, path)
    head, pages, tail = read(path)
    assert (head["format"], head["version"], head["deviceId"]) == ("muster-export", 1, store.identity.device_id)
    assert [len(page["sessions"]) for page in pages] == [3, 3, 2]
    assert [session for page in pages for session in page["sessions"]] == pull(store)
    assert (tail["pages"], tail["sessions"], tail["runs"]) == (3, 8, [[MONDAY_MS, MONDAY_MS + HOUR_MS]])
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    assert tail["mac"] == wire.export_file_mac(SECRET, hashlib.sha256(b"".join(lines[:-1])).digest())
    assert (written.sessions, written.pages, written.size) == (8, 3, path.stat().st_size)
    assert path.stat().st_mode & 0o777 == 0o600
    msgspec.json.decode(lines[1], type=wire.ExportPage)


def test_what_changes_while_it_writes_stands_on_a_later_page(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_file, "PAGE_ROWS", 2)
    store.save_link(make_link(store))
    work(store, "a", "b", "c")
    export, calls = store.export, []

    def export_and_go_on_working(request: wire.ExportRequest) -> dict:
        page = export(request)
        if not calls:
            work(store, "d")
            store.add_observations([make_observation("/p/a.py", 180, editor="a")])
            materialise(store, MONDAY_MS + HOUR_MS)
        calls.append(request)
        return page

    monkeypatch.setattr(store, "export", export_and_go_on_working)
    write_export_file(store, tmp_path / "x.muster")
    monkeypatch.undo()
    sent = [session for page in read(tmp_path / "x.muster")[1] for session in page["sessions"]]
    newest = {session["id"]: session for session in sent}
    assert newest == {session["id"]: session for session in pull(store)}
    assert len(sent) > len(newest) == 4


def test_an_empty_collector_writes_a_file_too(store: Store, tmp_path: Path) -> None:
    store.save_link(make_link(store))
    assert write_export_file(store, tmp_path / "x.muster").sessions == 0
    assert read(tmp_path / "x.muster")[1][0]["hasMore"] is False


def test_an_unpaired_collector_writes_none(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ExportFileError, match="not paired"):
        write_export_file(store, tmp_path / "x.muster")
    assert list(tmp_path.glob("*x.muster*")) == []


def test_a_failure_leaves_what_was_there(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save_link(make_link(store))
    path = tmp_path / "x.muster"
    path.write_bytes(b"the file of last week")

    def fill_the_disk(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(ExportFileError, match="No space left on device"):
        write_export_file(store, path)
    assert path.read_bytes() == b"the file of last week"
    assert [one.name for one in tmp_path.iterdir() if "x.muster" in one.name] == ["x.muster"]


def test_pairing_anew_meanwhile_is_said(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_file, "PAGE_ROWS", 1)
    store.save_link(make_link(store))
    work(store, "a", "b")
    export = store.export

    def export_and_pair(request: wire.ExportRequest) -> dict:
        page = export(request)
        store.adopt_device_id("another-device")
        return page

    monkeypatch.setattr(store, "export", export_and_pair)
    with pytest.raises(ExportFileError, match="paired again"):
        write_export_file(store, tmp_path / "x.muster")


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "MUSTER_COLLECTOR_DIR": str(tmp_path / "collector")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "collector", "export", *words]
        return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    return run


def test_the_command(store: Store, cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    path = tmp_path / "laptop.muster"
    unpaired = cli(str(path))
    assert (unpaired.returncode, path.exists()) == (1, False)
    assert unpaired.stderr == "Error: This machine is not paired, so no hub could believe the file. Pair it first.\n"
    store.save_link(make_link(store))
    work(store, "a", "b")
    told = cli(str(path))
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("2 sessions in ~/laptop.muster (")
    assert "Take it to Home" in told.stdout
    again = cli(str(path))
    assert again.returncode == 1
    assert "--force" in again.stderr
    before = path.read_bytes()
    assert cli(str(path), "--force").returncode == 0
    assert read(path)[1] == [json.loads(gzip.decompress(before).splitlines()[1])]
    assert "is a folder" in cli(str(tmp_path)).stderr
    nowhere = cli(str(tmp_path / "nowhere" / "x.muster"))
    assert (nowhere.returncode, "No such file or directory" in nowhere.stderr) == (1, True)
