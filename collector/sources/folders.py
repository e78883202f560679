"""Where this user keeps code: the folders to offer when nobody has named any yet."""

import os
from collections.abc import Iterator
from pathlib import Path

from collector.sources.ignoring import FOLDERS

USUAL = (
    "code", "Code", "src", "source", "sources", "projects", "Projects", "dev", "Development", "develop", "work",
    "workspace", "workspaces", "repos", "repositories", "git", "github", "GitHub", "gitlab", "go/src", "Developer",
    "Sites", "Documents/GitHub", "Documents/code", "Documents/Projects", "Documents/git", "source/repos",
    "PycharmProjects", "IdeaProjects", "WebstormProjects", "CLionProjects", "GolandProjects", "RustroverProjects",
    "StudioProjects", "eclipse-workspace", "AndroidStudioProjects", "Desktop/code", "Desktop/projects",
)  # fmt: skip

DEPTH = 3
MOST_FOLDERS = 2_000
"""Looked at per candidate, so that a huge or slow folder does not hold up the first start."""


def suggest_code_folders(home: Path) -> list[Path]:
    """The usual folders below `home` that exist and hold at least one git repository, each tree once."""
    found: list[Path] = []
    for name in USUAL:
        candidate = home / name
        if not candidate.is_dir() or not holds_repository(candidate):
            continue
        if not any(is_within(candidate, other) for other in found):
            found = [other for other in found if not is_within(other, candidate)] + [candidate]
    return found


def holds_repository(folder: Path) -> bool:
    """Whether a git repository lies at `folder` or not far below it."""
    return next(find_repository_folders(folder, depth=DEPTH, most_folders=MOST_FOLDERS), None) is not None


def find_repository_folders(folder: Path, *, depth: int, most_folders: int) -> Iterator[Path]:
    """Folders with a `.git` at `folder` or below, nearest first, without looking inside them for more."""
    waiting = [(folder, 0)]
    for _ in range(most_folders):
        if not waiting:
            return
        current, level = waiting.pop(0)
        names = list_folders(current)
        if ".git" in names or (current / ".git").is_file():
            yield current
        elif level < depth:
            waiting += [(current / name, level + 1) for name in sorted(names) if name not in FOLDERS]


def list_folders(folder: Path) -> set[str]:
    """The names of the folders in `folder`; none when it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_dir(follow_symlinks=False)}
    except OSError:
        return set()


def is_within(folder: Path, other: Path) -> bool:
    """Whether `folder` is `other`, lies in it, or is another name for it (letter case, links)."""
    return folder.resolve().is_relative_to(other.resolve()) or folder.samefile(other)
