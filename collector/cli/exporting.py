"""`export`: everything that this machine recorded in one file, for a hub that no network reaches."""

from pathlib import Path

import click

from collector import wire
from collector.cli.setup import Setup, with_setup
from collector.export_file import SUFFIX, ExportFileError, write_export_file
from collector.paths import short_path
from collector.timeline.materialise import materialise
from collector.words import count, size


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@with_setup
def export(setup: Setup, file: Path, force: bool) -> None:
    """Write everything that was recorded into FILE, for a hub that no network reaches.

    It works while the collector runs. The file is signed: only the hub that this machine is paired with takes it. It is
    not encrypted, so whoever can read it can read which files you worked on, and when.
    """
    file = file.expanduser().absolute()
    if file.is_dir():
        raise click.ClickException(f"{short_path(str(file))} is a folder. Name a file in it, such as laptop{SUFFIX}.")
    if file.exists() and not force:
        raise click.ClickException(f"{short_path(str(file))} is there already. Write over it with --force.")
    materialise(setup.store, wire.now_ms())
    try:
        written = write_export_file(setup.store, file)
    except ExportFileError as error:
        raise click.ClickException(str(error)) from error
    link = setup.store.find_link()
    hub = "the hub" if link is None else link.hub_name
    click.echo(f"{count(written.sessions, 'session')} in {short_path(str(file))} ({size(written.size)}).")
    click.echo(f"Take it to {hub}: on this machine's page there, *Import a file*.")
    inbox = f"{file.stem}{SUFFIX}"
    click.echo(f"Or put it, as {inbox}, into the folder inbox of the hub's data directory (var/inbox).")
