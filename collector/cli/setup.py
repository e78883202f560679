"""What every command starts from: the configuration, the database, and the daemon if one runs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

import click
import requests

from collector.config import Config, ConfigError, read_config
from collector.lock import is_running
from collector.status import DAEMON_PORT, likely_port
from collector.store import Store

TIMEOUT_SECONDS = (2.0, 15.0)

P = ParamSpec("P")
R = TypeVar("R")


class Daemon:
    """The running daemon of this directory, called with the local token."""

    def __init__(self, url: str, port: int, token: str) -> None:
        self.url = url
        self.port = port
        self._token = token

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer as JSON, None if it is empty. ClickException with the daemon's sentence if it refuses."""
        with requests.Session() as session:
            session.trust_env = False
            headers = {"Authorization": f"Bearer {self._token}"}
            try:
                answer = session.request(
                    method, self.url + path, json=body, headers=headers, timeout=TIMEOUT_SECONDS, allow_redirects=False
                )
            except requests.RequestException as error:
                raise click.ClickException(f"The collector runs, but does not answer at {self.url}.") from error
        if not answer.ok:
            raise click.ClickException(str(answer.json()["detail"]))
        return answer.json() if answer.content else None


@dataclass(frozen=True)
class Setup:
    """One command's surroundings."""

    config: Config
    store: Store

    @property
    def likely_port(self) -> int:
        """Where the collector will listen when it runs."""
        return likely_port(self.store, self.config)

    def find_daemon(self) -> Daemon | None:
        """The daemon, if it runs. The lock says so: whoever else listens on its port must not get the local token."""
        if not is_running(self.config.directory):
            return None
        noted = self.store.get_meta(DAEMON_PORT)
        if noted is None:
            return None
        return Daemon(self.config.url(int(noted)), int(noted), self.store.local_token())


def with_setup(command: Callable[Concatenate[Setup, P], R]) -> Callable[P, R]:
    """Gives a command its surroundings; a wrong variable is one sentence."""

    def prepared(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            config = read_config()
        except ConfigError as error:
            raise click.ClickException(str(error)) from error
        store = Store(config.database_path)
        try:
            return command(Setup(config, store), *args, **kwargs)
        finally:
            store.close()

    return update_wrapper(prepared, command)
