"""Which project a file belongs to: its git repository, else the folder below the watched root that it is in."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

CACHE_SECONDS = 60
MARKER = ".wakatime-project"


class Project(NamedTuple):
    """A project's name and folder, and the branch that is checked out there (None when it has none)."""

    name: str
    path: str
    branch: str | None = None


class Projects:
    """Finds projects of files below `roots` and elsewhere; looks at the disk at most once a minute per folder."""

    def __init__(self, roots: Iterable[str] = (), *, home: str | None = None) -> None:
        self._roots = sorted((os.path.normpath(root) for root in roots), key=len, reverse=True)
        self._home = os.path.normpath(home or Path.home())
        self._found: dict[str, Project | None] = {}
        self._forget_at = 0.0

    def find(self, path: str) -> Project | None:
        """The project of a file, or None for a file outside every repository and every watched root."""
        if time.monotonic() >= self._forget_at:
            self._found.clear()
            self._forget_at = time.monotonic() + CACHE_SECONDS
        folder = os.path.dirname(path)  # noqa: PTH120 - this runs for every event; Path is five times slower
        if folder not in self._found:
            self._found[folder] = self._look(folder) if os.path.isabs(folder) else None  # noqa: PTH117
        return self._found[folder]

    def _look(self, folder: str) -> Project | None:
        for candidate in ancestors(folder):
            # A home folder kept in git (dot files) is not the project of everything in it.
            if candidate == self._home and candidate not in self._roots:
                break
            project = read_marker(Path(candidate)) or read_repository(Path(candidate))
            if project:
                return project
        return self._child_of_root(folder)

    def _child_of_root(self, folder: str) -> Project | None:
        for root in self._roots:
            if folder == root:
                return Project(Path(root).name, root)
            if folder.startswith(root.rstrip(os.sep) + os.sep):
                child = Path(root) / Path(folder).relative_to(root).parts[0]
                return Project(child.name, str(child))
        return None


def ancestors(folder: str) -> list[str]:
    """The folder and the ones above it, nearest first."""
    path = Path(folder)
    return [str(path), *(str(parent) for parent in path.parents)]


def read_marker(folder: Path) -> Project | None:
    """A project that a `.wakatime-project` file names: first line the name, second line the branch."""
    try:
        lines = (folder / MARKER).read_text(encoding="utf-8", errors="replace")[:2000].splitlines()
    except OSError:
        return None
    name = lines[0].strip() if lines else ""
    branch = lines[1].strip() if len(lines) > 1 else ""
    return Project(name or folder.name, str(folder), branch or None)


def read_repository(folder: Path) -> Project | None:
    """The git repository at `folder`, if it is one."""
    git = find_git_folder(folder)
    return None if git is None else Project(folder.name, str(folder), read_branch(git))


def find_git_folder(folder: Path) -> Path | None:
    """The git directory of a working tree; in linked trees and submodules `.git` is a file that names it."""
    dot_git = folder / ".git"
    try:
        if dot_git.is_dir():
            return dot_git if (dot_git / "HEAD").exists() else None
        text = dot_git.read_text(encoding="utf-8", errors="replace")[:4096]
    except OSError:
        return None
    if not text.startswith("gitdir:"):
        return None
    target = folder / text.removeprefix("gitdir:").strip()
    return target if target.is_dir() else None


def read_branch(git_folder: Path) -> str | None:
    """The branch that HEAD names, None when it is detached."""
    try:
        head = (git_folder / "HEAD").read_text(encoding="utf-8", errors="replace")[:1024].strip()
    except OSError:
        return None
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None
