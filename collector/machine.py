"""This machine, as everything that it records and says names it."""

import logging
import socket
import sys

import tzlocal

log = logging.getLogger(__name__)


def machine_name() -> str:
    """The name under which this machine introduces itself, and which its observations carry."""
    return (socket.gethostname() or "unnamed")[:200]


def platform_name() -> str:
    """This machine's platform in the words of the wire: win32, darwin or linux."""
    return sys.platform if sys.platform in ("win32", "darwin") else "linux"


def zone_name() -> str | None:
    """The IANA name of this machine's time zone, None where the system does not say."""
    try:
        return tzlocal.get_localzone_name()
    except (LookupError, OSError, ValueError) as error:
        log.debug("No name for the local time zone: %s", error)
        return None
