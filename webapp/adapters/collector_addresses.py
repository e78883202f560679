"""Which addresses the hub may call a collector at. A claim must not turn the hub into a prober of somebody's network.

Literal addresses come from the hub itself (whoever claimed, the configuration); names only from the configuration.
A name is resolved once, every address that it has must be allowed, and the connection goes to the one that was checked.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Collection
from functools import lru_cache
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str], list[str]]

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 1024
HIGHEST_PORT = 65535
METADATA = {
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "fd00:ec2::254")
}
LABEL = r"[A-Za-z0-9-]{1,63}"
NAME = re.compile(rf"({LABEL}\.)*(?!(0[xX][0-9A-Fa-f]*|[0-9]+)$){LABEL}")
"""A host name. One that ends like a number is an address in disguise: resolvers read `127.1` and `0x7f000001`."""


class AddressNotAllowed(ValueError):
    """The hub does not call this address; the message says why, for people."""


def resolve(name: str) -> list[str]:
    """The IP addresses of `name`; OSError if it has none."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def pin(url: str, names: Collection[str] = (), resolve: Resolve = resolve) -> tuple[str, int]:
    """The checked `(IP address, port)` that stands for `url`, such as `http://127.0.0.1:8001`; AddressNotAllowed."""
    host, port = _split(url)
    check_port(port)
    try:
        address: Address = ipaddress.ip_address(host)
    except ValueError:
        address = _look_up(host, names, resolve)
    _check(address)
    return str(address), port


def check_port(port: int) -> int:
    """`port` if a collector may listen there; system services live below 1024."""
    if not LOWEST_PORT <= port <= HIGHEST_PORT:
        raise AddressNotAllowed(f"Address not allowed: port {port} (a collector uses {LOWEST_PORT} to {HIGHEST_PORT}).")
    return port


def peer_host(address: str) -> str | None:
    """The address that a connection came from, as one to call back; None if the hub must not call it."""
    try:
        peer = ipaddress.ip_address(address)
        mapped = getattr(peer, "ipv4_mapped", None)
        return str(_check(mapped or peer))
    except ValueError:
        return None


def url_of(host: str, port: int) -> str:
    """`("::1", 8001)` -> `http://[::1]:8001`."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@lru_cache(maxsize=4096)
def _split(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressNotAllowed(f"Address not allowed: {url!r} is not an address.") from error
    if parts.scheme != "http" or "@" in parts.netloc or parts.path.strip("/") or parts.query or parts.fragment:
        raise AddressNotAllowed(f"Address not allowed: {url!r} is not of the form http://host:port.")
    if not host or port is None or "%" in host:
        raise AddressNotAllowed(f"Address not allowed: {url!r} needs a host and a port.")
    return host, port


def _look_up(host: str, names: Collection[str], resolve: Resolve) -> Address:
    if host == "localhost":
        # Not ::1: another user could listen there and pass on to 127.0.0.1 what only the collector can answer.
        return ipaddress.ip_address(LOOPBACK)
    if host not in names or not NAME.fullmatch(host):
        raise AddressNotAllowed(f"Address not allowed: {host!r} is neither an IP address nor a configured host.")
    try:
        found = [ipaddress.ip_address(text) for text in resolve(host)]
    except OSError as error:
        raise AddressNotAllowed(f"Address not allowed: {host!r} cannot be resolved ({error}).") from error
    if not found:
        raise AddressNotAllowed(f"Address not allowed: {host!r} has no address.")
    for address in found:
        _check(address)
    return found[0]


def _check(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        raise AddressNotAllowed(f"Address not allowed: {address} hides an IPv4 address.")
    if address in METADATA:
        raise AddressNotAllowed(f"Address not allowed: {address} is a cloud's metadata service.")
    if address.is_loopback:
        return address
    if address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved:
        raise AddressNotAllowed(f"Address not allowed: {address} is not the address of one machine.")
    if address.is_global:
        raise AddressNotAllowed(f"Address not allowed: {address} is on the internet, where this road is not encrypted.")
    return address
