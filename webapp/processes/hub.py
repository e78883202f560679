"""What `app.py` runs: the schema upgraded, the address said, then waitress."""

import os
import sys

import click
from flask import Flask

from webapp import schema
from webapp.config import Config
from webapp.features.accounts.service import ensure_setup_link
from webapp.features.devices.seen import flush_seen
from webapp.processes import lifeline, logs
from webapp.processes.serving import AddressTaken, Server

SWITCH_SECONDS = 0.001
"""After how long a thread lets another go on: the loop that answers polls must not stand behind those that compute."""


def serve(app: Flask) -> int:
    """Serves until SIGTERM or SIGINT; the answer is the exit code."""
    os.umask(0o077)
    logs.configure("hub")
    lifeline.hold()
    config: Config = app.extensions["muster"]
    with app.app_context():
        schema.upgrade()
        setup_link = ensure_setup_link()
    try:
        server = Server(app, config)
    except AddressTaken as error:
        click.echo(error, err=True)
        return 1
    if sys.stdout.isatty():  # under the supervisor a log file, where the link must not stand
        click.echo(f"Muster: {config.base_url}")
        if setup_link:
            click.echo(f"Make the first account, once: {config.base_url}{setup_link}")
    sys.setswitchinterval(SWITCH_SECONDS)
    server.run()
    with app.app_context():
        flush_seen()
    return 0
