"""The folder in which export files arrive and wait: names, moves, and what may be touched. No database.

    inbox/NAME.muster            put there by a person
    inbox/taken/ID.muster        being imported by a job
    inbox/refused/NAME-ID.muster could not be imported; NAME-ID.txt beside it says why

A move is a rename, so that two clocks never take one file twice.
"""

import os
import stat
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from webapp.config import current_config, make_private_dir

SUFFIX = ".muster"
PART = ".part"
BROKEN_OFF_SECONDS = 3600.0
QUIET_SECONDS = 5.0
CHUNK = 1024 * 1024
LONGEST_NAME = 80
MOST_REFUSED = 100
"""Of what was refused the oldest go: anybody with an account may send files, and nobody may look."""


class Seen(NamedTuple):
    """How a file looked, and since when it looks so (monotonic)."""

    size: int
    changed_ns: int
    since: float


_seen: dict[Path, Seen] = {}


def root() -> Path:
    """The inbox, made when it is not there."""
    return make_private_dir(current_config().data_dir / "inbox")


def taken_path(file_id: str) -> Path:
    """Where a file waits while its job runs."""
    return make_private_dir(root() / "taken") / f"{file_id}{SUFFIX}"


def refused_path(file_id: str, name: str) -> Path:
    """Where a file is kept that could not be imported."""
    return make_private_dir(root() / "refused") / f"{Path(name).stem}-{file_id[:8]}{SUFFIX}"


def list_settled(now: float | None = None) -> list[Path]:
    """The files that nobody has been writing for QUIET_SECONDS: neither size nor time of change moved."""
    now = time.monotonic() if now is None else now
    there = {path: status for path in root().glob(f"*{SUFFIX}") if (status := _look(path)) is not None}
    for path, status in there.items():
        known = _seen.get(path)
        if known is None or known[:2] != (status.st_size, status.st_mtime_ns):
            _seen[path] = Seen(status.st_size, status.st_mtime_ns, now)
    for path in _seen.keys() - there.keys():
        del _seen[path]
    return sorted(path for path in there if now - _seen[path].since >= QUIET_SECONDS)


def take(path: Path) -> str | None:
    """Moves a file out of the inbox; its id from now on, or None when somebody else was quicker."""
    file_id = str(uuid.uuid4())
    try:
        path.rename(taken_path(file_id))
    except FileNotFoundError:
        return None
    return file_id


def keep(stream: IO[bytes]) -> str:
    """Writes what was uploaded where a job finds it; its id."""
    file_id = str(uuid.uuid4())
    path = taken_path(file_id)
    partial = path.with_suffix(PART)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            while chunk := stream.read(CHUNK):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return file_id


def find(file_id: str, name: str) -> Path | None:
    """The file of a job; one that had been refused is taken back, because somebody tries again."""
    path, refused = taken_path(file_id), refused_path(file_id, name)
    with suppress(FileNotFoundError):
        refused.rename(path)
        refused.with_suffix(".txt").unlink(missing_ok=True)
    return path if path.is_file() else None


def list_taken() -> list[tuple[str, float]]:
    """`(id, seconds since it was put there)` of each taken file. An upload that broke off long ago is removed."""
    found = []
    for path in sorted((root() / "taken").glob("*")):
        status = _look(path)
        age_seconds = time.time() - status.st_ctime if status is not None else 0.0
        if status is not None and path.suffix == SUFFIX:
            found.append((path.stem, age_seconds))
        elif path.suffix == PART and age_seconds > BROKEN_OFF_SECONDS:
            path.unlink(missing_ok=True)
    return found


def refuse(file_id: str, name: str, reason: str) -> None:
    """Puts a taken file aside, with the reason beside it."""
    target = refused_path(file_id, name)
    target.with_suffix(".txt").write_text(reason + "\n", encoding="utf-8")
    with suppress(FileNotFoundError):
        taken_path(file_id).rename(target)
    refused = sorted(target.parent.glob(f"*{SUFFIX}"), key=lambda path: (path.lstat().st_ctime_ns, path.name))
    for path in refused[:-MOST_REFUSED]:
        path.unlink(missing_ok=True)
        path.with_suffix(".txt").unlink(missing_ok=True)


def drop(file_id: str) -> None:
    """Deletes a taken file."""
    taken_path(file_id).unlink(missing_ok=True)


def clean_name(name: str | None) -> str:
    """A file's name as people may be shown it and any file system takes it."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    plain = "".join(letter for letter in last if letter.isprintable() and letter not in '<>:"|?*').strip(". ")
    stem = plain.removesuffix(SUFFIX)[:LONGEST_NAME].encode("utf-8", "replace")[:200].decode("utf-8", "ignore")
    return f"{stem or 'export'}{SUFFIX}"


def _look(path: Path) -> os.stat_result | None:
    """The file's status; None for what is gone, or no plain file."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            return status
    return None
