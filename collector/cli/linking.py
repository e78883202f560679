"""`pair` and `unpair`: the link to the hub, with or without a running daemon."""

import click

from collector.cli.setup import Setup, with_setup
from collector.invocation import command
from collector.link.hub import is_private_road
from collector.link.pairing import PairingError
from collector.link.pairing import pair as redeem
from collector.link.pairing import unpair as end_link


@click.command()
@click.argument("url")
@click.argument("code", nargs=-1, required=True)
@with_setup
def pair(setup: Setup, url: str, code: tuple[str, ...]) -> None:
    """Pair this machine with a hub.

    URL is the hub's address, CODE the six characters on its pairing page. Spaces, dashes and lower case do not matter.
    """
    daemon = setup.find_daemon()
    try:
        link = redeem(setup.store, url, "".join(code), setup.likely_port if daemon is None else daemon.port)
    except PairingError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Paired with {link.hub_name} at {link.hub_url}.")
    if not is_private_road(link.hub_url):
        click.echo("The way there is plain HTTP: others on the network could read along. Prefer https.")
    if daemon is None:
        click.echo(f"The collector does not run yet. Start it: {command('run')}")


@click.command()
@with_setup
def unpair(setup: Setup) -> None:
    """End the link to the hub. What was recorded stays, here and on the hub."""
    link = setup.store.find_link()
    if link is None:
        click.echo("This machine is not paired.")
        return
    untold = end_link(setup.store)
    click.echo(f"Unpaired from {link.hub_name}. What this machine recorded stays here.")
    if untold is not None:
        click.echo(f"The hub could not be told ({untold}) Remove this machine on its page too.")
