"""G8: a fleet of paired collectors that poll, and then are pulled, beside the hub that a first version would be.

First three thousand collectors poll every five seconds, the server alone: CPU at most 30 % of a core, p99 at most
100 ms, no error; then the same with a naive server (one ORM query in Flask, connections kept open, waitress's
defaults). Last the whole hub, server, worker and queue, held on ONE core: all of them pulled every minute, some only
over their own connection, some that fail, some that sleep.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from statistics import median
from typing import IO, Any

import msgspec
import psutil
from sqlalchemy import distinct, func, select

from bench.collectors import address_of, device_of
from bench.fleet_collectors import Member, Plan
from bench.hub import ROOT, Hub, make_hub, serving
from bench.measure import Figure, cpu_seconds, free_port, percentile, report, wait_for_port
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices import links
from webapp.features.devices.models import Device, Link
from webapp.features.sessions.models import Pull, StoredSession
from webapp.lib import clock

POLLS_SECONDS = 10.0
WARM_SECONDS = 7.0
FIRST_PULLS_SECONDS = 600.0
"""All of them are new at once; the whole hub is measured when nearly each was pulled, and one interval later."""
FIRST_PULLS_SHARE = 0.98
LATE_SECONDS = 10.0


def main(given: list[str]) -> None:
    """The three runs, one after the other."""
    options = read_options(given)
    env = {"PULL_INTERVAL": str(options.interval), "COLLECTOR_DISCOVERY_ENABLED": "false"}
    with make_hub(**env) as hub:
        members = pair_fleet(hub, options)
        polls_alone(hub, members, options)
        if options.seconds > 0:
            whole_hub(hub, members, options)


def read_options(given: list[str]) -> argparse.Namespace:
    """What the command line asks for; shares are of all collectors."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--collectors", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=60, help="of the whole hub; 0 leaves that run out")
    parser.add_argument("--rounds", type=int, default=1, help="of polls alone beside the naive server")
    parser.add_argument("--interval", type=int, default=60, help="between two pulls of a collector, in seconds")
    parser.add_argument("--latency", type=float, default=0.02, help="of each answer of a collector, in seconds")
    parser.add_argument("--relayed", type=float, default=0.1, help="share that only its own connection reaches")
    parser.add_argument("--failing", type=float, default=0.02, help="share of which three answers in ten break off")
    parser.add_argument("--sleepy", type=float, default=0.05, help="share that sleeps a third of the time")
    parser.add_argument("--core", type=int, default=0, help="which the whole hub is held on")
    return parser.parse_args(given)


def pair_fleet(hub: Hub, options: argparse.Namespace) -> list[Member]:
    """Pairs them all in one transaction; which of them are relayed, fail or sleep is spread evenly."""
    now, members = clock.utc_now(), []
    with transaction() as session:
        for number in range(options.collectors):
            device = Device(id=device_of(number), account_id=hub.account_id, name=device_of(number), created_at=now)
            device.host, device.port, device.paired_at, device.platform = address_of(number), 0, now, "linux"
            session.add(device)
            link, token = links.add_link(session, device, now)
            link.first_used_at = now
            member = Member(number, device.id, token, links.pull_secret(link), address_of(number))
            member.settings = device.settings_version, device.settings_epoch
            if is_share(number, options.relayed):
                member.address = None
            member.is_failing = is_share(number + 1, options.failing)
            member.is_sleepy = is_share(number + 2, options.sleepy)
            members.append(member)
    return members


def is_share(number: int, share: float) -> bool:
    """Whether `number` is one of an evenly spread `share` of all numbers."""
    return int((number + 1) * share) > int(number * share)


def polls_alone(hub: Hub, members: list[Member], options: argparse.Namespace) -> None:
    """The server with nothing but polls, and the naive one."""
    ours: list[tuple[float, dict[str, Any]]] = []
    naive: list[tuple[float, dict[str, Any]]] = []
    for _ in range(options.rounds):
        with serving(hub) as pid:
            ours.append(measure_polls(hub.port, pid, members, is_keeping_alive=False))
        with naive_server(hub) as (port, pid):
            naive.append(measure_polls(port, pid, members, is_keeping_alive=True))
    share, naive_share = median(one for one, _ in ours), median(one for one, _ in naive)
    p99 = median(p99_ms(seen) for _, seen in ours)
    errors = Counter[str]()
    for _, seen in ours:
        errors.update(seen["errors"])
    rate = sum(len(seen["polls"]) for _, seen in ours) / POLLS_SECONDS / options.rounds
    report(Figure("G8 errors of polls", errors.total(), 0, ""), tell(errors))
    report(Figure("G8 server CPU of polls, share of a core", share * 100, 30, "%"), f"{rate:.0f} polls a second")
    report(Figure("G8 poll p99", p99, 100, "ms"), f"simulator {median(s['own_cpu'] for _, s in ours):.0%} of a core")
    note = f"{naive_share:.0%}, p99 {median(p99_ms(seen) for _, seen in naive):.0f} ms, errors {tell_all(naive)}"
    costs = median(cost_us(*one) for one in ours), median(cost_us(*one) for one in naive)
    note = f"{costs[0]:.0f} us / {costs[1]:.0f} us; naive: {note}"
    report(Figure("G8 server CPU per poll / naive server", costs[0] / costs[1], 0.5), note)


def measure_polls(
    port: int, pid: int, members: list[Member], *, is_keeping_alive: bool
) -> tuple[float, dict[str, Any]]:
    """`(share of a core, what the fleet saw)` of polls alone: everybody is well, and nobody is pulled."""
    well = [msgspec.structs.replace(one, address=None, is_failing=False, is_sleepy=False) for one in members]
    plan = Plan(port, 0, well, WARM_SECONDS, POLLS_SECONDS, is_keeping_alive=is_keeping_alive)
    plan.has_heartbeats = False
    return run_fleet(plan, lambda: cpu_seconds(pid))


def cost_us(share: float, seen: dict[str, Any]) -> float:
    """Server CPU microseconds per poll that was answered: a server that is saturated answers fewer."""
    return share * POLLS_SECONDS / max(1, len(seen["polls"])) * 1e6


def whole_hub(hub: Hub, members: list[Member], options: argparse.Namespace) -> None:
    """Server, worker and queue on one core, with pulls."""
    port = free_port()
    with transaction() as session:
        session.execute(Device.__table__.update().values(port=port))  # type: ignore[attr-defined]
    plan = Plan(hub.port, port, members, 0, options.seconds)
    plan.latency = options.latency
    everywhere = os.sched_getaffinity(0)
    with ExitStack() as stack:
        with on_cores({options.core}):
            server, worker = stack.enter_context(serving(hub)), stack.enter_context(working(hub))
        with on_cores(everywhere - {options.core} or everywhere):
            warm_up = partial(pull_all_once, options)
            used, seen = run_fleet(plan, lambda: cpu_seconds(server) + all_cpu_seconds(worker), warm_up)
        ended_at = clock.utc_now()
    began_at = ended_at - timedelta(seconds=options.seconds)
    errors = Counter[str](seen["errors"])
    note = f"{len(seen['polls'])} polls, {seen['heartbeats']} heartbeats, {len(seen['answers'])} relayed answers"
    report(Figure("G8 errors of polls, whole hub on one core", errors.total(), 0, ""), tell(errors) or note)
    report(Figure("G8 poll p99, whole hub on one core", p99_ms(seen), 100, "ms"), note)
    report(Figure("G8 whole hub, share of its core", used * 100, 100, "%"), f"simulator {seen['own_cpu']:.0%}")
    report_pulls(members, began_at, ended_at, options)


def pull_all_once(options: argparse.Namespace) -> None:
    """Waits until nearly all machines were pulled for the first time, and then for an interval."""
    begun, wanted = time.monotonic(), options.collectors * FIRST_PULLS_SHARE
    seconds, done = 0.0, 0
    while done < wanted and seconds < FIRST_PULLS_SECONDS:
        time.sleep(2)
        seconds = time.monotonic() - begun
        done = db.session.scalar(select(func.count(distinct(Pull.device_id))).where(Pull.finished_at.is_not(None))) or 0
        db.session.rollback()
    print(f"first pulls: {done} of {options.collectors} machines within {seconds:.0f} s", flush=True)
    time.sleep(options.interval)


def report_pulls(members: list[Member], began_at: datetime, ended_at: datetime, options: argparse.Namespace) -> None:
    """How many pulls there were by road and status, and which machine waited for its next one for too long."""
    span = (Pull.started_at > began_at - timedelta(seconds=options.interval * 2), Pull.started_at <= ended_at)
    rows = db.session.execute(select(Pull.device_id, Pull.started_at, Pull.status, Pull.road).where(*span)).all()
    done = Counter(f"{row.road} {row.status}" for row in rows if row.started_at > began_at)
    times: dict[str, list[datetime]] = {one.device_id: [] for one in members if not (one.is_failing or one.is_sleepy)}
    for row in sorted(rows, key=lambda row: row.started_at):
        if row.device_id in times:
            times[row.device_id].append(row.started_at)
    allowed = timedelta(seconds=options.interval + LATE_SECONDS)
    late = [name for name, at in times.items() if longest_wait([*at, ended_at], began_at) > allowed]
    relayed = {one.device_id for one in members if one.address is None}
    direct_late = [name for name in late if name not in relayed]
    note = ", ".join(f"{kind} {count}" for kind, count in sorted(done.items()))
    sessions = db.session.scalar(select(func.count()).select_from(StoredSession))
    wanted = options.collectors * options.seconds / options.interval
    figure = Figure("G8 pulls done / one per interval", done.total() / wanted, 0.85, at_most=False)
    report(figure, f"{note}; {sessions} sessions here")
    report(Figure("G8 machines pulled late, direct", len(direct_late), 0, ""), f"of {len(times)} that are well")
    report(Figure("G8 machines pulled late, relayed", len(late) - len(direct_late), 0, ""), f"of {len(relayed)}")


def longest_wait(at: list[datetime], since: datetime) -> timedelta:
    """The longest time between two pulls that ended after `since`; for ever where there was none."""
    if len(at) < 2:
        return timedelta.max
    return max(later - earlier for earlier, later in pairwise(at) if later > since)


def run_fleet(
    plan: Plan, cpu: Callable[[], float], warm_up: Callable[[], None] = lambda: None
) -> tuple[float, dict[str, Any]]:
    """Runs the plan in a process of its own -> `(CPU seconds a second of the hub, what the fleet saw)`.

    It polls while `warm_up` runs, then for the plan's warm seconds, and is measured after that.
    """
    command = [sys.executable, "-m", "bench.fleet_collectors"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(plan) + b"\n")
        process.stdin.flush()
        expect(process.stdout, b"ready")
        warm_up()
        process.stdin.write(b"measure\n")
        process.stdin.flush()
        expect(process.stdout, b"measuring")
        before = cpu()
        line = process.stdout.readline()
        used = (cpu() - before) / plan.seconds
        return used, json.loads(line)


def expect(stream: IO[bytes], word: bytes) -> None:
    """Waits for a line of the fleet."""
    if stream.readline().strip() != word:
        raise RuntimeError("the fleet did not start")


def p99_ms(seen: dict[str, Any]) -> float:
    """Of the polls, from before the connection to the last byte."""
    return percentile(seen["polls"], 0.99) * 1000 if seen["polls"] else float("inf")


def tell(errors: Counter[str]) -> str:
    """The commonest errors."""
    return ", ".join(f"{what} x{count}" for what, count in errors.most_common(3))


def tell_all(rounds: list[tuple[float, dict[str, Any]]]) -> int:
    """How many errors there were in all."""
    return sum(sum(seen["errors"].values()) for _, seen in rounds)


@contextmanager
def on_cores(cores: set[int]) -> Iterator[None]:
    """What this process starts meanwhile runs on these cores alone."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


@contextmanager
def working(hub: Hub) -> Iterator[int]:
    """The hub's worker with its queue, as `make run` starts it -> its process id."""
    process = subprocess.Popen([sys.executable, "worker.py"], cwd=ROOT, env=hub.env, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def all_cpu_seconds(pid: int) -> float:
    """CPU of a process, of its living children, and of the work-horses that have come to their end meanwhile."""
    tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:4]) for process in tree)


@contextmanager
def naive_server(hub: Hub) -> Iterator[tuple[int, int]]:
    """What a first version would be, over the same database -> `(port, process id)`."""
    port = free_port()
    code = f"from bench.fleet import serve_naive; serve_naive({port})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=hub.env)
    try:
        wait_for_port(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(timeout=20)


def serve_naive(port: int) -> None:
    """One ORM query per poll in a plain Flask view; waitress's defaults but for the number of connections."""
    import waitress
    from flask import Flask, jsonify, request

    from webapp.config import read_config
    from webapp.lib.secrets import keyed_hash
    from webapp.processes.serving import raise_open_files

    config = read_config()
    app = Flask("naive")
    app.config["SQLALCHEMY_DATABASE_URI"] = config.database_url
    db.init_app(app)

    @app.get("/api/collector/poll")
    def poll() -> Any:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        token_hash = keyed_hash(config.hub_key, "device-token", token)
        device = db.session.scalars(select(Link).where(Link.token_hash == token_hash)).one().device
        told = {"settingsVersion": device.settings_version, "settingsEpoch": device.settings_epoch}
        if (request.args["version"], request.args["epoch"]) != (str(device.settings_version), device.settings_epoch):
            told["settings"] = {}
        return jsonify(told | {"commands": [], "requests": [], "pollInterval": 5})

    raise_open_files(20_000)
    waitress.serve(app, port=port, host="127.0.0.1", threads=8, connection_limit=10_000, asyncore_use_poll=True)


if __name__ == "__main__":
    main(sys.argv[1:])
