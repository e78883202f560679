"""Starts worker processes for tests, and finds in the process table who works for a job."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from webapp.config import Config
from webapp.features.jobs.models import Job
from webapp.processes.lifeline import Lifeline

ROOT = Path(__file__).parent.parent.parent
STOP_SECONDS = 25

Start = Callable[..., "subprocess.Popen[bytes]"]


def environment(config: Config) -> dict[str, str]:
    """What makes a process one of the hub of `config`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "COLLECTOR_"))}
    return kept | {
        "MUSTER_DATA_DIR": str(config.data_dir),
        "MUSTER_PORT": str(config.port),
        "DATABASE_URL": config.database_url,
        "REDIS_URL": config.redis_url,
    }


@contextmanager
def workforces(config: Config) -> Iterator[Start]:
    """A function that starts a workforce (`TEST_QUEUES="jobs jobs"`, ...); all are stopped at the end."""
    started: list[subprocess.Popen[bytes]] = []
    line = Lifeline()

    def start(**variables: str) -> "subprocess.Popen[bytes]":
        env = environment(config) | line.env | variables
        command = [sys.executable, "-m", "tests.jobs.worker_process"]
        started.append(subprocess.Popen(command, env=env, pass_fds=[line.fd], cwd=ROOT))
        return started[-1]

    try:
        yield start
    finally:
        stop(started)


def stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    """SIGTERM for all; kills what is not gone in time, and fails then."""
    for process in processes:
        process.terminate()
    late = []
    for process in processes:
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            late.append(process.args)
    assert not late, f"did not stop: {late}"


def worker_pid(job: Job) -> int:
    """The RQ worker that claimed the job."""
    _host, pid, _queue = (job.worker or "").rsplit(":", 2)
    return int(pid)


def horse_of(job: Job) -> psutil.Process:
    """The work-horse that runs the job."""
    (horse,) = psutil.Process(worker_pid(job)).children()
    return horse


def is_alive(pid: int) -> bool:
    """Whether the process lives (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
