"""A workforce for tests, in a process of its own (`python -m tests.jobs.worker_process`), with short leases.

TEST_LEASES=production keeps the product's leases and clock; only the pause before a dead worker is replaced is short
always. TEST_QUEUES names one worker each; `pulls` brings every chore of the product.
"""

import os
import sys

from tests.jobs import tasks
from webapp import create_app
from webapp.features.jobs import janitor, running
from webapp.processes import clockwork, lifeline, logs, rq_worker, workforce


def main() -> None:
    """By default one worker for the queue `jobs`, and the janitor."""
    sys.modules["webapp.features.testing.tasks"] = tasks
    logs.configure("test-worker")
    lifeline.hold()
    queues = os.environ.get("TEST_QUEUES", "jobs").split()
    chores = clockwork.make_chores()
    if "pulls" not in queues:
        chores = [chore for chore in chores if chore.do in (janitor.tidy, janitor.sweep_rings, clockwork.say_alive)]
    workforce.PAUSE_SECONDS = 0.1
    if os.environ.get("TEST_LEASES") != "production":
        running.LEASE_SECONDS = 2.0
        rq_worker.MONITOR_SECONDS = 1
        workforce.TICK_SECONDS = 0.2
        chores = [clockwork.Chore(chore.every_seconds / 10, chore.do) for chore in chores]
    workforce.Workforce(create_app(), queues, chores).run()


if __name__ == "__main__":
    main()
