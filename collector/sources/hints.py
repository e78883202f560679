"""The system's word that something happened below a path: which folders deserve a look soon. Never the truth."""

import logging
import os
import sys
import threading
import warnings
from dataclasses import dataclass, field

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from collector.sources.ignoring import FOLDERS

MANY_EVENTS = 5_000
"""More than this at once: the system's queue may have overflowed, and a full look is as cheap as all the small ones."""

# Only Linux says when a writer is done; elsewhere every write is an event.
WRITTEN = FileClosedEvent if sys.platform.startswith("linux") else FileModifiedEvent
WANTED: list[type[FileSystemEvent]] = [WRITTEN, FileMovedEvent, FileCreatedEvent, DirCreatedEvent, DirMovedEvent]

log = logging.getLogger(__name__)

# watchdog says this when a folder is made while it is being looked through; nothing is lost.
warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)


@dataclass(frozen=True, slots=True)
class Hints:
    """Folders to look at, or (`is_everything`) too much happened to say."""

    folders: set[str] = field(default_factory=set)
    is_everything: bool = False


class Hinter(FileSystemEventHandler):
    """Watches paths and collects hints until they are taken; `rang` is set while there are any."""

    def __init__(self, rang: threading.Event) -> None:
        self._rang = rang
        self._lock = threading.Lock()
        self._folders: set[str] = set()
        self._event_count = 0
        self._observer: BaseObserver | None = None
        self._watches: dict[str, tuple[ObservedWatch, tuple[int, int]]] = {}

    def watch(self, path: str) -> bool:
        """Sees to it that `path` is watched; False where the system refuses, and only the scan will see changes."""
        try:
            identity = identify(path)
            if path in self._watches and self._watches[path][1] == identity:
                return True
            self.unwatch(path)
            watch = self._start().schedule(self, path, recursive=True, event_filter=WANTED)
        except OSError as error:
            log.info("No events for %s (%s); changes there are found by the scan.", path, error)
            return False
        self._watches[path] = (watch, identity)
        return True

    def unwatch(self, path: str) -> None:
        """Stops watching a path, if it is watched."""
        watched = self._watches.pop(path, None)
        if watched is None or self._observer is None:
            return
        try:
            self._observer.unschedule(watched[0])
        except KeyError:
            log.debug("%s was no longer watched.", path)

    def take(self) -> Hints:
        """The hints so far; from now on they are collected anew."""
        with self._lock:
            hints = Hints(self._folders, self._event_count > MANY_EVENTS)
            self._folders, self._event_count = set(), 0
            self._rang.clear()
        return hints

    def stop(self) -> None:
        """Ends every watch."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=3)
            self._observer = None
        self._watches.clear()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog's threads."""
        for path in (event.src_path, event.dest_path):
            if path:
                self._note(os.fsdecode(path))

    def _note(self, path: str) -> None:
        folder = os.path.dirname(path)  # noqa: PTH120 - runs for every event
        root = next((root for root in list(self._watches) if folder.startswith(root)), "")
        if not FOLDERS.isdisjoint(folder[len(root) :].split(os.sep)):  # noqa: PTH206
            return
        with self._lock:
            self._event_count += 1
            self._folders.add(folder)
        self._rang.set()

    def _start(self) -> BaseObserver:
        if self._observer is None:
            self._observer = Observer()
            self._observer.start()
        return self._observer


def identify(path: str) -> tuple[int, int]:
    """Which folder stands at `path` now: another one after a disk was changed. OSError when there is none."""
    stat = os.stat(path)  # noqa: PTH116 - beside os.scandir everywhere else here
    return stat.st_dev, stat.st_ino
