"""`doctor`: says in sentences what is wrong with this collector, and exits 1 if anything is."""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from collector.cli.setup import Setup, with_setup
from collector.invocation import command
from collector.link.hub import Hub, HubError
from collector.paths import short_path
from collector.store import Link, journal_mode
from collector.watch import HELP, find_silence, read_last_pull
from collector.words import ago

LEAST_FREE_BYTES = 200 * 1024 * 1024
WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
FEW_WATCHES = 65_536


class Finding(NamedTuple):
    """One thing that was looked at; only those that are wrong matter to the exit code."""

    is_wrong: bool
    sentence: str


@click.command()
@with_setup
def doctor(setup: Setup) -> None:
    """Say what is wrong, in sentences. The exit code is 1 if anything is."""
    findings = list(examine(setup))
    for finding in findings:
        click.echo(f"{'WRONG' if finding.is_wrong else 'ok':<6} {finding.sentence}")
    if any(finding.is_wrong for finding in findings):
        sys.exit(1)


def examine(setup: Setup) -> Iterator[Finding]:
    """Everything that can be wrong, looked at in the order in which it would be repaired."""
    yield examine_database(setup)
    yield examine_disk(setup)
    yield examine_daemon(setup)
    yield examine_link(setup.store.find_link())
    yield from examine_pulls(setup)
    yield from examine_folders(setup)
    yield examine_editor(setup)


def examine_database(setup: Setup) -> Finding:
    """Whether the one file is sound."""
    try:
        with setup.store.read() as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        verdict = str(error)
    where = short_path(str(setup.config.database_path))
    if verdict != "ok":
        return Finding(True, f"The database {where} is damaged ({verdict}). Restore it from a backup, or remove it.")
    return Finding(False, f"The database {where} is sound (SQLite {sqlite3.sqlite_version}, {journal_mode()} mode).")


def examine_disk(setup: Setup) -> Finding:
    """Whether there is room to record."""
    free = shutil.disk_usage(setup.config.directory).free
    sentence = f"{free // 2**20:,} MiB are free on the disk of {short_path(str(setup.config.directory))}."
    return Finding(free < LEAST_FREE_BYTES, sentence if free >= LEAST_FREE_BYTES else f"Only {sentence} Make room.")


def examine_daemon(setup: Setup) -> Finding:
    """Whether the daemon runs and answers."""
    daemon = setup.find_daemon()
    if daemon is None:
        return Finding(True, f"The collector does not run, so nothing is recorded. Start it: {command('run')}")
    try:
        daemon.call("GET", "/status")
    except click.ClickException as error:
        return Finding(True, error.message)
    return Finding(False, f"The collector runs and answers at {daemon.url}.")


def examine_link(link: Link | None) -> Finding:
    """Whether the hub can be reached with this link."""
    if link is None:
        return Finding(True, f"This machine is not paired. With a code of the hub: {command('pair', 'URL', 'CODE')}")
    try:
        Hub.of(link).get("/api/collector/poll?version=0&epoch=")
    except HubError as error:
        return Finding(True, f"Paired with {link.hub_name}, but: {error}")
    return Finding(False, f"Paired with {link.hub_name}, which answers at {link.hub_url}.")


def examine_pulls(setup: Setup) -> Iterator[Finding]:
    """Whether the hub still pulls."""
    if setup.store.find_link() is None:
        return
    silence, pull = find_silence(setup.store, setup.config), read_last_pull(setup.store)
    if silence is not None:
        yield Finding(True, f"{silence.what} {HELP}")
    elif pull is None:
        yield Finding(False, "The hub has not pulled yet.")
    else:
        yield Finding(False, f"The hub last pulled {ago(pull.at_ms)}.")


def examine_folders(setup: Setup) -> Iterator[Finding]:
    """Whether the watched folders are there, and the system lets them be watched."""
    watched = setup.store.list_paths()
    for path in watched:
        is_there = Path(path.path).is_dir()
        sentence = f"{short_path(path.path)} is {'watched' if is_there else 'not there now; is its disk connected?'}"
        yield Finding(not is_there, sentence.rstrip("?") + ("." if is_there else "?"))
    if not watched:
        yield Finding(True, f"No folder is watched. Add one: {command('paths', 'add', '~/code')}")
    if WATCH_LIMIT.exists() and int(WATCH_LIMIT.read_text()) < FEW_WATCHES:
        sentence = "The system lets few folders be watched at once; large trees are noticed by the scan, each minute."
        yield Finding(False, f"{sentence} More: sysctl fs.inotify.max_user_watches=524288")


def examine_editor(setup: Setup) -> Finding:
    """Whether an editor reports here. Without one the collector still sees saved files."""
    last = setup.store.find_last_observation("wakatime")
    if last is None:
        return Finding(False, f"No editor has reported yet. The two lines for its plug-in: {command('status')}")
    return Finding(False, f"{last.editor} reports.")
