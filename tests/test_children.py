"""Children that are kept running: also when they cannot start for a while, and a queue that nobody can reach."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_supervisor import until
from webapp import embedded_queue
from webapp.processes import queue_watch
from webapp.processes.children import Child
from webapp.processes.queue_watch import QueueWatch


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory, looked at often."""
    monkeypatch.setattr(queue_watch, "LOOK_SECONDS", 0.05)
    return tmp_path


@pytest.fixture
def queue(data_dir: Path) -> Iterator[Child]:
    """The embedded queue as the supervisor keeps it."""
    child = Child("queue", lambda: embedded_queue.start(data_dir))
    child.start()
    yield child
    child.ask_to_end()
    child.end(5)


def test_child_that_cannot_start_again_is_tried_later() -> None:
    attempts: list[str] = []

    def launch() -> subprocess.Popen[bytes]:
        attempts.append("")
        if len(attempts) == 2:
            raise OSError("No space left on device")
        return subprocess.Popen([sys.executable, "-c", ""])

    child = Child("hub", launch)
    child.start()
    assert child.process is not None
    child.process.wait()
    assert child.keep() == "hub ended (exit code 0). Starting it again in 1 s."
    child.due_at = time.monotonic()
    assert child.keep() == "hub does not start (No space left on device). Starting it again in 2 s."
    child.due_at = time.monotonic()
    assert child.keep() is None
    assert len(attempts) == 3
    assert child.process is not None
    child.process.wait()


def test_queue_whose_socket_is_deleted_is_replaced(queue: Child, data_dir: Path) -> None:
    watch, first = QueueWatch(queue, data_dir), queue.process
    embedded_queue.socket_path(data_dir).unlink()
    keep_until_live(watch, queue, data_dir)
    assert queue.process is not None
    assert queue.process is not first


def test_queue_of_somebody_else_is_replaced_when_it_ends(queue: Child, data_dir: Path) -> None:
    adopting = Child("queue", lambda: embedded_queue.start(data_dir))
    adopting.start()
    assert adopting.process is None
    queue.ask_to_end()
    queue.end(5)
    keep_until_live(QueueWatch(adopting, data_dir), adopting, data_dir)
    adopting.ask_to_end()
    adopting.end(5)


def keep_until_live(watch: QueueWatch, child: Child, data_dir: Path) -> None:
    """Does what the supervisor does until the queue answers again."""

    def is_live() -> bool:
        watch.look()
        child.keep()
        return embedded_queue.is_live(embedded_queue.socket_path(data_dir))

    until(is_live, 10, lambda: "the queue is not reachable again")
