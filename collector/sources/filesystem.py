"""Saved files below the watched paths. The system's events are hints to look soon; the scan is what counts."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collector import wire
from collector.machine import machine_name, platform_name, zone_name
from collector.sources.entities import normalise_path
from collector.sources.hints import Hinter
from collector.sources.scanning import PathMissingError, PathScanner, Save, is_below
from collector.store import Store, WatchedPath
from collector.timeline.observation import FILESYSTEM_STREAM, Observation
from collector.timeline.projects import Projects

SOURCE = "filesystem"

SCAN_SECONDS = 60.0
BLIND_SCAN_SECONDS = 15.0
"""Between scans of paths for which the system gives no events."""

COST = 1 / 200
BLIND_COST = 1 / 20
"""The share of a core that scans may take; large trees are scanned more rarely."""

SETTLE_SECONDS = 0.4
"""From an event to the look: editors save in several steps."""

TICK_SECONDS = 5.0
ASLEEP_SECONDS = 15.0
"""A tick that took this much longer means that the machine or the process slept, and events may be lost."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Watch:
    """One watched path: its scanner, and how it is doing."""

    scanner: PathScanner
    is_hinted: bool = False
    trouble: str | None = None

    @property
    def state(self) -> str:
        """One word for the status."""
        if self.trouble is not None:
            return "missing"
        if not self.scanner.is_scanned:
            return "scanning"
        return "watching" if self.is_hinted else "polling"


class FilesystemSource:
    """Watches the store's paths in a thread of its own; paths that are added or removed later are noticed at a rescan.

    `on_change` is called, on that thread, after new observations are on disk.
    """

    def __init__(self, store: Store, paths: Sequence[WatchedPath], on_change: Callable[[], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._rang = threading.Event()
        self._is_rescan_due = True
        self._is_stopping = False
        self._hinter = Hinter(self._rang)
        self._thread: threading.Thread | None = None
        self._watches: dict[int, Watch] = {}
        self._set_paths(paths)

    def start(self) -> None:
        """Begins to watch; the first scan runs in the background."""
        self._thread = threading.Thread(target=self._run, name="filesystem", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stops watching, within a few seconds also in the middle of a scan."""
        self._is_stopping = True
        self._rang.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def rescan(self) -> None:
        """Looks through everything: soon when started, else now."""
        self._is_rescan_due = True
        self._rang.set()
        if self._thread is None:
            self._scan()

    def status(self) -> dict[str, object]:
        """How each path is doing, and the state of all in one word."""
        watches = list(self._watches.values())
        states = {watch.state for watch in watches}
        order = ("scanning", "watching", "polling", "missing")
        return {
            "state": next((state for state in order if state in states), "no paths"),
            "paths": [describe(watch) for watch in watches],
        }

    def _run(self) -> None:
        while not self._is_stopping:
            due = time.monotonic() + self._scan()
            while not self._is_stopping and not self._is_rescan_due and time.monotonic() < due:
                self._wait_and_look(due)
        self._hinter.stop()

    def _wait_and_look(self, due: float) -> None:
        began = time.time()
        tick = max(0.0, min(TICK_SECONDS, due - time.monotonic()))
        if self._rang.wait(tick) and not self._is_stopping and not self._is_rescan_due:
            time.sleep(SETTLE_SECONDS)
            hints = self._hinter.take()
            if hints.is_everything:
                self._is_rescan_due = True
            else:
                self._each(lambda watch: watch.scanner.look_at(below(hints.folders, watch)))
        if time.time() - began > TICK_SECONDS + ASLEEP_SECONDS:
            self._is_rescan_due = True

    def _scan(self) -> float:
        """Looks through all paths; the seconds until it should be done again."""
        self._is_rescan_due = False
        self._rang.clear()
        began = time.thread_time()
        self._set_paths(self._store.list_paths())
        self._each(self._scan_one)
        cost = time.thread_time() - began
        is_blind = not all(watch.is_hinted for watch in self._watches.values())
        return max(BLIND_SCAN_SECONDS, cost / BLIND_COST) if is_blind else max(SCAN_SECONDS, cost / COST)

    def _scan_one(self, watch: Watch) -> None:
        # Before the scan, or what happens between the two would be missed until the next one.
        if self._thread is not None:
            watch.is_hinted = self._hinter.watch(watch.scanner.watched.path)
        watch.scanner.scan()

    def _each(self, work: Callable[[Watch], None]) -> None:
        for watch in list(self._watches.values()):
            if self._is_stopping:
                return
            path = watch.scanner.watched.path
            try:
                work(watch)
                watch.trouble = None
            except PathMissingError as missing:
                if watch.trouble is None:
                    log.warning("%s cannot be looked at now: %s", path, missing)
                watch.trouble = str(missing)
                self._hinter.unwatch(path)
                watch.is_hinted = False
            except Exception as error:  # one path must not stop the others; the next scan looks at everything again
                log.exception("Looking at %s failed", path)
                watch.trouble = f"{type(error).__name__}: {error}"
                watch.scanner.folders.clear()

    def _set_paths(self, paths: Sequence[WatchedPath]) -> None:
        wanted = {path.id: path for path in paths}
        for path_id in self._watches.keys() - wanted.keys():
            self._hinter.unwatch(self._watches.pop(path_id).scanner.watched.path)
        for path_id in wanted.keys() - self._watches.keys():
            self._watches[path_id] = Watch(self._make_scanner(wanted[path_id]))

    def _make_scanner(self, path: WatchedPath) -> PathScanner:
        return PathScanner(
            store=self._store,
            watched=path,
            clock=wire.now_ms,
            is_stopping=lambda: self._is_stopping,
            on_saves=self._keep,
        )

    def _keep(self, saves: list[Save]) -> None:
        projects = Projects(watch.scanner.watched.path for watch in self._watches.values())
        zone = zone_name()
        if self._store.add_observations([observe_save(save, projects, zone) for save in saves]):
            self._on_change()


def observe_save(save: Save, projects: Projects, zone: str | None) -> Observation:
    """A saved file as an observation; what kind of work it was is for the timeline to say."""
    project = projects.find(save.path)
    return Observation(
        source=SOURCE,
        editor=FILESYSTEM_STREAM,
        entity=normalise_path(save.path),
        kind="write",
        time_ms=max(save.time_ms, 0),
        received_ms=wire.now_ms(),
        is_write=True,
        machine=machine_name(),
        platform=platform_name(),
        project=project.name if project else None,
        project_path=normalise_path(project.path) if project else None,
        branch=project.branch if project else None,
        timezone=zone,
    )


def below(folders: set[str], watch: Watch) -> set[str]:
    """The folders that belong to a watched path."""
    return {folder for folder in folders if is_below(folder, watch.scanner.watched.path)}


def describe(watch: Watch) -> dict[str, object]:
    """One path for the status."""
    watched = watch.scanner.watched
    return {
        "id": watched.id,
        "path": watched.path,
        "state": watch.state,
        "files": watch.scanner.file_count,
        "trouble": watch.trouble,
    }
