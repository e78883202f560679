"""Past sessions from commit histories: one import at a time, in a thread of its own."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from collector import wire
from collector.sources.git import import_history
from collector.store import Store

IMPORTED_AT = "git_imported_at_ms"

log = logging.getLogger(__name__)


class HistoryImport:
    """`start` it on request; `on_change` is called when it has added observations."""

    def __init__(self, store: Store, on_change: Callable[[], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._lock = threading.Lock()
        self.is_running = False
        self.trouble: str | None = None

    def start(self) -> None:
        """Begins an import, unless one is under way."""
        with self._lock:
            if self.is_running:
                return
            self.is_running = True
        threading.Thread(target=self._run, name="history", daemon=True).start()

    def _run(self) -> None:
        try:
            added = read_history(self._store)
            self.trouble = None
            log.info("Read the commit histories: %d observations of past work are new.", added)
        except Exception as error:  # shown on the page; the next try may succeed
            log.exception("Reading the commit histories failed")
            self.trouble = f"The last import failed ({error})."
        finally:
            self.is_running = False
        self._on_change()


def read_history(store: Store) -> int:
    """Imports from all repositories under the watched paths, notes that it was done, and returns how many are new."""
    added = import_history(store, [Path(path.path) for path in store.list_paths()])
    store.set_meta(IMPORTED_AT, str(wire.now_ms()))
    return added
