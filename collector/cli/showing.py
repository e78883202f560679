"""`status` and `open`: how it is, in the terminal and in the browser."""

import json
import webbrowser
from datetime import datetime
from typing import Any

import click
import tzlocal

from collector import wire
from collector.cli.setup import Setup, with_setup
from collector.invocation import command
from collector.paths import short_path
from collector.status import describe
from collector.tickets import mint_ticket
from collector.words import ROADS, ago, duration


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs. It holds the local token and the editor's key.")
@with_setup
def status(setup: Setup, as_json: bool) -> None:
    """Show whether it runs, with which hub it is paired, what it records, and the lines for your editor."""
    daemon = setup.find_daemon()
    told: dict[str, Any] = describe(setup.store, setup.config) if daemon is None else daemon.call("GET", "/status")
    if as_json:
        click.echo(json.dumps({**told, "localToken": setup.store.local_token()}, indent=2))
        return
    rows = [
        ("Collector", f"runs, port {told['port']}" if told["running"] else f"does not run. Start it: {command('run')}"),
        ("Hub", say_hub(told)),
        ("Last pull", say_pull(told)),
        ("Folders", say_folders(setup)),
        ("Editors", say_editor(told["sources"]["wakatime"])),
        ("Sessions", f"{told['sessions']:,}, today {duration(setup.store.today_seconds(tzlocal.get_localzone()))}"),
    ]
    if told["warning"]:
        rows.insert(0, ("WARNING", told["warning"]))
    for name, sentence in rows:
        click.echo(f"{name:<10} {sentence}")
    click.echo("\nFor your editor's WakaTime plug-in, in ~/.wakatime.cfg:\n")
    click.echo(f"[settings]\napi_url = {told['wakatime']['apiUrl']}\napi_key = {told['wakatime']['apiKey']}")


@click.command("open")
@click.option("--print", "only_print", is_flag=True, help="Print the link, do not start a browser.")
@with_setup
def open_page(setup: Setup, only_print: bool) -> None:
    """Open the collector's own page, by a link that works once."""
    daemon = setup.find_daemon()
    if daemon is None:
        raise click.ClickException(f"The collector does not run. Start it: {command('run')}")
    link = f"{daemon.url}/open/{mint_ticket(setup.store)}"
    click.echo(link)
    if not only_print:
        webbrowser.open(link)


def say_hub(told: dict[str, Any]) -> str:
    """The link in a sentence."""
    if not told["paired"]:
        return f"not paired. With a code from its pairing page: {command('pair', 'URL', 'CODE')}"
    hub, trouble = f"{told['hubName']} at {told['hubUrl']}", told["hub"]["trouble"]
    if trouble:
        return f"{hub}, out of touch: {trouble}"
    answered_at = told["hub"]["lastAnswerAt"]
    return hub if answered_at is None else f"{hub}, in touch {say_age(answered_at)}"


def say_pull(told: dict[str, Any]) -> str:
    """When the hub last pulled, and how."""
    pull = told["lastPull"]
    return "none yet" if pull is None else f"{say_age(pull['at'])}, {ROADS.get(pull['road'], pull['road'])}"


def say_folders(setup: Setup) -> str:
    """The watched folders."""
    watched = [short_path(path.path) for path in setup.store.list_paths()]
    return ", ".join(watched) or f"none. Add one: {command('paths', 'add', '~/code')}"


def say_editor(wakatime: dict[str, Any]) -> str:
    """The editor that reported last."""
    last_at = wakatime["lastHeartbeatAt"]
    return f"{wakatime['editor']}, {say_age(last_at)}" if last_at else "none has reported yet"


def say_age(moment: str) -> str:
    """`12 s ago`."""
    return ago(wire.to_ms(datetime.fromisoformat(moment)))
