"""Which folders may be watched, and how they are written for people."""

import os
from pathlib import Path

from collector.store import Store, WatchedPath

TOO_WIDE = {Path(path) for path in ("/", "/proc", "/sys", "/dev", "/run", "/tmp", "/usr", "/var", "/etc")}  # noqa: S108


class PathError(ValueError):
    """This cannot be watched; the message says why."""


def watch_path(store: Store, text: str) -> WatchedPath:
    """Watches a folder from now on. PathError says what is wrong with it."""
    if "\x00" in text:
        raise PathError("a path has no NUL character.")
    path = Path(text).expanduser()
    if not path.is_absolute():
        raise PathError(f"{text!r} is not a full path. Start it with / or ~.")
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise PathError(f"{text!r} cannot be read ({error.strerror}).") from error
    if not is_folder:
        raise PathError(f"There is no folder {text}.")
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow symlinks
    if path in TOO_WIDE or path == Path(path.anchor):
        raise PathError(f"{text} holds the whole system. Choose the folder in which your code is.")
    return store.add_path(path)


def short_path(path: str, home: Path | None = None) -> str:
    """`/home/ada/code` -> `~/code`."""
    base = str(home or Path.home())
    return "~" + path[len(base) :] if path == base or path.startswith((base + "/", base + "\\")) else path
