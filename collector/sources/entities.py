"""File paths as sources report them, in the one spelling that makes them comparable."""

import logging
import re
import socket
import sys

import tzlocal

MAX_LENGTH = 4096

log = logging.getLogger(__name__)

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


def machine_name() -> str:
    """This machine's name, as every source of it writes it down."""
    return socket.gethostname()[:255]


def zone_name() -> str | None:
    """The IANA name of this machine's time zone, None where the system does not say."""
    try:
        return tzlocal.get_localzone_name()
    except (LookupError, OSError, ValueError) as error:
        log.debug("No name for the local time zone: %s", error)
        return None


def platform_name() -> str:
    """This machine's platform in the words of the wire: win32, darwin or linux."""
    return sys.platform if sys.platform in ("win32", "darwin") else "linux"
