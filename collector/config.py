"""The collector's boot configuration: one frozen object, read once from the environment."""

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from collector import wire

LOWEST_PORT = 1024
"""A hub never calls a port below this one: system services live there."""

LONGEST_WARN_HOURS = 8760

WORDS_FOR_YES = ("1", "true", "yes", "on")
WORDS_FOR_NO = ("0", "false", "no", "off")


class ConfigError(Exception):
    """A variable that cannot be used; the message names it and what it accepts."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the collector keeps its database and where it listens: on the first of `ports` that is free.

    After `warn_hours` of running without a pull it warns its owner (0: never), also by a desktop notice when
    `is_notifying`, and at `warn_url` when there is one.
    """

    directory: Path
    host: str = "127.0.0.1"
    ports: tuple[int, ...] = tuple(wire.DISCOVERY_PORTS)
    warn_hours: int = 24
    is_notifying: bool = False
    warn_url: str | None = None

    @property
    def database_path(self) -> Path:
        """The one file that holds everything."""
        return self.directory / "collector.db"

    @property
    def is_any_host(self) -> bool:
        """Whether it listens on every address of the machine."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104 - only compared

    def url(self, port: int) -> str:
        """The address of this collector as programs of this machine reach it."""
        host = "127.0.0.1" if self.is_any_host else self.host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def read_config(env: Mapping[str, str] = os.environ) -> Config:
    """The configuration that `env` describes. ConfigError says what to change."""
    host = env.get("MUSTER_COLLECTOR_HOST") or "127.0.0.1"
    if not is_loopback(host) and not _read_flag(env, "MUSTER_INSECURE_LAN"):
        raise ConfigError(
            f"MUSTER_COLLECTOR_HOST={host} would serve plain HTTP to the network. "
            "Set MUSTER_INSECURE_LAN=1 if you trust this network, or leave it on 127.0.0.1."
        )
    return Config(
        directory=_read_directory(env),
        host=host,
        ports=_read_ports(env),
        warn_hours=_read_hours(env),
        is_notifying=_read_flag(env, "MUSTER_COLLECTOR_NOTIFY"),
        warn_url=_read_warn_url(env),
    )


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read_directory(env: Mapping[str, str]) -> Path:
    text = env.get("MUSTER_COLLECTOR_DIR") or platformdirs.user_data_dir("muster-collector", appauthor=False)
    directory = Path(text).expanduser().absolute()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"MUSTER_COLLECTOR_DIR={text}: cannot make this directory ({error.strerror}).") from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(f"MUSTER_COLLECTOR_DIR={text}: a directory that you can write to.")
    if os.name == "posix" and directory.stat().st_mode & 0o077:
        directory.chmod(0o700)
    return directory


def _read_ports(env: Mapping[str, str]) -> tuple[int, ...]:
    text = env.get("MUSTER_COLLECTOR_PORT")
    if not text:
        return tuple(wire.DISCOVERY_PORTS)
    if not (text.isascii() and text.isdigit() and LOWEST_PORT <= int(text) <= 65535):
        raise ConfigError(f"MUSTER_COLLECTOR_PORT={text!r}: a whole number from {LOWEST_PORT} to 65535.")
    return (int(text),)


def _read_hours(env: Mapping[str, str]) -> int:
    text = env.get("MUSTER_COLLECTOR_WARN_HOURS") or "24"
    if not (text.isascii() and text.isdigit() and int(text) <= LONGEST_WARN_HOURS):
        raise ConfigError(
            f"MUSTER_COLLECTOR_WARN_HOURS={text!r}: whole hours from 1 to {LONGEST_WARN_HOURS}, or 0 for no warning."
        )
    return int(text)


def _read_warn_url(env: Mapping[str, str]) -> str | None:
    """The address to warn at. Its value is not shown: whoever knows an ntfy topic can read it."""
    text = env.get("MUSTER_COLLECTOR_WARN_URL")
    if not text:
        return None
    try:
        parts = urlsplit(text)
        is_private = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        is_usable = bool(is_private and parts.hostname and parts.port != 0 and parts.username is None)
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigError(
            "MUSTER_COLLECTOR_WARN_URL: an https address without a name and password in it, such as "
            "https://ntfy.sh/a-topic-of-yours; plain http only on this machine."
        )
    return text


def _read_flag(env: Mapping[str, str], name: str) -> bool:
    text = (env.get(name) or "no").lower()
    if text not in WORDS_FOR_YES + WORDS_FOR_NO:
        raise ConfigError(f"{name}={text!r}: true or false.")
    return text in WORDS_FOR_YES
