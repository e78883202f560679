"""The real web server in a process of its own (`python app.py`), for tests that stop it, double it or press on it."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.jobs.workforce import ROOT, environment, stop
from webapp.config import Config
from webapp.processes.lifeline import Lifeline

START_SECONDS = 120


@dataclass
class HubProcess:
    """One web server; `start`, `stop` and `start` again on the same port."""

    config: Config
    process: "subprocess.Popen[bytes] | None" = None
    line: Lifeline = field(default_factory=Lifeline)

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.config.base_url

    def start(self, *, is_awaited: bool = True) -> None:
        """Starts it, and waits until it accepts connections."""
        env = environment(self.config) | self.line.env
        command = [sys.executable, "app.py"]
        self.process = subprocess.Popen(command, env=env, pass_fds=[self.line.fd], cwd=ROOT)
        deadline = time.monotonic() + START_SECONDS
        while is_awaited and not accepts(self.config.port):
            assert self.process.poll() is None, "the hub ended at once"
            assert time.monotonic() < deadline, "the hub did not start"
            time.sleep(0.02)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        stop([self.process])
        return self.process.returncode


@contextmanager
def running_hub(config: Config) -> Iterator[HubProcess]:
    """A hub on the port of `config`, stopped at the end."""
    hub = HubProcess(config)
    hub.start()
    try:
        yield hub
    finally:
        if hub.process is not None and hub.process.poll() is None:
            hub.stop()


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether something accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
