"""A child process that is kept running: its log, its restarts with growing pauses, its end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from webapp.embedded_queue import QueueError

STEADY_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 30.0
TOLD_TIMES = 3
LOG_BYTES = 5 * 1024 * 1024

Launch = Callable[[], subprocess.Popen[bytes] | None]


@dataclass
class Child:
    """One process. `launch` starts it; it answers None where a process that is not ours already does the work."""

    name: str
    launch: Launch
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    due_at: float = field(default=float("-inf"))

    def start(self) -> None:
        """Starts it now."""
        self.started_at = time.monotonic()
        self.process = self.launch()

    def keep(self) -> str | None:
        """Starts it again when its pause is over; a sentence when it has ended (not each time for ever)."""
        now = time.monotonic()
        if self.process is None:
            return self._start_again(now) if self.failures and now >= self.due_at else None
        code = self.process.poll()
        if code is None:
            return None
        self.process = None
        return self._pause(now, f"ended ({describe(code)})")

    def replace(self) -> None:
        """Kills it, so that `keep` starts another; or starts one where the process that was not ours is gone."""
        if self.process is not None:
            self.process.kill()
        elif not self.failures:
            self.failures, self.due_at = 1, time.monotonic()

    def _start_again(self, now: float) -> str | None:
        try:
            self.start()
        except (OSError, QueueError) as error:  # such as a full disk: it must not take the other children with it
            return self._pause(now, f"does not start ({error})")
        return None

    def _pause(self, now: float, what: str) -> str | None:
        self.failures = 1 if now - self.started_at > STEADY_SECONDS else self.failures + 1
        pause = min(2.0 ** min(self.failures - 1, 10), LONGEST_PAUSE_SECONDS)
        self.due_at = now + pause
        if self.failures > TOLD_TIMES and self.failures % 20:
            return None
        return f"{self.name} {what}. Starting it again in {pause:.0f} s."

    def ask_to_end(self) -> None:
        """SIGTERM, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def end(self, seconds: float) -> None:
        """Waits that long for its end, then kills it and what it started."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def describe(code: int) -> str:
    """An exit code in words."""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def open_log(path: Path) -> int:
    """The file descriptor of a private log file; a long one of earlier runs is put aside as `.1`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def run_logged(command: list[str], log_path: Path, env: dict[str, str], pass_fd: int) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own (Ctrl-C reaches the supervisor alone), writing to its log file."""
    log = open_log(log_path)
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            pass_fds=[pass_fd],
            start_new_session=True,
        )
    finally:
        os.close(log)
