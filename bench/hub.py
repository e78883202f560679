"""A hub for benchmarks: data in a directory of its own, an account, paired devices, and the real server process."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flask import Flask

from bench.measure import free_port, wait_for_port
from collector import wire
from webapp import create_app, schema
from webapp.config import read_config
from webapp.features.accounts import service as accounts
from webapp.features.devices import service as devices

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Hub:
    """A data directory with its environment and an app to work on it from this process."""

    app: Flask
    env: dict[str, str]
    port: int
    account_id: int


@contextmanager
def make_hub(**env: str) -> Iterator[Hub]:
    """A migrated hub with one account `bench`; its app context is pushed."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        port = free_port()
        given = {"MUSTER_DATA_DIR": folder, "MUSTER_PORT": str(port), **env}
        app = create_app(read_config(given))
        with app.app_context():
            schema.upgrade()
            account = accounts.create_account("bench", secrets.token_urlsafe(16), is_admin=True)
            yield Hub(app, {**os.environ, **given}, port, account.id)


def pair_device(hub: Hub, device_id: str, address: str, port: int) -> wire.ClaimAnswer:
    """Pairs a device as a claim from `address` would."""
    _, code = devices.create_code(hub.account_id)
    claim = wire.ClaimRequest(
        code=code, device_id=device_id, name=device_id, platform="linux", version="0.1.0", port=port
    )
    return devices.claim_code(claim, address=address)


@contextmanager
def serving(hub: Hub) -> Iterator[int]:
    """The hub's server as its own process -> its process id."""
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=hub.env, stdout=subprocess.DEVNULL)
    try:
        wait_for_port(hub.port)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)
