"""The first start: which folders to watch, and whether past commits should stand for past sessions."""

import sys
from pathlib import Path

import click

from collector.history import IMPORTED_AT, read_history
from collector.invocation import command
from collector.paths import PathError, short_path, watch_path
from collector.sources.folders import suggest_code_folders
from collector.sources.git import preview
from collector.store import Store

FIRST_RUN_DONE = "first_run_done"


def prepare(store: Store) -> None:
    """Asks on a terminal, takes the suggestions elsewhere: before the first start, and only while there is no path."""
    if store.get_meta(FIRST_RUN_DONE) is not None:
        return
    if not store.list_paths():
        suggested = suggest_code_folders(Path.home())
        if sys.stdin.isatty() and sys.stdout.isatty():
            ask(store, suggested)
        else:
            take(store, suggested)
    store.set_meta(FIRST_RUN_DONE, "yes")


def take(store: Store, suggested: list[Path]) -> None:
    """Watches what was found, and says so."""
    for path in suggested:
        store.add_path(path)
        click.echo(f"Watching {short_path(str(path))}.")
    if not suggested:
        click.echo(f"Found no code folder to watch. Add one: {command('paths', 'add', '~/code')}")
    elif store.get_meta(IMPORTED_AT) is None:
        click.echo(f"Past commits can stand for past sessions: {command('import-git')}")


def ask(store: Store, suggested: list[Path]) -> None:
    """Asks which folders to watch, then about their commits."""
    click.echo(
        "Muster's collector records which files you work on, and when. It stays on this machine until you pair it.\n"
    )
    for path in suggested:
        if click.confirm(f"Watch {short_path(str(path))}?", default=True):
            store.add_path(path)
    while text := click.prompt("Another folder (empty: no more)", default="", show_default=False):
        try:
            click.echo(f"Watching {short_path(watch_path(store, str(Path(text).expanduser().absolute())).path)}.")
        except PathError as error:
            click.echo(str(error))
    if store.list_paths():
        ask_for_history(store)


def ask_for_history(store: Store) -> None:
    """Offers the commits of the last 90 days, with their number."""
    found = preview([Path(path.path) for path in store.list_paths()])
    if not found.commits:
        return
    question = f"Derive past sessions from your {found.commits} commits in {found.repositories} repositories (90 days)?"
    if click.confirm(question, default=True):
        click.echo(f"{read_history(store)} observations of past work.")
