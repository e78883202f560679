"""`make run`'s supervisor with real processes: it starts, says what matters, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from webapp.processes.lifeline import Lifeline

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.e2e


class Started:
    """A supervisor that runs, its output so far, and everything that it started."""

    def __init__(self, command: list[str], env: dict[str, str], output: Path) -> None:
        self.output = output
        self.url = f"http://127.0.0.1:{env['MUSTER_PORT']}"
        self.line = Lifeline()
        with output.open("w") as file:
            self.process = subprocess.Popen(
                command,
                env={**env, **self.line.env},
                pass_fds=[self.line.fd],
                cwd=ROOT,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def wait_until_it_runs(self) -> list[psutil.Process]:
        """The processes below it, once hub, worker and both queues' workers are there."""
        until(lambda: "Stop  " in self.said() and len(self.family()) >= 5, 60, self.said)
        return self.family()

    def family(self) -> list[psutil.Process]:
        """Every process below it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def said(self) -> str:
        """What it printed."""
        return self.output.read_text()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a hub of its own on free ports."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "DATABASE_", "REDIS_"))
    }
    return {
        **kept,
        "MUSTER_DATA_DIR": str(tmp_path / "hub"),
        "MUSTER_PORT": str(free_port()),
        "MUSTER_COLLECTOR_DIR": str(tmp_path / "collector"),
        "MUSTER_COLLECTOR_PORT": str(free_port()),
        "COLLECTOR_DISCOVERY_ENABLED": "false",
        "HOME": str(tmp_path),
    }


@pytest.fixture
def start(env: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts a supervisor; whatever a failing test leaves is killed."""
    started: list[Started] = []

    def make(*prefix: str, options: tuple[str, ...] = ()) -> Started:
        command = [*prefix, sys.executable, "-m", "webapp.supervisor", *options]
        started.append(Started(command, env, tmp_path / f"output-{len(started)}"))
        return started[-1]

    yield make
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_however_it_ends_nothing_is_left(start: Callable[..., Started], number: signal.Signals) -> None:
    muster = start()
    family = muster.wait_until_it_runs()
    assert requests.get(f"{muster.url}/login", timeout=5, allow_redirects=False).status_code < 500
    muster.process.send_signal(number)
    assert muster.process.wait(20) == (-9 if number == signal.SIGKILL else 0)
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []
    with pytest.raises(requests.ConnectionError):
        requests.get(muster.url, timeout=2)


def test_it_ends_when_what_started_it_is_killed(start: Callable[..., Started]) -> None:
    muster = start("sh", "-c", '"$@" & wait', "sh", options=("--until-parent-ends",))
    family = muster.wait_until_it_runs()
    muster.process.kill()
    _, alive = psutil.wait_procs(family, timeout=20)
    assert alive == []


def test_the_first_start_shows_the_address_and_the_link_that_works(start: Callable[..., Started]) -> None:
    muster = start()
    muster.wait_until_it_runs()
    link = next(word for word in muster.said().split() if "/setup/" in word)
    assert link.startswith(muster.url)
    assert requests.get(link, timeout=5).status_code == 200
    logs = "".join(path.read_text() for path in muster.output.parent.glob("hub/log/*.log"))
    assert link.rpartition("/")[2] not in logs
    assert len(muster.said().splitlines()) < 24, "one screen"


def test_what_dies_is_started_again_and_it_says_so(start: Callable[..., Started]) -> None:
    muster = start()
    family = muster.wait_until_it_runs()
    hub = next(process for process in family if str(ROOT / "app.py") in process.cmdline())
    queue = next(process for process in family if "valkey-server" in process.name() or "redis" in process.name())
    hub.kill()
    queue.kill()
    until(lambda: muster.said().count("SIGKILL") == 2, 10, muster.said)
    until(lambda: requests.get(f"{muster.url}/login", timeout=5).status_code < 500, 30, muster.said)


def test_a_taken_port_is_one_sentence_and_nothing_starts(env: dict[str, str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(env["MUSTER_PORT"])))
        other.listen()
        done = run([sys.executable, "-m", "webapp.supervisor"], env)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "MUSTER_PORT=" in done.stderr and env["MUSTER_PORT"] in done.stderr


def test_one_data_directory_has_one_hub(start: Callable[..., Started], env: dict[str, str]) -> None:
    start().wait_until_it_runs()
    done = run([sys.executable, "-m", "webapp.supervisor"], {**env, "MUSTER_PORT": str(free_port())})
    assert done.returncode == 1 and "already runs" in done.stderr and done.stderr.count("\n") == 1


def test_a_wrong_variable_is_one_sentence(env: dict[str, str]) -> None:
    done = run([sys.executable, "-m", "webapp.supervisor"], {**env, "PULL_INTERVAL": "often"})
    assert done.returncode == 1 and done.stderr.startswith("PULL_INTERVAL=") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("program", ["app.py", "worker.py"])
def test_an_old_python_is_one_sentence(program: str, env: dict[str, str]) -> None:
    pretend = "import runpy, sys; sys.version_info = (3, 10, 4, 'final', 0); runpy.run_path(sys.argv[1])"
    done = run([sys.executable, "-c", pretend, str(ROOT / program)], env)
    assert done.returncode == 1
    assert done.stderr == "Muster needs Python 3.11 or newer; this is 3.10.\n"


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def free_port() -> int:
    """A port that nothing uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], bool], seconds: float, context: Callable[[], str]) -> None:
    """Waits until `holds`; fails with `context` if it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except (psutil.NoSuchProcess, requests.ConnectionError):
            pass
        assert time.monotonic() < deadline, context()
        time.sleep(0.1)
