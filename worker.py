"""RQ workers, the scheduler's tick and the janitor: `python worker.py --workers N`."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  (said before anything newer is imported)
    sys.exit("Muster needs Python 3.11 or newer; this is %d.%d." % sys.version_info[:2])  # noqa: UP031

import click

from webapp import create_app
from webapp.config import ConfigError
from webapp.embedded_queue import QueueError
from webapp.processes.workforce import work


@click.command(help="Runs what the hub does in the background: pulls, jobs, the clock and the janitor.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Processes for long jobs.")
def main(workers: int) -> None:
    """One process for pulls, `workers` for jobs, and the clock."""
    try:
        sys.exit(work(create_app(), workers))
    except (ConfigError, QueueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
