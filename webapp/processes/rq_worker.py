"""How RQ runs our tasks, and only ours: in the app's context, in a work-horse that cannot outlive its worker."""

import gc
import importlib
import importlib.util
import logging
import os
import re
import signal
import socket
import time
from contextlib import suppress
from typing import Any

import redis
from flask import Flask, current_app
from rq import Queue, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.timeouts import HorseMonitorTimeoutException, UnixSignalDeathPenalty
from sqlalchemy.exc import SQLAlchemyError

from collector import wire
from webapp import queue
from webapp.config import current_config
from webapp.errors import MusterError
from webapp.extensions import db
from webapp.features import LADDER
from webapp.features.jobs import janitor, service
from webapp.features.jobs.running import NotClaimed
from webapp.processes import lifeline

TASK_NAME = re.compile(r"webapp\.features\.[a-z_]+\.tasks\.[a-z][a-z_]*")
IDLE_SECONDS = 15
MONITOR_SECONDS = 10

log = logging.getLogger(__name__)


class TookTooLong(MusterError):
    """A task ran past its time limit."""

    code = "timeout"


class NotATask(Exception):
    """Somebody wrote a message into Redis that names something else than a task of the hub."""


class TimeLimit(UnixSignalDeathPenalty):
    """RQ's alarm, with a sentence for the ledger. RQ also sets it to look after a work-horse: that one stays RQ's."""

    def handle_death_penalty(self, signum: int, frame: object) -> None:
        if self._exception is HorseMonitorTimeoutException:
            super().handle_death_penalty(signum, frame)
        raise TookTooLong(f"It took longer than {self._timeout} seconds and was stopped.")


class TaskJob(Job):
    """One ring of the doorbell. An attempt that is no longer there to be run is no error: it has been done."""

    def _execute(self) -> Any:
        if not TASK_NAME.fullmatch(self.func_name or ""):
            raise NotATask(str(self.func_name))
        with current_app.app_context():
            try:
                return super()._execute()
            except NotClaimed as stale:
                log.info("nothing to do: %s", stale)
                return None


class LedgerWorker(Worker):
    """Forks a work-horse per job; both die with the process above them, and neither shares a database connection."""

    job_class = TaskJob
    death_penalty_class = TimeLimit
    max_connection_wait_time = 5.0
    _beaten_at = float("-inf")
    _horse_status: int | None = None

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """The child after the fork."""
        lifeline.die_with_parent(signal.SIGKILL)
        if os.getppid() != self.pid:
            os._exit(1)
        db.engine.dispose(close=False)
        super().main_work_horse(job, queue)

    def monitor_work_horse(self, job: Job, queue: Queue) -> None:
        """Waits for the child. What a killed one left goes on at once."""
        self._horse_status = None
        try:
            super().monitor_work_horse(job, queue)
        finally:
            if self._horse_status != os.EX_OK:
                self._in_database(janitor.bury_worker, self.name)

    def wait_for_horse(self) -> Any:
        """RQ's wait, with a note of how the child ended."""
        ended = super().wait_for_horse()
        self._horse_status = ended[1]
        return ended

    def maintain_heartbeats(self, job: Job) -> None:
        """Signs of life while the child works. It goes on while Redis is away: the ledger alone decides."""
        with suppress(redis.RedisError):
            super().maintain_heartbeats(job)

    def set_current_job_working_time(self, current_job_working_time: float, pipeline: Any = None) -> None:
        """A figure for RQ's own tools, not worth ending a child for."""
        self.current_job_working_time = current_job_working_time
        with suppress(redis.RedisError):
            super().set_current_job_working_time(current_job_working_time, pipeline)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """RQ's own sign of life, and ours."""
        super().heartbeat(timeout, pipeline)
        if not self.is_horse and time.monotonic() - self._beaten_at >= MONITOR_SECONDS:
            self._beaten_at = time.monotonic()
            self._in_database(service.beat, self.name, "worker")

    def teardown(self) -> None:
        """The worker's orderly end."""
        self._in_database(service.end_beat, self.name)
        super().teardown()

    def _in_database(self, write: Any, *args: str) -> None:
        """Writes and lets go of the connection: a fork must not find one open."""
        try:
            write(*args)
        except SQLAlchemyError as error:
            log.warning("could not write a sign of life: %s", error)
        finally:
            db.session.remove()
            db.engine.dispose()


def worker_name(queue_name: str, pid: int) -> str:
    """What the worker process `pid` of a queue is called in the ledger and in RQ."""
    return f"{socket.gethostname()}:{pid}:{queue_name}"


def run_queue(app: Flask, name: str) -> None:
    """Works on one queue until it is told to stop. Only one: with two, RQ can lose a job between them."""
    with app.app_context():
        db.engine.dispose(close=False)  # connections that a parent left open are not this process's to use
        service.be_worker(worker_name(name, os.getpid()))
        preload_tasks()
        wire.prepare_structs()
        gc.freeze()  # what is loaded stays: no work-horse walks it, and so copies it, to collect garbage
        client = queue.connect(current_config())
        worker = LedgerWorker(
            [queue.open_queue(client, name)],
            name=service.current_worker(),
            connection=client,
            serializer=JSONSerializer,
            worker_ttl=IDLE_SECONDS + 15,
            job_monitoring_interval=MONITOR_SECONDS,
        )
        worker.work(logging_level="WARNING")


def preload_tasks() -> None:
    """Imports every feature's tasks now, so that a work-horse need not."""
    for feature in LADDER:
        name = f"webapp.features.{feature}.tasks"
        if importlib.util.find_spec(name):
            importlib.import_module(name)
