"""G1: what a routine pull costs through the real queue, beside a bare urllib3 loop over the same collectors.

1,000 collectors on loopback answer after 20 ms. A round's pull is two requests on one connection: health with proof,
then the export; the bare loop sends the same two. Targets: CPU per pull at most 1.5 times the bare loop's; at least
60 % of what 32 threads could do at that latency; at least 20 times the pulls per second of one job per collector.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import urllib3
from sqlalchemy import func, select, update

from bench.collectors import Device, address_of, device_of, serving_collectors
from bench.hub import ROOT, Hub, make_hub, pair_device
from bench.measure import Figure, free_port, median_ratio, own_cpu_seconds, report
from collector import wire
from webapp import embedded_queue
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.sessions import service as sessions
from webapp.features.sessions.models import Pull, PullState
from webapp.features.sessions.tasks import ring_due_pulls
from webapp.lib import clock

COLLECTORS = 1_000
LATENCY_MS = 20
REQUESTS_PER_PULL = 2
THREADS = 32
SINGLE_JOBS = 40
ROUNDS = 5
WORKER = """
import sys
from webapp import create_app
from webapp.processes.rq_worker import run_queue
run_queue(create_app(), sys.argv[1])
"""


def main() -> None:
    """Interleaved rounds of the queue and of the bare loop, then single jobs."""
    with make_hub(PULL_INTERVAL="86400", COLLECTOR_DISCOVERY_ENABLED="false") as hub, queue(hub):
        port = free_port()
        devices = [add_device(hub, number, port) for number in range(COLLECTORS)]
        with serving_collectors(devices, latency_ms=LATENCY_MS), worker(hub, "pulls") as pid:
            pull_all(pid)  # the first one proves every endpoint
            walls: list[float] = []
            ratio, ours, bare = median_ratio(ROUNDS, lambda: measure_queue(pid, walls), lambda: bare_loop(devices))
            with worker(hub, "jobs"):
                single = measure_single_jobs(hub)
    per_second = COLLECTORS / sorted(walls)[len(walls) // 2]
    ideal = THREADS / (REQUESTS_PER_PULL * LATENCY_MS / 1000)
    report(Figure("G1 CPU per pull / bare urllib3 loop", ratio, 1.5), f"{ours:.0f} us / {bare:.0f} us")
    note = f"{per_second:.0f} of {ideal:.0f} a second"
    report(Figure("G1 pulls a second / 32 threads at that latency", per_second / ideal, 0.6, at_most=False), note)
    note = f"{single:.1f} a second singly"
    report(Figure("G1 pulls a second / one job per collector", per_second / single, 20, at_most=False), note)


def add_device(hub: Hub, number: int, port: int) -> Device:
    """A paired device with an address of its own."""
    address = address_of(number)
    answer = pair_device(hub, device_of(number), address, port)
    return Device(answer.device_id, answer.pull_secret, address, port)


def measure_queue(pid: int, walls: list[float]) -> float:
    """Worker CPU microseconds per pull of one round over all collectors."""
    cpu, wall = pull_all(pid)
    walls.append(wall)
    return cpu / COLLECTORS * 1e6


def pull_all(pid: int) -> tuple[float, float]:
    """Makes every device due, rings, waits for the end -> `(CPU seconds, wall seconds)` of the worker and its own."""
    with transaction() as session:
        session.execute(update(PullState).values(due_at=clock.utc_now() - timedelta(seconds=1)))
    started = clock.utc_now()
    before, begun = tree_cpu_seconds(pid), time.perf_counter()
    ring_due_pulls()
    while not wait_until(lambda: count_pulled(started) == COLLECTORS, 0.5):
        ring_due_pulls()
    wall = time.perf_counter() - begun
    wait_until(lambda: not psutil.Process(pid).children(), 10)
    return tree_cpu_seconds(pid) - before, wall


def measure_single_jobs(hub: Hub) -> float:
    """Pulls a second when each device has a job of its own (what *Pull now* does)."""
    begun = time.perf_counter()
    newest = db.session.scalar(select(func.max(Pull.id))) or 0
    db.session.rollback()
    for number in range(SINGLE_JOBS):
        sessions.request_pull(hub.account_id, device_of(number))
    done = select(func.count()).select_from(Pull).where(Pull.id > newest, Pull.finished_at.is_not(None))
    if not wait_until(lambda: read(done) >= SINGLE_JOBS, 120):
        raise RuntimeError("the single jobs did not finish")
    return SINGLE_JOBS / (time.perf_counter() - begun)


def bare_loop(devices: Sequence[Device]) -> float:
    """CPU microseconds per pull of 32 threads that send the same two requests with urllib3 and do nothing else."""
    pool = urllib3.PoolManager(num_pools=COLLECTORS, maxsize=1)
    body = json.dumps({"limit": 500}).encode()

    def pull(device: Device) -> None:
        base, device_id, secret = device.url, device.device_id, device.pull_secret
        nonce = wire.new_nonce()
        health = json.loads(pool.request("GET", f"{base}/api/health?challenge={nonce}", retries=False).data)
        assert wire.is_health_proof(health["proof"], secret, nonce, device_id, device.port)
        token = wire.sign_call(secret, device_id, "/api/sessions/export")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        json.loads(pool.request("POST", f"{base}/api/sessions/export", body=body, headers=headers, retries=False).data)

    before = own_cpu_seconds()
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(pull, devices))
        cpu = own_cpu_seconds() - before
    return cpu / COLLECTORS * 1e6


def count_pulled(since: object) -> int:
    """How many devices were pulled after `since`."""
    return read(select(func.count()).select_from(PullState).where(PullState.last_pulled_at >= since))


def read(count: object) -> int:
    """One count, without keeping a read transaction open."""
    found = db.session.scalar(count)  # type: ignore[call-overload]
    db.session.rollback()
    return int(found)


def wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    """Whether it became true within that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_true():
            return True
        time.sleep(0.02)
    return False


def tree_cpu_seconds(pid: int) -> float:
    """CPU of a process and of the children that it has waited for."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


@contextmanager
def queue(hub: Hub) -> Iterator[None]:
    """The hub's own Valkey."""
    process = embedded_queue.start(Path(hub.env["MUSTER_DATA_DIR"]))
    try:
        yield
    finally:
        if process is not None:
            process.terminate()
            process.wait(timeout=10)


@contextmanager
def worker(hub: Hub, name: str) -> Iterator[int]:
    """One RQ worker for a queue, as `worker.py` starts it -> its process id."""
    process = subprocess.Popen([sys.executable, "-c", WORKER, name], cwd=ROOT, env={**os.environ, **hub.env})
    try:
        time.sleep(3)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


if __name__ == "__main__":
    main()
