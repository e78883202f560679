"""G7: what one settings poll costs the server, beside a bare WSGI function on the same server, saturated.

Target: at most 2.2 times. Both sides are waitress with the hub's own settings; 16 connections from this process.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any

import requests
import waitress

from bench.hub import ROOT, make_hub, pair_device, serving
from bench.measure import Figure, cpu_seconds, free_port, median_ratio, report, request_bytes, send_load, wait_for_port
from webapp.config import read_config
from webapp.processes.serving import limits

POLL = "/api/collector/poll"
REQUESTS = 8_000
ROUNDS = 5
BODY = b'{"settingsVersion":1,"settingsEpoch":"0123456789abcdef","commands":[],"requests":[],"pollInterval":5}'


def bare(_environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """The least that a WSGI server can be asked for: a constant body of the size of a poll's answer."""
    start("200 OK", [("Content-Type", "application/json")])
    return iter((BODY,))


def serve_bare(port: int, folder: str) -> None:
    """Serves `bare` with the hub's settings of waitress until it is ended."""
    config = read_config({"MUSTER_DATA_DIR": folder, "MUSTER_PORT": str(port)})
    waitress.serve(bare, **limits(config))


@contextmanager
def bare_server(folder: str) -> Any:
    """`bare` in a process of its own -> `(port, process id)`."""
    port = free_port()
    code = f"from bench.poll import serve_bare; serve_bare({port}, {folder!r})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    try:
        wait_for_port(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


def microseconds(pid: int, port: int, request: bytes) -> float:
    """Server CPU per request."""
    before = cpu_seconds(pid)
    done = len(send_load(port, request, REQUESTS))
    return (cpu_seconds(pid) - before) / done * 1e6


def main() -> None:
    """Interleaved rounds of both."""
    with make_hub() as hub:
        link = pair_device(hub, "bench-poll", "127.0.0.1", 8001)
        with serving(hub) as hub_pid, bare_server(hub.env["MUSTER_DATA_DIR"]) as (bare_port, bare_pid):
            token = {"Authorization": f"Bearer {link.token}"}
            known = requests.get(
                f"http://127.0.0.1:{hub.port}{POLL}?version=0&epoch=", headers=token, timeout=10
            ).json()
            query = f"version={known['settingsVersion']}&epoch={known['settingsEpoch']}"
            poll_get = request_bytes(hub.port, f"{POLL}?{query}", token)
            bare_get = request_bytes(bare_port, f"{POLL}?version=1&epoch=x", token)
            for port, request in ((hub.port, poll_get), (bare_port, bare_get)):
                send_load(port, request, 500)
            ratio, poll, limit = median_ratio(
                ROUNDS,
                lambda: microseconds(hub_pid, hub.port, poll_get),
                lambda: microseconds(bare_pid, bare_port, bare_get),
            )
    report(Figure("G7 poll CPU / bare WSGI on the same server", ratio, 2.2), f"{poll:.0f} us / {limit:.0f} us")


if __name__ == "__main__":
    main()
