"""Reads commits with `git log`: read-only, without running anything that the repository configures."""

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SECONDS = 60
EARLIEST_SECONDS = 100_000_000
"""git takes smaller numbers for dates in words."""

MOST_BYTES = 64 * 1024 * 1024

# A repository below a watched path may be somebody else's download; its configuration must not choose programs to run.
HARDENED = (
    "git", "--no-pager", "--no-optional-locks", "--no-replace-objects", "--literal-pathspecs",
    "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}", "-c", f"core.attributesFile={os.devnull}",
    "-c", "core.pager=cat", "-c", "diff.external=", "-c", "log.showSignature=false", "-c", "gc.auto=0",
    "-c", "maintenance.auto=false", "-c", "protocol.allow=never", "-c", "core.sshCommand=false",
    "-c", "gpg.program=false",
)  # fmt: skip

LOG = (
    "log", "--branches", "HEAD", "--no-merges", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-show-signature",
    "--no-notes", "--no-color", "--no-mailmap", "--ignore-submodules=all", "--numstat", "-z",
    "--format=%x01%H%x00%at%x00%ae%x00",
)  # fmt: skip

log = logging.getLogger(__name__)


class FileChange(NamedTuple):
    """One file in a commit, by its path in the repository."""

    path: str
    added: int
    deleted: int

    @property
    def size(self) -> int:
        """How much was changed; a binary file or a pure move counts as one line."""
        return max(self.added + self.deleted, 1)


class Commit(NamedTuple):
    """One commit: when its author made it, and what it changed."""

    repository: Path
    sha: str
    time_ms: int
    email: str
    files: tuple[FileChange, ...]


def read_commits(repository: Path, since_ms: int, author: str | None = None) -> list[Commit]:
    """The commits on local branches by `author`, or the repository's own user, since then; none on any failure."""
    email = author or read_email(repository)
    if not email:
        log.info("%s has no user.email; its history is not read.", repository)
        return []
    output = run_git(repository, *LOG, f"--since=@{max(since_ms // 1000, EARLIEST_SECONDS)}")
    wanted = email.casefold()
    commits = parse_log(repository, output)
    return [c for c in commits if c.email.casefold() == wanted and c.time_ms >= since_ms and c.files]


def read_email(repository: Path) -> str:
    """The e-mail address that a commit made here would carry; empty when none is configured."""
    return run_git(repository, "config", "--get", "user.email").decode("utf-8", "replace").strip()


def parse_log(repository: Path, output: bytes) -> Iterator[Commit]:
    """The commits in the output of `LOG`: records start with byte 1, fields and numstat lines end with NUL."""
    for record in output.split(b"\x01")[1:]:
        sha, time, email, *lines = (record + b"\0\0\0").split(b"\0")
        if not time.isdigit():  # cut off, or a file name with the separator in it
            continue
        files = tuple(change for line in lines if (change := parse_change(line)) is not None)
        yield Commit(repository, sha.decode("ascii"), int(time) * 1000, email.decode("utf-8", "replace"), files)


def parse_change(line: bytes) -> FileChange | None:
    """A line of numstat, `added<tab>deleted<tab>path`, with `-` for binary files; None for anything else."""
    parts = line.lstrip(b"\n").split(b"\t", 2)
    if len(parts) != 3:
        return None
    added, deleted, path = parts
    return FileChange(os.fsdecode(path), int(added) if added.isdigit() else 0, int(deleted) if deleted.isdigit() else 0)


def run_git(repository: Path, *arguments: str) -> bytes:
    """The output of a git command; empty when it fails, takes too long, or git is not installed."""
    command = [*HARDENED, "-C", str(repository), *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=SECONDS,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("Cannot read the history of %s: %s", repository, error)
        return b""
    if done.returncode != 0 and arguments[0] == "log":
        log.info("git log in %s: %s", repository, done.stderr.decode("utf-8", "replace").strip()[:300])
    return done.stdout[:MOST_BYTES] if done.returncode == 0 else b""


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead git elsewhere, and never asking anybody anything."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1"}
