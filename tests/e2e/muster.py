"""Starts the product as `make run` does, in directories of its own, for tests that use it from the outside."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 60


@dataclass
class Muster:
    """A running hub, worker and collector, and where to find them."""

    home: Path
    port: int
    collector_port: int
    process: subprocess.Popen[bytes]
    env: dict[str, str]
    output: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The hub's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def code_folder(self) -> Path:
        """A folder that the collector watches from the start."""
        return self.home / "code"

    @property
    def setup_link(self) -> str:
        """The one-time link that was printed."""
        found = re.search(r"http://\S+/setup/\S+", "".join(self.output))
        assert found, "no set-up link in:\n" + "".join(self.output)
        return found.group()

    def collector(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`python -m collector ...` as the person at this machine would type it."""
        return subprocess.run(
            [sys.executable, "-m", "collector", *words],
            cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip


def environment(home: Path, port: int, collector_port: int) -> dict[str, str]:
    """A person's environment in which everything that Muster writes is below `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "COLLECTOR_", "GIT_"))}
    return kept | {
        "HOME": str(home),
        "MUSTER_DATA_DIR": str(home / "hub"),
        "MUSTER_PORT": str(port),
        "MUSTER_COLLECTOR_DIR": str(home / "collector"),
        "MUSTER_COLLECTOR_PORT": str(collector_port),
        "COLLECTOR_DISCOVERY_PORTS": str(collector_port),
    }


@contextmanager
def running(home: Path, *, collector_host: str = "127.0.0.1", **env: str) -> Iterator[Muster]:
    """Muster, started like `make run` and stopped like Ctrl-C; fails if it does not stop within fifteen seconds.

    `env` is added to its environment. The same `home` again goes on with what is there. A collector on another host of
    127.0.0.0/8 is one that the hub cannot reach: it claims from 127.0.0.1, and there nobody listens.
    """
    env["MUSTER_COLLECTOR_HOST"] = collector_host
    port, collector_port = free_port(), free_port()
    is_first = not (home / "code").exists()
    if is_first:
        make_repository(home / "code" / "lighthouse")
    full = environment(home, port, collector_port) | env
    process = subprocess.Popen(
        [sys.executable, "-m", "webapp.supervisor"],
        cwd=ROOT, env=full,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    muster = Muster(home, port, collector_port, process, full)
    try:
        _read_until_ready(muster, "/setup/" if is_first else muster.url)
        yield muster
    finally:
        process.send_signal(signal.SIGINT)
        try:
            muster.output.append(process.communicate(timeout=15)[0].decode())
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def make_repository(path: Path) -> None:
    """A small Git repository with one commit."""
    path.mkdir(parents=True)
    (path / "beacon.py").write_text("print('light')\n")
    person = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], ["add", "."], [*person, "commit", "-qm", "Light the beacon"]):
        subprocess.run(["git", "-C", str(path), *words], check=True, capture_output=True)


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read_until_ready(muster: Muster, said: str) -> None:
    assert muster.process.stdout is not None
    os.set_blocking(muster.process.stdout.fileno(), False)
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if muster.process.poll() is not None:
            raise AssertionError("Muster stopped at once:\n" + "".join(muster.output))
        muster.output.append((muster.process.stdout.read() or b"").decode())
        places = (("127.0.0.1", muster.port), (muster.env["MUSTER_COLLECTOR_HOST"], muster.collector_port))
        if said in "".join(muster.output) and all(_is_listening(*place) for place in places):
            return
        time.sleep(0.1)
    raise AssertionError(f"Muster was not ready after {START_SECONDS} s:\n" + "".join(muster.output))


def _is_listening(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((host, port)) == 0
