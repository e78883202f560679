"""What happens by the clock: rings for due pulls and discovery, the janitor, the sign of life, the pruning."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Flask
from sqlalchemy.exc import OperationalError

from webapp.extensions import db
from webapp.features.devices.service import prune_calls
from webapp.features.devices.tasks import ring_discovery
from webapp.features.jobs import janitor, service
from webapp.features.sessions.importing import look_into_inbox
from webapp.features.sessions.pruning import prune_pulls
from webapp.features.sessions.refilling import ring_refills
from webapp.features.sessions.retrying import retry_after_update
from webapp.features.sessions.tasks import ring_due_pulls

LONGEST_PAUSE_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass
class Chore:
    """One thing to do every so often. While it fails it is tried less often, so that the log stays readable."""

    every_seconds: float
    do: Callable[[], object]
    due_at: float = field(default=float("-inf"))
    failures: int = 0

    def run_if_due(self, now: float) -> None:
        """Does it if its time has come (`now` on the monotonic clock)."""
        if now < self.due_at:
            return
        try:
            self.do()
            self.failures = 0
        except Exception:  # one failing chore must not stop the others, whatever it is
            self.failures += 1
            log.exception("%s failed", getattr(self.do, "__name__", self.do))
        finally:
            db.session.remove()
        self.due_at = now + min(self.every_seconds * 2**self.failures, max(self.every_seconds, LONGEST_PAUSE_SECONDS))


def say_alive() -> None:
    """The scheduler's sign of life."""
    service.beat(service.current_worker(), "scheduler")


def make_chores() -> list[Chore]:
    """Everything that the clock does. Two clocks do no harm: each chore finds done what the other did."""
    return [
        Chore(10, say_alive),
        Chore(2, janitor.tidy),
        Chore(15, janitor.sweep_rings),
        Chore(1, ring_due_pulls),
        Chore(1, ring_discovery),
        Chore(5, look_into_inbox),
        Chore(3600, janitor.prune_finished),
        Chore(3600, prune_pulls),
        Chore(60, prune_calls),
        Chore(600, retry_after_update),
        Chore(5, ring_refills),
    ]


def tick(app: Flask, chores: list[Chore]) -> None:
    """Does what is due."""
    for chore in chores:
        with app.app_context():
            chore.run_if_due(time.monotonic())


def say_goodbye(app: Flask) -> None:
    """Takes the sign of life back at an orderly end."""
    with app.app_context():
        try:
            service.end_beat(service.current_worker())
        except OperationalError as error:  # the beat goes stale by itself
            log.warning("could not take back the sign of life: %s", error)
