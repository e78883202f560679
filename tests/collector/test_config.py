"""The collector's configuration: defaults, limits, and errors that name the variable."""

import os
from pathlib import Path

import pytest

from collector.config import ConfigError, is_loopback, read_config


def test_defaults(tmp_path: Path) -> None:
    config = read_config({"MUSTER_COLLECTOR_DIR": str(tmp_path / "new" / "place")})
    assert config.directory == tmp_path / "new" / "place"
    assert config.host == "127.0.0.1"
    assert config.ports == (8001, 8002, 8003, 8004, 8005)
    assert config.url(8002) == "http://127.0.0.1:8002"


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_directory_is_private_even_if_it_was_not(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    read_config({"MUSTER_COLLECTOR_DIR": str(tmp_path)})
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_a_given_port_is_the_only_one(tmp_path: Path) -> None:
    env = {"MUSTER_COLLECTOR_DIR": str(tmp_path), "MUSTER_COLLECTOR_PORT": "8123"}
    assert read_config(env).ports == (8123,)


@pytest.mark.parametrize("port", ["80", "65536", "-1", "8001.0", "eight", "٨٠٠١"])
def test_a_port_that_cannot_be_used_is_named(tmp_path: Path, port: str) -> None:
    with pytest.raises(ConfigError, match=r"MUSTER_COLLECTOR_PORT=.*1024 to 65535"):
        read_config({"MUSTER_COLLECTOR_DIR": str(tmp_path), "MUSTER_COLLECTOR_PORT": port})


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="MUSTER_COLLECTOR_DIR="):
        read_config({"MUSTER_COLLECTOR_DIR": str(tmp_path / "file" / "below")})


def test_the_network_is_only_served_on_purpose(tmp_path: Path) -> None:
    env = {"MUSTER_COLLECTOR_DIR": str(tmp_path), "MUSTER_COLLECTOR_HOST": "0.0.0.0"}
    with pytest.raises(ConfigError, match=r"MUSTER_COLLECTOR_HOST=0\.0\.0\.0"):
        read_config(env)
    config = read_config(env | {"MUSTER_INSECURE_LAN": "1"})
    assert config.is_any_host
    assert config.url(8001) == "http://127.0.0.1:8001"


def test_a_flag_that_is_none_is_named(tmp_path: Path) -> None:
    env = {
        "MUSTER_COLLECTOR_DIR": str(tmp_path),
        "MUSTER_COLLECTOR_HOST": "192.168.1.4",
        "MUSTER_INSECURE_LAN": "perhaps",
    }
    with pytest.raises(ConfigError, match="MUSTER_INSECURE_LAN='perhaps': true or false"):
        read_config(env)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("10.0.0.1", False), ("hub", False)],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
