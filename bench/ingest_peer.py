"""G4: taking in sessions beside a peer: our pull with totals, and ActivityWatch's bulk POST of the same sessions.

Both get 1,000 a page, prepared before. aw-server only stores what this process sends it; the hub fetches, checks,
stores and adds up. Targets: at least as many sessions a second by the clock, and 1.3 times less CPU in the server.
"""

import json
import statistics
import time

import requests

from bench import worklog
from bench.collectors import Device, serving_collectors
from bench.hub import make_hub
from bench.ingest import add_device
from bench.measure import Figure, report, whole_cpu_seconds
from bench.overview_peer import activitywatch
from webapp.adapters.collector_client import make_client
from webapp.config import current_config
from webapp.features.sessions import leases, rounds
from webapp.features.sessions.pulling import pull_targets

ROWS, PAGES, ROUNDS = 1000, 20, 5

Spent = tuple[float, float]
"""`(seconds by the clock, CPU seconds)`"""


def main() -> None:
    """Interleaved rounds, each into a device and a bucket of its own, after one of each to warm up."""
    bodies = make_bodies()
    with make_hub(COLLECTOR_DISCOVERY_ENABLED="false") as hub, activitywatch() as (base, pid):
        devices = [add_device(hub, number) for number in range(ROUNDS + 1)]
        with serving_collectors(devices, pages=PAGES, rows=ROWS):
            pairs = [(pull(device), post(base, pid, number, bodies)) for number, device in enumerate(devices)][1:]
    walls = statistics.median(theirs[0] / ours[0] for ours, theirs in pairs)
    cpus = statistics.median(theirs[1] / ours[1] for ours, theirs in pairs)
    ours_a_second, theirs_a_second = (
        ROWS * PAGES / statistics.median(pair[side][0] for pair in pairs) for side in (0, 1)
    )
    note = f"{ours_a_second:.0f} / {theirs_a_second:.0f} a second"
    report(Figure("G4 sessions a second / ActivityWatch's bulk POST", walls, 1.0, at_most=False), note)
    ours_us, theirs_us = (statistics.median(pair[side][1] for pair in pairs) / ROWS / PAGES * 1e6 for side in (0, 1))
    note = f"{theirs_us:.1f} us / {ours_us:.1f} us"
    report(Figure("G4 ActivityWatch's CPU a session / ours", cpus, 1.3, at_most=False), note)


def make_bodies() -> list[bytes]:
    """The same sessions as events, a page in each body: what an editor's watcher tells of them."""
    events = [
        {
            "timestamp": one.session_start_time.isoformat(),
            "duration": one.total_duration,
            "data": {
                "file": one.file_path,
                "project": one.project_name,
                "language": one.language,
                "branch": one.branch,
                "editor": one.editor,
            },
        }
        for one in worklog.tell("bench", ROWS * PAGES)
    ]
    return [json.dumps(events[first : first + ROWS]).encode() for first in range(0, len(events), ROWS)]


def pull(device: Device) -> Spent:
    """A first pull of everything, totals included."""
    client = make_client(current_config())
    cpu, begun = time.process_time(), time.perf_counter()
    (progress,) = pull_targets(rounds.ready(leases.claim([device.device_id])), client)
    spent = time.perf_counter() - begun, time.process_time() - cpu
    client.close()
    if progress.problem is not None or progress.changed_rows != ROWS * PAGES:
        raise RuntimeError(f"pulled {progress.changed_rows} sessions: {progress.detail}")
    return spent


def post(base: str, pid: int, number: int, bodies: list[bytes]) -> Spent:
    """All pages into a bucket of their own."""
    bucket = f"{base}/buckets/round-{number}"
    requests.post(bucket, json={"client": "b", "type": "app.editor.activity", "hostname": "b"}, timeout=9)
    with requests.Session() as connection:
        cpu, begun = whole_cpu_seconds(pid), time.perf_counter()
        for body in bodies:
            answer = connection.post(
                f"{bucket}/events", data=body, headers={"Content-Type": "application/json"}, timeout=60
            )
            answer.raise_for_status()
        spent = time.perf_counter() - begun, whole_cpu_seconds(pid) - cpu
    stored = requests.get(f"{bucket}/events/count", timeout=60).json()
    if stored != ROWS * PAGES:
        raise RuntimeError(f"ActivityWatch has {stored} events")
    return spent


if __name__ == "__main__":
    main()
