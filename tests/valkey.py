"""A real Valkey for tests, on a private socket."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from webapp import embedded_queue


@contextmanager
def run_valkey() -> Iterator[str]:
    """The URL of a fresh server; stopped and deleted afterwards."""
    home = Path(tempfile.mkdtemp(prefix="muster-queue-"))
    try:
        process = embedded_queue.start(home)
        assert process is not None
        try:
            yield embedded_queue.url(home)
        finally:
            process.kill()
            process.wait(10)
    finally:
        shutil.rmtree(home)
