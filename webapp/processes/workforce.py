"""What `worker.py` runs: a process per queue, kept alive, and the clock in the parent."""

import logging
import os
import signal
import time
from functools import partial

import click
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from webapp import embedded_queue, schema
from webapp.config import Config
from webapp.extensions import db
from webapp.features.jobs import janitor
from webapp.processes import clockwork, lifeline, logs
from webapp.processes.children import Child
from webapp.processes.queue_watch import QueueWatch
from webapp.processes.rq_worker import run_queue, worker_name

TICK_SECONDS = 1.0
STOP_SECONDS = 8.0
STEADY_SECONDS = 30.0
PAUSE_SECONDS = 2.0

log = logging.getLogger(__name__)


def work(app: Flask, workers: int = 1) -> int:
    """Runs until SIGTERM or SIGINT. The answer is the exit code."""
    os.umask(0o077)
    logs.configure("worker")
    lifeline.hold()
    config: Config = app.extensions["muster"]
    with app.app_context():
        if not schema.wait():
            click.echo("The database is not ready. Start the hub first (app.py): it upgrades the database.", err=True)
            return 1
    queue = Child("queue", partial(embedded_queue.start, config.data_dir))
    chores = clockwork.make_chores()
    if not config.redis_url:
        queue.start()
        chores.append(keep_queue(queue, config))
    try:
        Workforce(app, ["pulls", *["jobs"] * workers], chores).run()
    finally:
        queue.ask_to_end()
        queue.end(5)
    return 0


def keep_queue(queue: Child, config: Config) -> clockwork.Chore:
    """The chore that keeps the embedded queue running and reachable."""
    watch = QueueWatch(queue, config.data_dir)

    def keep() -> None:
        for said in (watch.look(), queue.keep()):
            if said:
                log.warning(said)

    return clockwork.Chore(TICK_SECONDS, keep)


class Workforce:
    """One process per entry of `queues`, and a clock that does `chores`."""

    def __init__(self, app: Flask, queues: list[str], chores: list[clockwork.Chore]) -> None:
        self.app = app
        self.chores = chores
        self.idle = [(name, 0.0) for name in queues]
        self.busy: dict[int, tuple[str, float]] = {}
        self.dead: set[str] = set()
        self.is_stopping = False

    def run(self) -> None:
        """Forks, ticks, and forks again what died; at the end nothing is left."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self.is_stopping:
            self._fill()
            started = time.monotonic()
            clockwork.tick(self.app, self.chores)
            self._reap()
            self._bury("killed")
            time.sleep(max(0.05, TICK_SECONDS - (time.monotonic() - started)))
        self._end_children()
        self._bury("stopped")
        clockwork.say_goodbye(self.app)

    def _stop(self, *_signal: object) -> None:
        self.is_stopping = True

    def _fill(self) -> None:
        now = time.monotonic()
        due = [entry for entry in self.idle if entry[1] <= now]
        if not due:
            return
        self._let_go_of_the_database()
        for entry in due:
            self.idle.remove(entry)
            self.busy[self._fork(entry[0])] = (entry[0], now)

    def _fork(self, queue: str) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            lifeline.die_with_parent(signal.SIGKILL)
            if os.getppid() == parent:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                run_queue(self.app, queue)
                code = 0
        except Exception:
            log.exception("the worker of the queue %s ended", queue)
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for pid in list(self.busy):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                queue, since = self.busy.pop(pid)
                self.dead.add(worker_name(queue, pid))
                pause = 0.0 if time.monotonic() - since > STEADY_SECONDS else PAUSE_SECONDS
                log.warning("the worker of the queue %s ended (status %s); starting another", queue, status)
                self.idle.append((queue, time.monotonic() + pause))

    def _bury(self, end: janitor.End) -> None:
        """What dead workers were at goes on elsewhere. While the database is busy, in the next round."""
        for name in list(self.dead):
            with self.app.app_context():
                try:
                    janitor.bury_worker(name, end)
                    self.dead.remove(name)
                except SQLAlchemyError as error:
                    log.warning("could not give on the work of %s yet: %s", name, error)
                finally:
                    db.session.remove()

    def _end_children(self) -> None:
        self.dead.update(worker_name(queue, pid) for pid, (queue, _) in self.busy.items())
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while self.busy and time.monotonic() < deadline:
            time.sleep(0.05)
            self._forget_ended()
        self._signal_all(signal.SIGKILL)
        for pid in list(self.busy):
            os.waitpid(pid, 0)

    def _forget_ended(self) -> None:
        for pid in list(self.busy):
            if os.waitpid(pid, os.WNOHANG)[0]:
                self.busy.pop(pid)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.busy:
            os.kill(pid, number)

    def _let_go_of_the_database(self) -> None:
        with self.app.app_context():
            db.session.remove()
            db.engine.dispose()
