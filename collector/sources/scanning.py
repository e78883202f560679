"""Looks through one watched path and finds what changed since the last look.

A look at an unchanged folder costs one listing and one `stat` per file, and asks neither database nor ignore rules.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from collector.sources import ignoring, manifest
from collector.sources.entities import readable_path
from collector.sources.ignoring import GITIGNORE, Rules
from collector.sources.manifest import FileStamp, Listing
from collector.store import Store, WatchedPath

SLACK_MS = 2_000
"""File systems and clocks may disagree by this much about when a file was written."""

RECENT_MS = 60_000
FOLDERS_PER_WRITE = 200


class Save(NamedTuple):
    """A file that somebody wrote: where and when."""

    path: str
    time_ms: int


@dataclass(slots=True)
class Folder:
    """What is remembered of a folder between looks; `digest` is of everything that a look would notice."""

    rules: Rules = ()
    names: int = 0
    digest: int | None = None
    rules_stamp: FileStamp | None = None
    ignored: frozenset[str] = frozenset()
    file_count: int = 0


class Look(NamedTuple):
    """What one look at a folder found: subfolders, and the files where they may differ from the manifest."""

    folders: list[str]
    files: Listing | None


Entries = list[tuple[os.DirEntry[str], bool]]
"""What a folder holds, each with whether it is a folder itself."""


class PathMissingError(Exception):
    """The watched path is not there now, or is suspiciously empty; nothing in it is taken for deleted."""


@dataclass(slots=True)
class PathScanner:
    """The looks at one watched path. Not thread-safe: one thread looks."""

    store: Store
    watched: WatchedPath
    clock: Callable[[], int]
    is_stopping: Callable[[], bool]
    on_saves: Callable[[list[Save]], None]
    folders: dict[str, Folder] = field(default_factory=dict)
    is_scanned: bool = False

    def scan(self) -> None:
        """Looks through everything. PathMissingError when the path itself is gone."""
        self._check_root()
        started_ms = self.clock()
        seen: set[str] = set()
        self._look_below([self.watched.path], seen)
        if self.is_stopping():
            return
        for folder in self.folders.keys() - seen:
            del self.folders[folder]
        with self.store.write() as connection:
            known = manifest.list_folders(connection, self.watched.id)
            manifest.forget_folders(connection, self.watched.id, known - {readable_path(path) for path in seen})
            manifest.note_scan(connection, self.watched.id, started_ms)
        self.is_scanned = True

    def look_at(self, hinted: set[str]) -> None:
        """Looks at folders in which something is said to have happened, and at new ones in them."""
        if not self.is_scanned:
            return
        self._check_root()
        known = {self._nearest_known(folder) for folder in hinted}
        self._look_below(sorted(folder for folder in known if folder), set(), only_new=True)

    @property
    def file_count(self) -> int:
        """Files that the path holds, without the ignored ones."""
        return sum(folder.file_count for folder in list(self.folders.values()))

    def _check_root(self) -> None:
        try:
            with os.scandir(self.watched.path) as entries:
                is_empty = next(entries, None) is None
        except OSError as error:
            raise PathMissingError(error.strerror or str(error)) from error
        if is_empty:
            with self.store.read() as connection:
                if not manifest.is_empty(connection, self.watched.id):
                    raise PathMissingError("It is empty; is its disk connected?")

    def _nearest_known(self, folder: str) -> str | None:
        while folder not in self.folders:
            parent = os.path.dirname(folder)  # noqa: PTH120 - runs for every hint
            if parent == folder or not is_below(folder, self.watched.path):
                return None
            folder = parent
        return folder

    def _look_below(self, start: list[str], seen: set[str], *, only_new: bool = False) -> None:
        oldest_ms = self._oldest_ms()
        waiting = list(reversed(start))
        changed: list[tuple[str, Listing]] = []
        while waiting and not self.is_stopping():
            folder = waiting.pop()
            look = self._look(folder)
            if look is None:
                continue
            seen.add(folder)
            waiting += [path for path in look.folders if not only_new or path not in self.folders]
            if look.files is not None:
                changed.append((readable_path(folder), look.files))
            if len(changed) >= FOLDERS_PER_WRITE:
                self._write(changed, oldest_ms)
                changed = []
        self._write(changed, oldest_ms)

    def _oldest_ms(self) -> int:
        """A new file with an earlier time was not written since the last look, but moved or unpacked.

        At the first look that is what was there before the path was added. Later the time of the last look is not
        believed when the clock has been set back since.
        """
        with self.store.read() as connection:
            last_ms = manifest.last_scan_ms(connection, self.watched.id)
        if last_ms is None:
            return self.watched.added_at_ms
        return min(last_ms, self.clock() - RECENT_MS) - SLACK_MS

    def _look(self, path: str) -> Look | None:
        """What is in a folder now; None when it cannot be read."""
        try:
            with os.scandir(path) as found:
                entries = [(entry, entry.is_dir(follow_symlinks=False)) for entry in found]
        except OSError:
            self.folders.pop(path, None)
            return None
        folder = self.folders.setdefault(path, Folder())
        self._keep_rules(path, folder, entries)
        kept = [(entry, is_folder) for entry, is_folder in entries if entry.name not in folder.ignored]
        files = {
            readable_path(entry.name): stamp
            for entry, is_folder in kept
            if not is_folder and (stamp := read_stamp(entry)) is not None
        }
        digest, was = hash(frozenset(files.items())), folder.digest
        folder.digest, folder.file_count = digest, len(files)
        return Look([entry.path for entry, is_folder in kept if is_folder], None if digest == was else files)

    def _keep_rules(self, path: str, folder: Folder, entries: Entries) -> None:
        """Decides again what is ignored here, but only when names or the ignore file changed."""
        names = hash(frozenset(entry.name for entry, _ in entries))
        rules_stamp = next((read_stamp(entry) for entry, _ in entries if entry.name == GITIGNORE), None)
        if folder.digest is not None and names == folder.names and rules_stamp == folder.rules_stamp:
            return
        if folder.digest is not None and rules_stamp != folder.rules_stamp:
            self._distrust_below(path)
        folder.names, folder.rules_stamp = names, rules_stamp
        named = [(entry.name, is_folder) for entry, is_folder in entries]
        folder.rules = ignoring.rules_inside(path, (name for name, _ in named), self._rules_for(path))
        is_cache = path != self.watched.path and (ignoring.MARK_OF_A_CACHE, False) in named
        everything = frozenset(name for name, _ in named)
        folder.ignored = everything if is_cache else ignoring.choose_ignored(path, named, folder.rules)

    def _distrust_below(self, path: str) -> None:
        for below, folder in self.folders.items():
            if below != path and is_below(below, path):
                folder.digest = None

    def _rules_for(self, path: str) -> Rules:
        if path == self.watched.path:
            return ignoring.rules_above(path)
        parent = self.folders.get(os.path.dirname(path))  # noqa: PTH120
        return parent.rules if parent else ()

    def _write(self, changed: list[tuple[str, Listing]], oldest_ms: int) -> None:
        now_ms = self.clock()
        with self.store.read() as connection:
            before = {folder: manifest.read_listing(connection, self.watched.id, folder) for folder, _ in changed}
        differing = [(folder, before[folder], files) for folder, files in changed if before[folder] != files]
        if not differing:
            return
        # The saves first: a crash between the two finds them again, and the store keeps each only once.
        self.on_saves([save for look in differing for save in find_saves(*look, oldest_ms, now_ms)])
        with self.store.write() as connection:
            for folder, known, files in differing:
                manifest.write_listing(connection, self.watched.id, folder, known, files)


def find_saves(folder: str, before: Listing, now: Listing, oldest_ms: int, now_ms: int) -> Iterator[Save]:
    """The files that were written after `oldest_ms`; a file that changed without a new time, at `now_ms`."""
    for name, stamp in now.items():
        known = before.get(name)
        if known and (known.size, known.mtime_ns) == (stamp.size, stamp.mtime_ns):
            continue
        mtime_ms = stamp.mtime_ns // 1_000_000
        if known or mtime_ms > oldest_ms:
            is_recent = oldest_ms < mtime_ms <= now_ms + SLACK_MS
            yield Save(os.path.join(folder, name), mtime_ms if is_recent else now_ms)  # noqa: PTH118


def read_stamp(entry: os.DirEntry[str]) -> FileStamp | None:
    """What identifies a regular file's content; None for what is no regular file or has just vanished."""
    try:
        if not entry.is_file(follow_symlinks=False):
            return None
        stat = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return FileStamp(stat.st_size, stat.st_mtime_ns, stat.st_ino & 0x7FFF_FFFF_FFFF_FFFF)


def is_below(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or inside it."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
