"""The parts of a running collector, as its API and its page use them."""

from dataclasses import dataclass

from flask import current_app

from collector.config import Config
from collector.deriver import Deriver
from collector.history import HistoryImport
from collector.link.poller import Poller
from collector.sources.filesystem import FilesystemSource
from collector.store import Store


@dataclass(frozen=True, kw_only=True)
class Running:
    """One running collector; `port` is the one that it listens on."""

    config: Config
    store: Store
    port: int
    deriver: Deriver
    filesystem: FilesystemSource
    poller: Poller
    history: HistoryImport


def current() -> Running:
    """The running collector that the app in this context belongs to."""
    running: Running = current_app.extensions["collector"]
    return running
