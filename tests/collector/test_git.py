"""Past sessions from real repositories: an estimate, counted once, by nobody but the user."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector import wire
from collector.sources.git import claim_time, find_repositories, import_history, preview
from collector.sources.git_log import Commit, read_commits
from collector.store import Store
from collector.timeline import spans
from collector.timeline.materialise import materialise
from tests.collector.conftest import MONDAY_MS, make_observation

ME = "ada@example.org"
HOUR_MS = 3_600_000
NOW_MS = wire.now_ms()


@pytest.fixture(autouse=True)
def _clean_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


Repository = Callable[..., Path]


def git(folder: Path, *arguments: str, **env: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, env=os.environ | env
    )
    return done.stdout


def make_repository(folder: Path, email: str = ME) -> Path:
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "config", "user.email", email)
    git(folder, "config", "user.name", "Ada")
    return folder


def commit(folder: Path, hours_ago: float, email: str = ME, **files: int) -> None:
    """A commit that adds that many lines to each of the files (`a__py` is a.py)."""
    for name, lines in files.items():
        path = folder / name.replace("__", ".")
        text = path.read_text() if path.exists() else ""
        path.write_text(text + "line\n" * lines)
    git(folder, "add", "-A")
    date = f"@{(NOW_MS - round(hours_ago * HOUR_MS)) // 1000} +0000"
    who = {"GIT_AUTHOR_EMAIL": email, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    git(folder, "commit", "-q", "--allow-empty", "-m", "work", **who)


def sessions(store: Store) -> list[dict]:
    materialise(store, wire.now_ms())
    rows = store.export(wire.ExportRequest(limit=5000))["sessions"]
    return sorted((row for row in rows if not row.get("deleted")), key=lambda row: row["activeSegments"])


def total_seconds(store: Store) -> int:
    segments = [tuple(pair) for row in sessions(store) for pair in row["activeSegments"]]
    assert spans.measure(segments) == spans.measure(spans.union(segments)), "estimates overlap"
    return spans.measure(segments) // 1000


def test_commits_become_stretches(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "code" / "shop")
    commit(repository, 50, a__py=10)
    commit(repository, 49, b__py=10)
    commit(repository, 46, c__py=10)
    assert preview([tmp_path / "code"]) == (1, 3)
    assert import_history(store, [tmp_path / "code"]) == 3
    found = [(row["fileName"], row["totalDuration"]) for row in sessions(store)]
    assert found == [("a.py", 1800), ("b.py", 3600), ("c.py", 1800)]
    first = sessions(store)[0]
    assert (first["sources"], first["editor"], first["linesAdded"]) == (["git"], "git", 10)
    assert (first["projectName"], first["projectPath"]) == ("shop", str(repository))
    assert first["filePath"] == str(repository / "a.py")
    assert first["isActive"] is False


def test_a_commits_time_goes_to_the_files_it_changed_most(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 40, small__py=10, large__py=30)
    (repository / "poetry.lock").write_text("x\n" * 5000)
    (repository / "logo.png").write_bytes(b"\x89PNG\0\0")
    commit(repository, 39, small__py=1)
    import_history(store, [repository])
    by_name = {row["fileName"]: row for row in sessions(store)}
    assert by_name["large.py"]["totalDuration"] == 1350
    assert "poetry.lock" not in by_name
    assert total_seconds(store) == 1800 + 3600


def test_a_second_import_adds_nothing(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 50, a__py=10)
    commit(repository, 49, a__py=10)
    assert import_history(store, [repository]) == 2
    before = sessions(store)
    assert import_history(store, [repository]) == 0
    assert sessions(store) == before


def test_amended_and_copied_commits_add_no_time(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 50, a__py=10)
    commit(repository, 49, a__py=10)
    import_history(store, [repository])
    git(repository, "commit", "-q", "--amend", "--no-edit", "-m", "other words")
    git(tmp_path, "clone", "-q", str(repository), str(tmp_path / "copy"))
    git(tmp_path / "copy", "config", "user.email", ME)
    assert import_history(store, [tmp_path]) == 0
    assert total_seconds(store) == 1800 + 3600


def test_new_commits_and_another_repository_fill_only_what_is_free(store: Store, tmp_path: Path) -> None:
    one = make_repository(tmp_path / "one")
    commit(one, 50, a__py=10)
    import_history(store, [one])
    two = make_repository(tmp_path / "two")
    commit(two, 49.75, b__py=10)
    commit(two, 50.25, c__py=10)
    import_history(store, [tmp_path])
    # 50.75 to 50.25 for c, from there to 50 was claimed by a, and b has the quarter after it.
    assert total_seconds(store) == round((50.75 - 49.75) * 3600)


def test_only_the_users_own_commits_count(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 50, email="eve@example.org", a__py=10)
    commit(repository, 40, email="ADA@example.org", b__py=10)
    assert import_history(store, [repository]) == 1
    assert [row["fileName"] for row in sessions(store)] == ["b.py"]
    assert import_history(store, [repository], author="eve@example.org") == 1


def test_only_recent_commits_count(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 24 * 100, a__py=10)
    commit(repository, 24 * 10, b__py=10)
    assert preview([repository]).commits == 1
    assert preview([repository], days=365).commits == 2
    assert import_history(store, [repository], days=365) == 2


def test_commits_of_the_future_do_not_claim_it(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, -0.25, a__py=10)
    commit(repository, -24 * 365, b__py=10)
    import_history(store, [repository])
    elapsed_seconds = (wire.now_ms() - NOW_MS) / 1000
    assert total_seconds(store) <= 15 * 60 + elapsed_seconds


def test_better_sources_keep_their_time(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 50, a__py=10)
    start_ms = NOW_MS - 50 * HOUR_MS - 20 * 60_000
    seconds = [(start_ms - MONDAY_MS) / 1000 + minute * 60 for minute in (0, 5, 10)]
    store.add_observations([make_observation(str(repository / "a.py"), second, editor="vim") for second in seconds])
    import_history(store, [repository])
    by_editor: dict[str, int] = {}
    for row in sessions(store):
        by_editor[row["editor"]] = by_editor.get(row["editor"], 0) + row["totalDuration"]
    assert by_editor == {"vim": 600, "git": 1200}
    assert total_seconds(store) == 1800


def test_other_branches_count_and_merges_do_not(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 60, a__py=10)
    git(repository, "checkout", "-q", "-b", "side")
    commit(repository, 50, b__py=10)
    git(repository, "checkout", "-q", "main")
    commit(repository, 40, c__py=10)
    assert preview([repository]).commits == 3
    git(repository, "merge", "-q", "--no-edit", "side")
    assert preview([repository]).commits == 3


def test_names_that_are_odd_survive(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    (repository / "tab\tand\nline.py").write_text("x\n")
    (repository / "ünï.py").write_text("x\n")
    commit(repository, 1)
    (only,) = read_commits(repository, NOW_MS - 5 * HOUR_MS)
    assert sorted(change.path for change in only.files) == ["tab\tand\nline.py", "ünï.py"]


def test_repositories_are_found_once_and_not_inside_ignored_folders(tmp_path: Path) -> None:
    make_repository(tmp_path / "a")
    make_repository(tmp_path / "deep" / "b")
    make_repository(tmp_path / "a" / "node_modules" / "c")
    git(tmp_path / "a", "commit", "-q", "--allow-empty", "-m", "x")
    git(tmp_path / "a", "worktree", "add", "-q", str(tmp_path / "linked"))
    found = find_repositories([tmp_path, tmp_path / "a"])
    assert sorted(path.name for path in found) == ["a", "b", "linked"]


def test_nothing_that_the_repository_configures_is_run(store: Store, tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 5, a__py=10)
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "core.pager", "core.sshCommand", "gpg.program", "diff.x.textconv"):
        git(repository, "config", key, str(trap))
    git(repository, "config", "log.showSignature", "true")
    (repository / ".gitattributes").write_text("*.py diff=x\n")
    assert import_history(store, [repository]) == 1
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("make", ["empty", "broken", "missing"])
def test_a_repository_that_cannot_be_read_adds_nothing(store: Store, tmp_path: Path, make: str) -> None:
    if make == "empty":
        make_repository(tmp_path / "shop")
    elif make == "broken":
        repository = make_repository(tmp_path / "shop")
        commit(repository, 5, a__py=1)
        (repository / ".git" / "HEAD").write_text("ref: refs/heads/gone\n")
        (repository / ".git" / "refs" / "heads" / "main").write_text("not a commit\n")
    assert import_history(store, [tmp_path / "shop"]) == 0


def test_a_machine_without_git_has_no_history(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = make_repository(tmp_path / "shop")
    commit(repository, 5, a__py=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert preview([repository]) == (1, 0)


times = st.lists(st.integers(0, 20 * HOUR_MS), max_size=12, unique=True).map(sorted)


@given(first=times, second=times)
def test_claims_never_overlap_however_often_they_are_made(first: list[int], second: list[int]) -> None:
    def claim(moments: list[int], claimed: list[tuple[int, int]]) -> list[tuple[int, int]]:
        commits = [Commit(Path("/r"), str(moment), moment, ME, ()) for moment in moments]
        return [claim.span for claim in claim_time(commits, claimed, 21 * HOUR_MS)]

    one = claim(first, [])
    two = claim(sorted({*first, *second}), spans.union(one))
    both = [*one, *two]
    assert spans.measure(spans.union(both)) == spans.measure(both)
    assert claim(sorted({*first, *second}), spans.union(both)) == []
