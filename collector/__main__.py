"""The command line of the collector: `python -m collector --help`."""

import logging
import sys

if sys.version_info < (3, 11):  # noqa: UP036  (said before anything newer is imported)
    sys.exit("Muster's collector needs Python 3.11 or newer; this is %d.%d." % sys.version_info[:2])  # noqa: UP031

import click

from collector import __version__
from collector.cli import doctor, exporting, linking, service, showing, watching
from collector.cli.first_run import prepare
from collector.cli.setup import Setup, with_setup
from collector.daemon import run as run_daemon
from collector.lock import AlreadyRunning
from collector.serving import NoFreePort


@click.group(context_settings={"max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """Muster's collector: records what you work on, on this machine, until your hub asks for it.

    \b
    run       start it; leave it running (or see `service`)
    pair      connect it with your hub
    status    how it is, and the lines for your editor
    """


@main.command()
@with_setup
def run(setup: Setup) -> None:
    """Record, and answer the hub, until Ctrl-C.

    The first start asks which folders to watch; without a terminal it takes the code folders that it finds.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    try:
        prepare(setup.store)
        run_daemon(setup.config, setup.store)
    except (AlreadyRunning, NoFreePort) as error:
        raise click.ClickException(str(error)) from error


for command in (
    linking.pair,
    linking.unpair,
    showing.status,
    showing.open_page,
    watching.paths,
    watching.scan,
    watching.import_git,
    exporting.export,
    doctor.doctor,
    service.service,
):
    main.add_command(command)


if __name__ == "__main__":
    main(prog_name="python -m collector")
