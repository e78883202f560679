"""Past sessions from commit histories: an estimate for the time before the collector ran, marked as such.

The estimate: commits nearer than two hours belong to one stretch of work; the time before each commit back to the one
before it, or thirty minutes at the start of a stretch, was spent on the files that it changed the most. Time that an
earlier import has claimed is never claimed again, so an import may be repeated, and an amended or moved commit adds
nothing. Where another source saw the same time, the timeline believes that source.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from collector import wire
from collector.machine import machine_name, platform_name, zone_name
from collector.sources.entities import normalise_path, readable_path
from collector.sources.folders import find_repository_folders
from collector.sources.git_log import Commit, FileChange, read_commits
from collector.sources.ignoring import FOLDERS, NOT_WORK
from collector.store import Store
from collector.timeline import spans
from collector.timeline.observation import GIT_STREAM, Observation
from collector.timeline.projects import Project, read_repository
from collector.timeline.spans import Span

SOURCE = "git"
DAYS = 90
NEAR_MS = 2 * 3_600_000
BEFORE_FIRST_MS = 30 * 60_000
MOST_FILES = 5
"""A commit's time goes to this many files, in proportion to their changed lines."""

MOST_LINES = 400
"""More changed lines than this do not earn a file a greater share: they were moved, pasted or generated."""

GENERATED = frozenset({"package-lock.json", "pnpm-lock.yaml", "npm-shrinkwrap.json", "go.sum"})

SHORTEST_MS = 1_000
DEPTH = 5
MOST_FOLDERS = 20_000


class Preview(NamedTuple):
    """What an import would read."""

    repositories: int
    commits: int


class Claim(NamedTuple):
    """A commit, and the time that it stands for."""

    commit: Commit
    span: Span


def find_repositories(paths: Iterable[Path]) -> list[Path]:
    """The git repositories at or below the paths, each once; linked work trees count as their own."""
    found: dict[Path, None] = {}
    for path in paths:
        for folder in find_repository_folders(path, depth=DEPTH, most_folders=MOST_FOLDERS):
            found.setdefault(folder.resolve())
    return list(found)


def preview(paths: Sequence[Path], days: int = DAYS) -> Preview:
    """How many repositories and own commits there are, for the question whether to import them."""
    repositories = find_repositories(paths)
    return Preview(len(repositories), len(list_own_commits(repositories, days)))


def import_history(store: Store, paths: Sequence[Path], days: int = DAYS, author: str | None = None) -> int:
    """Adds observations for the commits of the last `days`, and returns how many are new.

    Only commits by `author` (an e-mail address), by default each repository's own configured one.
    """
    commits = list_own_commits(find_repositories(paths), days, author)
    claims = list(claim_time(commits, read_claimed(store), wire.now_ms()))
    zone, received_ms = zone_name(), wire.now_ms()
    return store.add_observations([o for claim in claims for o in observe_claim(claim, zone, received_ms)])


def list_own_commits(repositories: Iterable[Path], days: int, author: str | None = None) -> list[Commit]:
    """The user's commits of all repositories, oldest first; a commit that several hold counts once."""
    since_ms = wire.now_ms() - days * 86_400_000
    unique: dict[str, Commit] = {}
    for repository in repositories:
        for commit in read_commits(repository, since_ms, author):
            unique.setdefault(commit.sha, commit)
    return sorted(unique.values(), key=lambda commit: (commit.time_ms, commit.sha))


def claim_time(commits: Sequence[Commit], claimed: list[Span], now_ms: int) -> Iterator[Claim]:
    """The time that each commit stands for: disjoint, outside `claimed`, and never later than now."""
    earlier_ms: int | None = None
    for commit in commits:
        is_near = earlier_ms is not None and commit.time_ms - earlier_ms < NEAR_MS
        start_ms = earlier_ms if is_near and earlier_ms is not None else commit.time_ms - BEFORE_FIRST_MS
        earlier_ms = commit.time_ms
        window = [(max(start_ms, 0), min(commit.time_ms, now_ms))]
        for span in spans.subtract([s for s in window if s[0] < s[1]], claimed):
            yield Claim(commit, span)


def observe_claim(claim: Claim, zone: str | None, received_ms: int) -> Iterator[Observation]:
    """One observation for each of the commit's main files: the time is split among them, one after the other."""
    commit, (start_ms, end_ms) = claim
    project = read_repository(commit.repository) or Project(commit.repository.name, str(commit.repository))
    files = choose_files(commit)
    weight = sum(min(change.size, MOST_LINES) for change in files)
    passed = 0
    for change in files:
        begin_ms = start_ms + (end_ms - start_ms) * passed // weight
        passed += min(change.size, MOST_LINES)
        stop_ms = start_ms + (end_ms - start_ms) * passed // weight
        if stop_ms - begin_ms >= SHORTEST_MS:
            yield observe_change(change, (begin_ms, stop_ms), project, zone, received_ms)


def choose_files(commit: Commit) -> list[FileChange]:
    """The files that a commit was mostly about, without what tools write unless there is nothing else."""
    written = [change for change in commit.files if is_written_by_hand(change.path)]
    return sorted(written or commit.files, key=lambda change: (-change.size, change.path))[:MOST_FILES]


def is_written_by_hand(path: str) -> bool:
    """Whether a file in a commit is likely a person's work."""
    *folders, name = path.split("/")
    is_tool_made = NOT_WORK.fullmatch(name) or name in GENERATED or ".min." in name
    return not is_tool_made and FOLDERS.isdisjoint(folders) and "vendor" not in folders


def observe_change(change: FileChange, span: Span, project: Project, zone: str | None, received_ms: int) -> Observation:
    """One file's share of a commit."""
    return Observation(
        source=SOURCE,
        editor=GIT_STREAM,
        entity=normalise_path(readable_path(f"{project.path}/{change.path}")),
        kind="commit",
        time_ms=span[0],
        end_ms=span[1],
        received_ms=received_ms,
        machine=machine_name(),
        platform=platform_name(),
        project=project.name,
        project_path=normalise_path(project.path),
        timezone=zone,
        lines_added=change.added,
        lines_deleted=change.deleted,
    )


def read_claimed(store: Store) -> list[Span]:
    """The time that earlier imports have claimed."""
    with store.read() as connection:
        rows = connection.execute("SELECT time_ms, end_ms FROM observations WHERE stream = ?", (GIT_STREAM,))
        return spans.union(rows.fetchall())
