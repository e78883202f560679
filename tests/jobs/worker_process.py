"""A workforce for tests, in a process of its own (`python -m tests.jobs.worker_process`), with short leases."""

import sys

from tests.jobs import tasks
from webapp import create_app
from webapp.features.jobs import janitor, running
from webapp.processes import clockwork, lifeline, logs, workforce


def main() -> None:
    """One worker for the queue `jobs`, and the janitor."""
    sys.modules["webapp.features.testing.tasks"] = tasks
    logs.configure("test-worker")
    lifeline.hold()
    running.LEASE_SECONDS = 2.0
    workforce.TICK_SECONDS = 0.2
    workforce.PAUSE_SECONDS = 0.1
    chores = [clockwork.Chore(0.2, janitor.tidy), clockwork.Chore(1, clockwork.say_alive)]
    workforce.Workforce(create_app(), ["jobs"], chores).run()


if __name__ == "__main__":
    main()
