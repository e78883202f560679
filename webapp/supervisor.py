"""What `make run` runs: queue, hub, worker and this machine's collector, in the foreground, until Ctrl-C."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import click

from webapp import embedded_queue
from webapp.config import Config, ConfigError, make_private_dir, read_config
from webapp.processes import lifeline
from webapp.processes.children import Child, open_log, run_logged
from webapp.processes.queue_watch import QueueWatch
from webapp.processes.screen import last_line, last_words, screen, shown
from webapp.processes.serving import AddressTaken, check_address, listens

ROOT = Path(__file__).parent.parent
HUB_START_SECONDS = 60.0
END_SECONDS = 14.0
PROGRAMS = {
    "hub": [str(ROOT / "app.py")],
    "worker": [str(ROOT / "worker.py")],
    "collector": ["-m", "collector", "run"],
}
"""In the order in which they start."""


class StartError(Exception):
    """It cannot start; the message says what to do."""


class Supervisor:
    """The processes of one hub."""

    def __init__(self, config: Config, *, until_parent_ends: bool = False) -> None:
        self.config = config
        self.log_dir = make_private_dir(config.data_dir / "log")
        self.line = lifeline.Lifeline()
        self.parent = os.getppid() if until_parent_ends else None
        self.signals = 0
        self.queue = Child("queue", self._launch_queue)
        self.watch = None if config.redis_url else QueueWatch(self.queue, config.data_dir)
        self.children = [Child(name, partial(self._launch, name)) for name in PROGRAMS]

    def run(self) -> int:
        """Starts everything, keeps it running, ends everything. The answer is the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        try:
            self._start()
            while not self._is_over():
                self._keep()
                time.sleep(0.2)
            return 0
        finally:
            click.echo("Stopping...")
            self._end()

    def _start(self) -> None:
        if not self.config.redis_url:
            self.queue.start()
        hub, *others = self.children
        hub.start()
        self._wait_for_hub(hub)
        if not self._is_over():
            for child in others:
                child.start()
            click.echo(screen(self.config))

    def _keep(self) -> None:
        silent = self.watch.look() if self.watch is not None else None
        if silent:
            click.echo(f"{time.strftime('%T')} {silent}")
        for child in (self.queue, *self.children):
            said = child.keep()
            if said:
                click.echo(f"{time.strftime('%T')} {said} {last_line(self.log_dir / f'{child.name}.log')}")

    def _wait_for_hub(self, hub: Child) -> None:
        deadline = time.monotonic() + HUB_START_SECONDS
        while not listens(self.config):
            if self._is_over():
                return
            if hub.process is None or hub.process.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"The hub does not start. {last_words(self.log_dir / 'hub.log')}")
            time.sleep(0.1)

    def _launch(self, name: str) -> subprocess.Popen[bytes]:
        queue_url = self.config.redis_url or embedded_queue.url(self.config.data_dir)
        env = {**os.environ, **self.line.env, "REDIS_URL": queue_url, "PYTHONUNBUFFERED": "1"}
        return run_logged([sys.executable, *PROGRAMS[name]], self.log_dir / f"{name}.log", env, self.line.fd)

    def _launch_queue(self) -> subprocess.Popen[bytes] | None:
        log = open_log(self.log_dir / "queue.log")
        try:
            return embedded_queue.start(self.config.data_dir, log)
        finally:
            os.close(log)

    def _note_signal(self, *_signal: object) -> None:
        self.signals += 1

    def _is_over(self) -> bool:
        return self.signals > 0 or (self.parent is not None and os.getppid() != self.parent)

    def _end(self) -> None:
        for child in self.children:
            child.ask_to_end()
        deadline = time.monotonic() + END_SECONDS
        for child in self.children:
            child.end(deadline - time.monotonic())
        self.queue.ask_to_end()
        self.queue.end(5)


@click.command(help="Runs the hub, its worker, its queue and this machine's collector until Ctrl-C.")
@click.option("--until-parent-ends", is_flag=True, help="Also end when the program that started this one is gone.")
def main(until_parent_ends: bool) -> None:
    """One hub per data directory."""
    lifeline.hold()
    try:
        config = read_config()
        with (config.data_dir / "run.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StartError(
                    f"Muster already runs on {shown(config.data_dir)}. Stop it first (Ctrl-C where it runs), "
                    "or give this one a directory of its own: MUSTER_DATA_DIR=other make run"
                ) from None
            check_address(config)
            sys.exit(Supervisor(config, until_parent_ends=until_parent_ends).run())
    except (AddressTaken, ConfigError, StartError, embedded_queue.QueueError, socket.gaierror) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
