"""The hub's boot configuration: one frozen object, read once from the environment. What people edit are settings."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flask import current_app

from webapp.lib.secrets import derive_key


class ConfigError(Exception):
    """A variable that cannot be used; the message names it and what it accepts."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where the hub keeps its data, where it listens, and how patiently it pulls. Spans are seconds."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8000
    database_url: str = ""
    redis_url: str = ""
    hub_key: bytes = b""
    hub_name: str = "Muster"
    trusted_hosts: tuple[str, ...] = ()
    is_insecure_lan: bool = False
    is_https: bool = False
    collector_timeout_seconds: float = 30.0
    collector_retry_attempts: int = 3
    is_discovery_enabled: bool = True
    discovery_hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    discovery_ports: tuple[int, ...] = (8001, 8002, 8003, 8004, 8005)
    pull_interval_seconds: int = 60
    silent_days: int = 7
    is_testing: bool = False

    @property
    def base_url(self) -> str:
        """The address that this hub prints for people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the hub."""
        return self.host in ("127.0.0.1", "localhost", "::1")

    @property
    def cursor_key(self) -> bytes:
        """What the cursors of long lists are signed with."""
        return derive_key(self.hub_key, "cursor")

    @property
    def setup_link_path(self) -> Path:
        """The file with the one-time token that lets the first visitor create the owner."""
        return self.data_dir / "setup-link"


def read_config(env: Mapping[str, str] = os.environ) -> Config:
    """The configuration that `env` describes; makes the data directory and its key. ConfigError says what to change."""
    data_dir = Path(env.get("MUSTER_DATA_DIR") or "var").expanduser().resolve()
    make_private_dir(data_dir)
    config = Config(
        data_dir=data_dir,
        host=env.get("MUSTER_HOST") or "127.0.0.1",
        port=_read_int(env, "MUSTER_PORT", 8000, 1, 65535),
        database_url=env.get("DATABASE_URL") or f"sqlite:///{data_dir / 'muster.db'}",
        redis_url=env.get("REDIS_URL") or "",
        hub_key=read_key(data_dir / "keys" / "hub.key"),
        hub_name=env.get("MUSTER_NAME") or "Muster",
        trusted_hosts=_read_words(env, "MUSTER_TRUSTED_HOSTS", ""),
        is_insecure_lan=_read_flag(env, "MUSTER_INSECURE_LAN", False),
        is_https=_read_flag(env, "MUSTER_HTTPS", False),
        collector_timeout_seconds=_read_int(env, "COLLECTOR_TIMEOUT", 30, 1, 300),
        collector_retry_attempts=_read_int(env, "COLLECTOR_RETRY_ATTEMPTS", 3, 1, 10),
        is_discovery_enabled=_read_flag(env, "COLLECTOR_DISCOVERY_ENABLED", True),
        discovery_hosts=_read_words(env, "COLLECTOR_DISCOVERY_HOSTS", "localhost,127.0.0.1"),
        discovery_ports=_read_ports(env, "COLLECTOR_DISCOVERY_PORTS", "8001-8005"),
        pull_interval_seconds=_read_int(env, "PULL_INTERVAL", 60, 1, 86400),
        silent_days=_read_int(env, "MUSTER_SILENT_DAYS", 7, 1, 3650),
    )
    _check_exposure(config)
    return config


def make_private_dir(path: Path) -> Path:
    """`path` as a directory that only its owner can enter."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def read_key(path: Path) -> bytes:
    """The 32-byte key in `path`, made (mode 0600) on first use. ConfigError if the file is not such a key."""
    make_private_dir(path.parent)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
        if len(key) != 32:
            raise ConfigError(f"{path} is not a Muster key (32 bytes). Restore it from a backup.") from None
        return key
    key = secrets.token_bytes(32)
    with os.fdopen(handle, "wb") as file:
        file.write(key)
    return key


def _check_exposure(config: Config) -> None:
    if config.is_loopback:
        return
    if not (config.is_https or config.is_insecure_lan):
        raise ConfigError(
            f"MUSTER_HOST={config.host} would serve plain HTTP to the network. Put a TLS proxy in front and set "
            "MUSTER_HTTPS=1, or set MUSTER_INSECURE_LAN=1 if you trust this network."
        )
    if not config.trusted_hosts:
        raise ConfigError(
            "MUSTER_TRUSTED_HOSTS is needed when MUSTER_HOST is not this machine: the host names, by comma."
        )


def _read_int(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ConfigError(f"{name}={text!r}: a whole number from {low} to {high}.")
    return int(text)


def _read_flag(env: Mapping[str, str], name: str, default: bool) -> bool:
    text = (env.get(name) or str(default)).lower()
    if text not in ("1", "true", "yes", "on", "0", "false", "no", "off"):
        raise ConfigError(f"{name}={text!r}: true or false.")
    return text in ("1", "true", "yes", "on")


def _read_words(env: Mapping[str, str], name: str, default: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in (env.get(name) or default).split(",") if word.strip())


def _read_ports(env: Mapping[str, str], name: str, default: str) -> tuple[int, ...]:
    ports: list[int] = []
    for word in _read_words(env, name, default):
        first, _, last = word.partition("-")
        if not (first.isdigit() and (last or first).isdigit() and 1 <= int(first) <= int(last or first) <= 65535):
            raise ConfigError(f"{name}={word!r}: ports or ranges by comma, such as 8001-8005.")
        ports.extend(range(int(first), int(last or first) + 1))
    return tuple(ports)


def current_config() -> Config:
    """The configuration of the app in whose context this runs."""
    config: Config = current_app.extensions["muster"]
    return config
