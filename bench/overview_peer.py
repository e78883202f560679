"""G5 beside a peer: our page of 30 days, and ActivityWatch's own summary of 30 days over as many events, in one run.

aw-server 0.12.0 runs in a virtual environment of its own (made once below var/bench; it needs older libraries).
It holds as many events over a year; its summary adds up time by language, by project and by file, as our page does.
Target: at least 200 times faster. `--sessions N` for fewer.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from bench import overview
from bench.hub import ROOT
from bench.measure import Figure, free_port, report, wait_for_port

PACKAGES = ("aw-server==0.12.0", "peewee<4", "flask-restx==1.2.0", "flask<2.3", "setuptools<81")
BATCH = 5_000
DAYS = 365
ROUNDS = 3
QUERY = """
events = query_bucket("bench");
languages = merge_events_by_keys(events, ["language"]);
projects = merge_events_by_keys(events, ["project"]);
files = limit_events(sort_by_duration(merge_events_by_keys(events, ["file"])), 10);
RETURN = {"languages": languages, "projects": projects, "files": files};
"""


def main(count: int) -> None:
    """Our page first, then theirs."""
    ours = overview.main(count)
    with activitywatch() as (base, _):
        fill(base, count)
        theirs = statistics.median(summarise(base) for _ in range(ROUNDS))
    note = f"{theirs * 1000:.0f} ms / {ours * 1000:.1f} ms"
    report(Figure(f"G5 ActivityWatch's summary / our page, {count:,} each", theirs / ours, 200, at_most=False), note)


def fill(base: str, count: int) -> None:
    """`count` events of one bucket, spread evenly over a year up to now."""
    requests.post(
        f"{base}/buckets/bench", json={"client": "b", "type": "app.editor.activity", "hostname": "b"}, timeout=9
    )
    step = timedelta(days=DAYS) / count
    first = datetime.now(UTC) - timedelta(days=DAYS)
    for begin in range(0, count, BATCH):
        events = [make_event(number, first + step * number) for number in range(begin, min(begin + BATCH, count))]
        requests.post(f"{base}/buckets/bench/events", json=events, timeout=120).raise_for_status()


def make_event(number: int, at: datetime) -> dict[str, Any]:
    """One event of an editor."""
    project = f"project-{number % 5}"
    data = {"file": f"/{project}/{number % 200}.py", "project": project, "language": f"language-{number % 4}"}
    return {"timestamp": at.isoformat(), "duration": 20, "data": data}


def summarise(base: str) -> float:
    """Seconds for one summary of the last 30 days."""
    now = datetime.now(UTC)
    period = f"{(now - timedelta(days=30)).isoformat()}/{now.isoformat()}"
    lines = [f"{line.strip()}" for line in QUERY.strip().splitlines()]
    begun = time.perf_counter()
    answer = requests.post(f"{base}/query/", json={"timeperiods": [period], "query": lines}, timeout=300)
    answer.raise_for_status()
    if len(answer.json()[0]["languages"]) != 4:
        raise RuntimeError("the summary is not whole")
    return time.perf_counter() - begun


@contextmanager
def activitywatch() -> Iterator[tuple[str, int]]:
    """A fresh aw-server -> `(base of its API, process id)`."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="muster-bench-aw-") as home:
        env = {**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
        command = [str(find_python()), "-m", "aw_server", "--port", str(port)]
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_port(port)
            yield f"http://127.0.0.1:{port}/api/0", process.pid
        finally:
            process.terminate()
            process.wait(timeout=20)


def find_python() -> Path:
    """The Python of the virtual environment in which aw-server is; made if it is missing."""
    folder = ROOT / "var" / "bench" / "activitywatch"
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print("Installing aw-server for the comparison...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "ready").touch()
    return python


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    main(parser.parse_args().sessions)
