"""Which addresses the hub calls, and which it never does."""

import pytest

from webapp.adapters import collector_addresses as addresses
from webapp.adapters.collector_addresses import AddressNotAllowed


def no_dns(name: str) -> list[str]:
    raise AssertionError(f"{name} was looked up")


@pytest.mark.parametrize(
    ("url", "pinned"),
    [
        ("http://127.0.0.1:8001", ("127.0.0.1", 8001)),
        ("http://127.0.0.1:8001/", ("127.0.0.1", 8001)),
        ("http://[::1]:8001", ("::1", 8001)),
        ("http://192.168.1.7:8005", ("192.168.1.7", 8005)),
        ("http://10.0.0.4:65535", ("10.0.0.4", 65535)),
        ("http://100.64.1.2:1024", ("100.64.1.2", 1024)),
        ("http://[fd12:3456::7]:8001", ("fd12:3456::7", 8001)),
    ],
)
def test_machine_nearby_is_called(url: str, pinned: tuple[str, int]) -> None:
    assert addresses.pin(url, resolve=no_dns) == pinned


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254:8001",
        "http://169.254.1.1:8001",
        "http://[fe80::1]:8001",
        "http://[fe80::1%25eth0]:8001",
        "http://100.100.100.200:8001",
        "http://192.0.0.192:8001",
        "http://[fd00:ec2::254]:8001",
        "http://0.0.0.0:8001",
        "http://[::]:8001",
        "http://224.0.0.1:8001",
        "http://255.255.255.255:8001",
        "http://8.8.8.8:8001",
        "http://[2606:4700::1111]:8001",
        "http://[::ffff:127.0.0.1]:8001",
        "http://[::ffff:169.254.169.254]:8001",
        "http://2130706433:8001",
        "http://0x7f000001:8001",
        "http://0x7f.1:8001",
        "http://127.1:8001",
        "http://0177.0.0.1:8001",
        "http://127.0.0.1:22",
        "http://127.0.0.1:1023",
        "http://127.0.0.1:0",
        "http://127.0.0.1:65536",
        "http://127.0.0.1:port",
        "http://127.0.0.1",
        "http://user@127.0.0.1:8001",
        "http://127.0.0.1:8001@evil.example:8001",
        "http://:pw@127.0.0.1:8001",
        "https://127.0.0.1:8001",
        "file:///etc/passwd",
        "ftp://127.0.0.1:8001",
        "gopher://127.0.0.1:8001",
        "//127.0.0.1:8001",
        "127.0.0.1:8001",
        "http://127.0.0.1:8001/api",
        "http://127.0.0.1:8001?a=b",
        "http://127.0.0.1:8001#x",
        "http://[127.0.0.1]:8001",
        "http://[::1:8001",
        "http://:8001",
        "",
    ],
)
def test_other_address_is_refused_without_asking_dns(url: str) -> None:
    with pytest.raises(AddressNotAllowed, match=r"^Address not allowed: "):
        addresses.pin(url, names=("2130706433", "0x7f000001", "127.1", "0177.0.0.1"), resolve=no_dns)


def test_localhost_is_the_ipv4_loopback() -> None:
    assert addresses.pin("http://localhost:8001", resolve=no_dns) == ("127.0.0.1", 8001)


@pytest.mark.parametrize("name", ["intranet.example", "evil.example", "localhost.evil.example", "router"])
def test_name_that_is_not_configured_is_not_even_looked_up(name: str) -> None:
    with pytest.raises(AddressNotAllowed, match="neither an IP address nor a configured host"):
        addresses.pin(f"http://{name}:8001", names=("desk.lan",), resolve=no_dns)


def test_configured_name_leads_to_the_address_that_was_checked() -> None:
    asked = []

    def resolve(name: str) -> list[str]:
        asked.append(name)
        return ["192.168.1.7", "fd00::7"]

    assert addresses.pin("http://desk.lan:8001", names=("desk.lan",), resolve=resolve) == ("192.168.1.7", 8001)
    assert asked == ["desk.lan"]


@pytest.mark.parametrize(
    "found",
    [["169.254.169.254"], ["192.168.1.7", "169.254.169.254"], ["192.168.1.7", "8.8.8.8"], ["::ffff:10.0.0.1"], []],
)
def test_configured_name_with_one_bad_address_is_refused(found: list[str]) -> None:
    with pytest.raises(AddressNotAllowed):
        addresses.pin("http://desk.lan:8001", names=("desk.lan",), resolve=lambda _: found)


def test_name_that_cannot_be_resolved_is_refused() -> None:
    def resolve(_: str) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(AddressNotAllowed, match="no such name"):
        addresses.pin("http://desk.lan:8001", names=("desk.lan",), resolve=resolve)
