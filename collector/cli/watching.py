"""`paths`, `scan` and `import-git`: what is recorded."""

from pathlib import Path

import click

from collector import wire
from collector.cli.setup import Setup, with_setup
from collector.history import read_history
from collector.invocation import command
from collector.paths import PathError, short_path, watch_path
from collector.sources.filesystem import FilesystemSource
from collector.timeline.materialise import materialise
from collector.words import count


@click.group()
def paths() -> None:
    """List, add or remove the folders whose saved files are recorded."""


@paths.command("list")
@with_setup
def list_paths(setup: Setup) -> None:
    """Show the watched folders."""
    watched = setup.store.list_paths()
    for path in watched:
        missing = "" if Path(path.path).is_dir() else "   (not there now)"
        click.echo(f"{path.id:>4}  {short_path(path.path)}{missing}")
    if not watched:
        click.echo(f"No folder is watched. Add one: {command('paths', 'add', '~/code')}")


@paths.command("add")
@click.argument("path", type=click.Path(path_type=Path))
@with_setup
def add_path(setup: Setup, path: Path) -> None:
    """Watch a folder with everything below it."""
    try:
        added = watch_path(setup.store, str(path.expanduser().absolute()))
    except PathError as error:
        raise click.ClickException(str(error)) from error
    look_again(setup)
    click.echo(f"Watching {short_path(added.path)}.")


@paths.command("remove")
@click.argument("path")
@with_setup
def remove_path(setup: Setup, path: str) -> None:
    """Stop watching a folder, by its path or its number in the list. What was recorded stays."""
    full = str(Path(path).expanduser().absolute())
    found = next((one for one in setup.store.list_paths() if path == str(one.id) or full == one.path), None)
    if found is None:
        raise click.ClickException(f"{path} is not watched. The list: {command('paths', 'list')}")
    setup.store.remove_path(found.id)
    look_again(setup)
    click.echo(f"No longer watching {short_path(found.path)}. What was recorded there stays.")


@click.command()
@with_setup
def scan(setup: Setup) -> None:
    """Look through the watched folders now."""
    watched = setup.store.list_paths()
    if not watched:
        raise click.ClickException(f"No folder is watched. Add one: {command('paths', 'add', '~/code')}")
    if look_again(setup):
        click.echo(f"The collector is looking through {count(len(watched), 'folder')}.")
        return
    FilesystemSource(setup.store, watched, lambda: None).rescan()
    changed = materialise(setup.store, wire.now_ms())
    click.echo(f"Looked through {count(len(watched), 'folder')}; {count(changed, 'session')} changed.")


@click.command("import-git")
@with_setup
def import_git(setup: Setup) -> None:
    """Derive past sessions from your commits of the last 90 days.

    They are estimates and marked as such. A commit is never counted twice, and never beside a better record.
    """
    if not setup.store.list_paths():
        raise click.ClickException(f"No folder is watched. Add one: {command('paths', 'add', '~/code')}")
    added = read_history(setup.store)
    changed = materialise(setup.store, wire.now_ms())
    click.echo(f"{count(added, 'observation')} new, {count(changed, 'session')} changed.")


def look_again(setup: Setup) -> bool:
    """Tells a running daemon to look at the folders. False if none runs."""
    daemon = setup.find_daemon()
    if daemon is not None:
        daemon.call("POST", "/scan/trigger", {})
    return daemon is not None
