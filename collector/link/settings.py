"""The settings document that the hub keeps for this collector: taken over whole, with its version and epoch."""

import msgspec

from collector.store import Store


class Settings(msgspec.Struct, frozen=True):
    """The document in force. An epoch is one life of the version counter: a new link or restored hub begins another."""

    version: int = 0
    epoch: str = ""
    values: dict[str, object] = {}


def read_settings(store: Store) -> Settings:
    """The settings in force; empty before the hub sent any."""
    text = store.get_meta("settings")
    return Settings() if text is None else msgspec.json.decode(text, type=Settings)


def keep_settings(store: Store, settings: Settings) -> bool:
    """Takes a document over as a whole, unless it is older than the one in force."""
    current = read_settings(store)
    if settings.epoch == current.epoch and settings.version < current.version:
        return False
    store.set_meta("settings", msgspec.json.encode(settings).decode())
    return True
