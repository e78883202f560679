"""Which files and folders are nobody's work: what tools make, and what the project's `.gitignore` files say."""

import re
from collections.abc import Iterable
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

from pathspec import GitIgnoreSpec

FOLDERS = frozenset(
    {
        ".git", ".hg", ".svn", ".bzr", ".jj", "node_modules", "bower_components", "__pycache__", ".venv", "venv",
        ".tox", ".nox", ".eggs", "site-packages", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis",
        ".cache", ".gradle", ".idea", ".vs", ".terraform", ".next", ".nuxt", ".svelte-kit", ".parcel-cache", ".turbo",
        ".direnv", ".pnpm-store", ".yarn", "Pods", "DerivedData", ".dart_tool", ".stack-work", ".Trash",
        "$RECYCLE.BIN", ".Spotlight-V100", ".fseventsd",
    }
)  # fmt: skip

FILES = (
    ".DS_Store", "Thumbs.db", "desktop.ini", "4913", "*~", "#*#", ".#*", "*.sw[a-p]", "*.tmp", "*.temp", "*.part",
    "*.crdownload", ".goutputstream-*", "*___jb_tmp___", "*___jb_old___", ".~lock.*", "*.py[cod]", "*.o", "*.obj",
    "*.so", "*.a", "*.dll", "*.dylib", "*.class", "*.log", "*.pid", "*.lock", "*.db", "*.db-*", "*.sqlite*",
    "*.tsbuildinfo",
)  # fmt: skip

NOT_WORK = re.compile("|".join(translate(glob) for glob in FILES))

MARK_OF_A_CACHE = "CACHEDIR.TAG"
GITIGNORE = ".gitignore"
LARGEST_GITIGNORE = 256 * 1024


class Rule(NamedTuple):
    """One `.gitignore`: the folder that its patterns start from, and the patterns."""

    folder: str
    spec: GitIgnoreSpec


Rules = tuple[Rule, ...]
"""The rules that hold in a folder, those from the farthest folder first."""


def choose_ignored(folder: str, entries: Iterable[tuple[str, bool]], rules: Rules) -> frozenset[str]:
    """The names in `folder` to leave alone, out of `(name, is_folder)`."""
    return frozenset(name for name, is_folder in entries if is_ignored(folder, name, is_folder, rules))


def is_ignored(folder: str, name: str, is_folder: bool, rules: Rules) -> bool:
    """Whether one entry of `folder` is to be left alone."""
    if name in FOLDERS if is_folder else NOT_WORK.fullmatch(name) is not None:
        return True
    path = f"{folder}/{name}{'/' if is_folder else ''}".replace("\\", "/")
    for rule in reversed(rules):
        decision = rule.spec.check_file(path[len(rule.folder) :].lstrip("/")).include
        if decision is not None:
            return decision
    return False


def rules_inside(folder: str, names: Iterable[str], outer: Rules) -> Rules:
    """The rules in `folder`: those from outside unless a repository begins here, and its own `.gitignore`."""
    present = set(names)
    rules = read_rules(Path(folder), ".git/info/exclude") if ".git" in present else outer
    return rules + read_rules(Path(folder), GITIGNORE) if GITIGNORE in present else rules


def rules_above(root: str) -> Rules:
    """The rules that hold at a watched root because it lies inside a repository."""
    above = Path(root).parents
    top = next((index for index, folder in enumerate(above) if (folder / ".git").exists()), None)
    if top is None:
        return ()
    rules = read_rules(above[top], ".git/info/exclude")
    for folder in reversed(above[: top + 1]):
        rules += read_rules(folder, GITIGNORE)
    return rules


def read_rules(folder: Path, name: str) -> Rules:
    """The rules of one ignore file; none when it is not there or not a file of patterns."""
    try:
        with (folder / name).open(encoding="utf-8", errors="replace") as file:
            lines = file.read(LARGEST_GITIGNORE).splitlines()
        return (Rule(str(folder).replace("\\", "/"), GitIgnoreSpec.from_lines(lines)),)
    except (OSError, ValueError):
        return ()
