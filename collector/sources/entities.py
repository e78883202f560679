"""File paths as sources report them, in the one spelling that makes them comparable."""

import re

MAX_LENGTH = 4096

WINDOWS_PATH = re.compile(r"^(?:[A-Za-z]:[\\/]|\\\\)")


def normalise_path(path: str) -> str:
    """`/` as the separator and an upper-case drive letter; only Windows paths change, elsewhere `\\` is a character."""
    if not WINDOWS_PATH.match(path):
        return path
    path = path.replace("\\", "/")
    return path[0].upper() + path[1:]


def readable_path(path: str) -> str:
    """A name or path from the disk as text that can be stored: what is no UTF-8 becomes a replacement character."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
