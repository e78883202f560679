"""The dead-man's switch: the collector tells its owner when its hub has not pulled for too long, and when it does.

Only time in which this collector ran counts, so a laptop that was off for a week does not warn when it wakes.
"""

import logging
import threading
from collections.abc import Callable

import msgspec

from collector import telling, wire
from collector.config import Config
from collector.link.backoff import pause_seconds
from collector.machine import machine_name
from collector.runs import list_runs
from collector.store import LAST_PULL, Link, Store
from collector.words import duration

LOOK_SECONDS = 60.0
WARNED = "pull_warning"
QUESTION = "Is the hub on, and its worker running? On its machine this says more:"
COMMAND = ".venv/bin/flask --app app doctor"
HELP = f"{QUESTION} {COMMAND}"
NOTHING_LOST = "Nothing is lost: it waits on this machine."

log = logging.getLogger(__name__)

Tell = Callable[[str], None]


class LastPull(msgspec.Struct, rename="camel", frozen=True):
    """When the hub last pulled, and by which road (`direct` or `relay`)."""

    at_ms: int
    road: str


class Silence(msgspec.Struct, frozen=True):
    """No pull since `since_ms` (the last one, or the pairing), of which this collector ran `ran_ms`."""

    hub_name: str
    since_ms: int
    ran_ms: int
    was_pulled: bool

    @property
    def what(self) -> str:
        """What is wrong, as a sentence that may leave the machine."""
        ran = duration(self.ran_ms // 1000)
        if not self.was_pulled:
            return (
                f"{machine_name()} has run for {ran} since it was paired, and {self.hub_name} has never pulled from it."
            )
        return f"{machine_name()} has run for {ran} without a pull by {self.hub_name}."


class Warned(msgspec.Struct, rename="camel", frozen=True):
    """Which silence the owner was warned of, and whether the address to warn at has heard of it."""

    since_ms: int
    is_sent: bool


def read_last_pull(store: Store) -> LastPull | None:
    """The last pull of the present link, or None."""
    text = store.get_meta(LAST_PULL)
    return None if text is None or store.find_link() is None else msgspec.json.decode(text, type=LastPull)


def find_silence(store: Store, config: Config, now_ms: int | None = None) -> Silence | None:
    """The silence that deserves a warning, if there is one."""
    link = store.find_link()
    if link is None or config.warn_hours == 0:
        return None
    silence = measure_silence(store, link, wire.now_ms() if now_ms is None else now_ms)
    return silence if silence.ran_ms >= config.warn_hours * 3_600_000 else None


def measure_silence(store: Store, link: Link, now_ms: int) -> Silence:
    """How long no pull has come."""
    pull = read_last_pull(store)
    since_ms = link.paired_at_ms if pull is None else pull.at_ms
    with store.read() as connection:
        ran_ms = sum(end - start for start, end in list_runs(connection, since_ms, now_ms))
    return Silence(link.hub_name, since_ms, ran_ms, pull is not None)


class PullWatch:
    """The thread that looks every minute, and warns once for each silence; what could not be sent is tried again."""

    def __init__(self, store: Store, config: Config, notify: Tell = telling.notify, post: Tell | None = None) -> None:
        self._store = store
        self._config = config
        self._notify = notify if config.is_notifying else None
        url = config.warn_url
        self._post = post if post is not None or url is None else lambda sentence: telling.post(url, sentence)
        self._stopping = threading.Event()
        self._unsent: str | None = None
        self._failures = 0

    def run(self) -> None:
        """The thread's work, until `stop`."""
        seconds = 0.0
        while not self._stopping.wait(seconds):
            seconds = LOOK_SECONDS
            try:
                self.look()
                self._send()
            except Exception:  # a full disk or a busy file must not end the collector's work
                log.exception("Looking whether the hub still pulls failed; trying again")
            if self._failures:
                seconds = pause_seconds(self._failures)

    def stop(self) -> None:
        """Ends `run`."""
        self._stopping.set()

    def look(self, now_ms: int | None = None) -> None:
        """Warns if a silence has grown too long, and says so when it has ended."""
        now_ms = wire.now_ms() if now_ms is None else now_ms
        pull = read_last_pull(self._store)
        if pull is not None and pull.at_ms > now_ms:  # the clock was ahead then; no silence may wait until it is there
            self._store.note_pull(now_ms, pull.road)
        silence, warned = find_silence(self._store, self._config, now_ms), read_warned(self._store)
        if silence is not None:
            if warned is None or warned.since_ms != silence.since_ms:
                log.warning("%s %s %s", silence.what, NOTHING_LOST, HELP)
                self._tell(f"{silence.what} {NOTHING_LOST}", silence.since_ms)
            elif not warned.is_sent and self._unsent is None:
                self._unsent = f"{silence.what} {NOTHING_LOST}"  # the collector was started anew before it was sent
        elif warned is not None:
            self._end(warned)

    def _end(self, warned: Warned) -> None:
        """The silence is over: a pull has come, or there is no link or no watch any more."""
        link, pull = self._store.find_link(), read_last_pull(self._store)
        self._store.delete_meta(WARNED)
        self._unsent, self._failures = None, 0
        if link is None or pull is None or pull.at_ms <= warned.since_ms:
            return
        sentence = f"{machine_name()} is pulled again by {link.hub_name}."
        log.info("%s", sentence)
        if self._notify is not None:
            self._notify(sentence)
        if warned.is_sent and self._post is not None:
            self._unsent = sentence

    def _tell(self, sentence: str, since_ms: int) -> None:
        note_warned(self._store, Warned(since_ms, self._post is None))
        self._unsent, self._failures = (sentence if self._post is not None else None), 0
        if self._notify is not None:
            self._notify(sentence)

    def _send(self) -> None:
        """Sends what waits to be sent; after a failure again, with growing pauses."""
        if self._unsent is None or self._post is None:
            return
        try:
            self._post(self._unsent)
        except telling.NotTold as error:
            self._failures += 1
            log.warning("The warning could not be sent: %s Trying again.", error)
            return
        self._unsent, self._failures = None, 0
        warned = read_warned(self._store)
        if warned is not None:
            note_warned(self._store, Warned(warned.since_ms, True))


def read_warned(store: Store) -> Warned | None:
    """The silence that the owner knows of."""
    text = store.get_meta(WARNED)
    return None if text is None else msgspec.json.decode(text, type=Warned)


def note_warned(store: Store, warned: Warned) -> None:
    """Keeps it, so that a restart does not warn again."""
    store.set_meta(WARNED, msgspec.json.encode(warned).decode())
