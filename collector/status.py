"""What the collector says of itself: to its user (`status`, the page) and, without secrets, to the hub."""

import shutil

from collector import __version__, wire
from collector.config import Config
from collector.history import IMPORTED_AT
from collector.link.settings import read_settings
from collector.machine import machine_name
from collector.running import Running
from collector.store import Store, find_meta
from collector.watch import HELP, NOTHING_LOST, find_silence, read_last_pull

WAKATIME_PATH = "/api/v1"
FULL_BYTES = 16 * 1024 * 1024
"""With less room than this nothing can be recorded for long."""
DAEMON_PORT = "daemon_port"
"""Where the daemon that has the directory notes its port: believed only while the directory's lock is taken."""

TOLD = ("state", "lastAt", "lastHeartbeatAt", "editor")
"""What the hub is told of a source: nothing with a path in it."""


def describe(store: Store, config: Config, running: Running | None = None) -> dict[str, object]:
    """Everything that `status --json` prints but the local token. Without `running` from the database alone."""
    link, settings = store.find_link(), read_settings(store)
    port = likely_port(store, config) if running is None else running.port
    return {
        "running": running is not None,
        "name": machine_name(),
        "version": __version__,
        "paired": link is not None,
        "deviceId": store.identity.device_id,
        "hubUrl": None if link is None else link.hub_url,
        "hubName": None if link is None else link.hub_name,
        "hub": describe_hub(running),
        "lastPull": describe_last_pull(store),
        "warning": describe_silence(store, config),
        "port": port,
        "settingsVersion": settings.version,
        "settings": settings.values,
        "wakatime": {"apiUrl": config.url(port) + WAKATIME_PATH, "apiKey": store.wakatime_key()},
        "queues": {"observations": count_waiting(store)},
        "sources": describe_sources(store, running),
        "sessions": store.count_sessions(),
    }


def report(running: Running) -> dict[str, object]:
    """What a heartbeat tells the hub: no path, no secret."""
    sources = describe_sources(running.store, running)
    told = {name: {key: source[key] for key in TOLD if key in source} for name, source in sources.items()}
    disk = {"isFull": shutil.disk_usage(running.config.directory).free < FULL_BYTES}
    return {"name": machine_name(), "version": __version__, "port": running.port, "sources": told, "disk": disk}


def describe_hub(running: Running | None) -> dict[str, object]:
    """How the link does: when the hub last answered, and what is wrong now."""
    if running is None:
        return {"lastAnswerAt": None, "trouble": None}
    answered_ms = running.poller.last_answer_ms
    return {
        "lastAnswerAt": None if answered_ms is None else wire.format_ms(answered_ms),
        "trouble": running.poller.trouble,
    }


def describe_last_pull(store: Store) -> dict[str, object] | None:
    """When the hub last pulled and by which road; None before the first pull."""
    pull = read_last_pull(store)
    return None if pull is None else {"at": wire.format_ms(pull.at_ms), "road": pull.road}


def describe_silence(store: Store, config: Config) -> str | None:
    """The warning that no pull comes, with what to do; None while all is well."""
    silence = find_silence(store, config)
    return None if silence is None else f"{silence.what} {NOTHING_LOST} {HELP}"


def describe_sources(store: Store, running: Running | None) -> dict[str, dict[str, object]]:
    """Each source's state and last event."""
    filesystem = {"state": "stopped"} if running is None else running.filesystem.status()
    return {
        "filesystem": {**filesystem, "lastAt": last_at(store, "filesystem")},
        "wakatime": describe_editor(store, is_running=running is not None),
        "git": {"state": "imported" if store.get_meta(IMPORTED_AT) else "on request", "lastAt": last_at(store, "git")},
    }


def describe_editor(store: Store, *, is_running: bool) -> dict[str, object]:
    """The editor that reported last, and when."""
    last = store.find_last_observation("wakatime")
    state = "waiting" if last is None else "receiving"
    return {
        "state": state if is_running else "stopped",
        "lastHeartbeatAt": None if last is None else wire.format_ms(last.at_ms),
        "editor": None if last is None else last.editor,
    }


def last_at(store: Store, source: str) -> str | None:
    """When a source last saw something, as RFC 3339."""
    last_ms = store.last_observation_ms(source)
    return None if last_ms is None else wire.format_ms(last_ms)


def count_waiting(store: Store) -> int:
    """Observations that no session knows yet."""
    with store.read() as connection:
        derived = int(find_meta(connection, "derived_seq") or 0)
        return connection.execute("SELECT count(*) FROM observations WHERE seq > ?", (derived,)).fetchone()[0]


def likely_port(store: Store, config: Config) -> int:
    """Where the collector will listen: where it did last, if the configuration still allows that."""
    last = store.get_meta("port")
    return int(last) if last is not None and int(last) in config.ports else config.ports[0]
