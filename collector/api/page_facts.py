"""What the page shows, made ready: states in words, moments as ages, paths as people write them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tzlocal

from collector import __version__, wire
from collector.history import IMPORTED_AT
from collector.machine import machine_name
from collector.paths import short_path
from collector.running import Running
from collector.status import WAKATIME_PATH
from collector.store import Link, WatchedPath
from collector.watch import COMMAND, NOTHING_LOST, QUESTION, find_silence, read_last_pull
from collector.words import ROADS, ago, count, duration


@dataclass(frozen=True)
class Moment:
    """A time for the page: exact, and as its age."""

    iso: str
    ago: str


@dataclass(frozen=True)
class HubState:
    """How the link does, as level (ok, late, problem, off), word and sentence."""

    level: str
    word: str
    sentence: str
    answered_at: Moment | None = None


@dataclass(frozen=True)
class Pulled:
    """The hub's last pull, and by which road it came, in words."""

    at: Moment
    road: str


@dataclass(frozen=True)
class Warned:
    """That no pull comes: what, since when, what to do."""

    what: str
    since: Moment
    comfort: str
    question: str
    command: str


@dataclass(frozen=True)
class SourceState:
    """How a source does; `offer` is the word on its button."""

    name: str
    level: str
    word: str
    sentence: str
    last_at: Moment | None = None
    offer: str | None = None


@dataclass(frozen=True)
class Folder:
    """A watched folder; `trouble` says why it is not being watched now."""

    id: int
    path: str
    files: int
    trouble: str | None


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything on the page."""

    name: str
    version: str
    link: Link | None
    paired_at: Moment | None
    hub: HubState
    last_pull: Pulled | None
    warning: Warned | None
    today: str
    sessions: str
    sources: list[SourceState]
    folders: list[Folder]
    api_url: str
    api_key: str


def read_facts(running: Running) -> Facts:
    """The page's content at this moment."""
    store, link = running.store, running.store.find_link()
    folders = read_folders(running)
    return Facts(
        name=machine_name(),
        version=__version__,
        link=link,
        paired_at=None if link is None else moment(link.paired_at_ms),
        hub=read_hub_state(running, link),
        last_pull=read_pulled(running),
        warning=read_warning(running),
        today=duration(store.today_seconds(tzlocal.get_localzone())),
        sessions=f"{store.count_sessions():,}",
        sources=[read_files(running, folders), read_editors(running), read_history(running, folders)],
        folders=folders,
        api_url=running.config.url(running.port) + WAKATIME_PATH,
        api_key=store.wakatime_key(),
    )


def read_hub_state(running: Running, link: Link | None) -> HubState:
    """The head's state."""
    poller = running.poller
    if link is None:
        return HubState("off", "Not paired", "This machine records already, and keeps it here until you pair it.")
    answered_at = moment(poller.last_answer_ms)
    if poller.trouble is not None:
        waiting = "Nothing is lost: it waits here, and this collector tries again by itself."
        return HubState("late", "Paired, but out of touch", f"{poller.trouble} {waiting}", answered_at)
    if answered_at is None:
        return HubState("ok", "Paired", f"Asking {link.hub_name} for the first time.")
    return HubState("ok", "Paired", f"In touch with {link.hub_name}.", answered_at)


def read_pulled(running: Running) -> Pulled | None:
    """The last pull, for the page."""
    pull = read_last_pull(running.store)
    return None if pull is None else Pulled(to_moment(pull.at_ms), ROADS.get(pull.road, pull.road))


def read_warning(running: Running) -> Warned | None:
    """The banner, when no pull has come for too long."""
    silence = find_silence(running.store, running.config)
    if silence is None:
        return None
    return Warned(silence.what, to_moment(silence.since_ms), NOTHING_LOST, QUESTION, COMMAND)


def read_folders(running: Running) -> list[Folder]:
    """The watched folders, also those that the source has not looked at yet."""
    told: Any = running.filesystem.status()["paths"]
    by_id: dict[int, dict[str, Any]] = {path["id"]: path for path in told}
    return [read_folder(path, by_id.get(path.id, {})) for path in running.store.list_paths()]


def read_folder(path: WatchedPath, told: dict[str, Any]) -> Folder:
    """One folder, with what the source tells of it."""
    is_there = Path(path.path).is_dir()
    trouble = told.get("trouble") if is_there else "Not there now. Is its disk connected?"
    return Folder(path.id, short_path(path.path), told.get("files", 0), trouble)


def read_files(running: Running, folders: list[Folder]) -> SourceState:
    """The file system source."""
    last_at = moment(running.store.last_observation_ms("filesystem"))
    if not folders:
        return SourceState("Saved files", "off", "No folder", "Add a folder below.", last_at)
    watched = [folder for folder in folders if folder.trouble is None]
    if not watched:
        return SourceState("Saved files", "late", "Waiting", "None of the folders is there now.", last_at)
    sentence = f"{count(sum(folder.files for folder in watched), 'file')} in {count(len(watched), 'folder')}."
    if len(watched) < len(folders):
        word = f"{len(watched)} of {len(folders)} watched"
        return SourceState("Saved files", "late", word, sentence, last_at)
    return SourceState("Saved files", "ok", "Watching", sentence, last_at)


def read_editors(running: Running) -> SourceState:
    """The WakaTime source."""
    last = running.store.find_last_observation("wakatime")
    if last is None:
        return SourceState("Editors", "off", "Nothing yet", "Connect your editor below for exact times.")
    return SourceState("Editors", "ok", "Listening", f"{last.editor} reported last.", moment(last.at_ms))


def read_history(running: Running, folders: list[Folder]) -> SourceState:
    """The commit histories, read on request."""
    name, history, imported_at = "Commit history", running.history, running.store.get_meta(IMPORTED_AT)
    if history.is_running:
        return SourceState(name, "ok", "Reading", "Looking through your commits of the last 90 days.")
    if imported_at is None:
        sentence = history.trouble or "Your commits of the last 90 days can stand for past sessions, as an estimate."
        return SourceState(name, "off", "Not imported", sentence, offer="Import past sessions" if folders else None)
    sentence = history.trouble or f"Imported {ago(int(imported_at))}."
    level = "late" if history.trouble else "ok"
    return SourceState(name, level, "Imported", sentence, offer="Import again" if folders else None)


def moment(ms: int | None) -> Moment | None:
    """A time in milliseconds for the page."""
    return None if ms is None else to_moment(ms)


def to_moment(ms: int) -> Moment:
    """The same for a time that is there."""
    return Moment(wire.format_ms(ms), ago(ms))
