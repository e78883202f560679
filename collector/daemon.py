"""The daemon: takes the directory, starts every part, waits for the end, and stops every part within five seconds."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from collector import __version__
from collector.api import create_app
from collector.api.hub_calls import answer_relayed
from collector.config import Config
from collector.deriver import Deriver
from collector.ending import End
from collector.history import HistoryImport
from collector.invocation import command
from collector.link.poller import Poller
from collector.link.relayed import RelayedRequests
from collector.lock import DirectoryLock
from collector.running import Running
from collector.runs import LifeSigns
from collector.serving import Server, listen
from collector.sources.filesystem import FilesystemSource
from collector.status import DAEMON_PORT, report
from collector.store import Store
from collector.watch import PullWatch
from collector.wire import prepare_structs

STOP_SECONDS = 4.0

log = logging.getLogger(__name__)


def run(config: Config, store: Store) -> None:
    """Runs until SIGTERM, SIGINT or the end of the parent. AlreadyRunning or NoFreePort if it cannot start."""
    with DirectoryLock(config.directory):
        store.delete_meta(DAEMON_PORT)
        daemon = Daemon(config, store)
        try:
            daemon.run()
        finally:
            store.delete_meta(DAEMON_PORT)
            store.close()


class Daemon:
    """One running collector: its parts, and a thread for each that needs one."""

    def __init__(self, config: Config, store: Store) -> None:
        self._end = End()
        self._threads: list[threading.Thread] = []
        bound = listen(prefer_port(config, store.get_meta("port")))
        self.port: int = bound.getsockname()[1]
        deriver = Deriver(store)
        self._life_signs = LifeSigns(store)
        self._watch = PullWatch(store, config)
        self._relayed = RelayedRequests(
            lambda op, args: answer_relayed(self.running, op, args), lambda: self.running.poller.wake()
        )
        self.running = Running(
            config=config,
            store=store,
            port=self.port,
            deriver=deriver,
            filesystem=FilesystemSource(store, store.list_paths(), deriver.wake),
            poller=Poller(store, lambda: report(self.running), deriver.wake, self._relayed),
            history=HistoryImport(store, deriver.wake),
        )
        self._server = Server(create_app(self.running), bound)

    def run(self) -> None:
        """Starts, waits, stops."""
        prepare_structs()
        self._end.on_signals()
        self._end.on_parent()
        self._start()
        try:
            self._end.wait()
        finally:
            self._stop(time.monotonic() + STOP_SECONDS)

    def _start(self) -> None:
        store, url = self.running.store, self.running.config.url(self.port)
        store.set_meta("port", str(self.port))
        self._launch("server", self._server.run)
        store.set_meta(DAEMON_PORT, str(self.port))
        self._launch("deriver", self.running.deriver.run)
        self.running.filesystem.start()
        self._launch("life signs", self._life_signs.run)
        self._launch("relayed requests", self._relayed.run)
        self._launch("poller", self.running.poller.run)
        self._launch("watch", self._watch.run)
        log.info("Muster collector %s listens on %s. Its page: %s", __version__, url, command("open"))

    def _launch(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guard, args=(name, work), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guard(self, name: str, work: Callable[[], None]) -> None:
        """A part that fails ends the collector: whoever started it starts it again, whole."""
        try:
            work()
        except Exception:
            log.exception("The %s failed", name)
        if not self._end.is_called:
            log.error("The %s has ended; so does the collector.", name)
            self._end.call()

    def _stop(self, deadline: float) -> None:
        log.info("Stopping.")
        parts = (self._server, self.running.poller, self._relayed, self.running.deriver, self._life_signs, self._watch)
        for part in parts:
            part.stop()
        ending = threading.Thread(target=self.running.filesystem.stop, name="filesystem end", daemon=True)
        ending.start()
        for thread in (ending, *self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))
        late = [thread.name for thread in (ending, *self._threads) if thread.is_alive()]
        if late:
            log.warning("Not waiting any longer for: %s.", ", ".join(late))


def prefer_port(config: Config, last: str | None) -> Config:
    """The configuration with the port of the last time first: editors have it in their settings."""
    if last is None or int(last) not in config.ports:
        return config
    port = int(last)
    return replace(config, ports=(port, *(other for other in config.ports if other != port)))
