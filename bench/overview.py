"""G5: the first page at a million sessions: 50 machines, a year, 55 sessions a machine and day, through HTTP.

The rows and totals are made once; then the page of 30 days is asked for over and over, by one browser after another, as
polls do, and now and then right after a change. Target: 95 of 100 answers within 20 ms. `--sessions N` for fewer.
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import func, select

from bench import worklog
from bench.hub import Hub, make_hub, pair_device, serving
from bench.measure import Figure, percentile, report, request_bytes, send_load
from collector import wire
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.service import sign_in
from webapp.features.overview.service import read_overview
from webapp.features.sessions import ingest, recounting
from webapp.features.sessions.leases import claim
from webapp.features.sessions.models import DayTotal, StoredSession
from webapp.features.sessions.parsing import parse
from webapp.features.sessions.totals import read_totals

DEVICES, BATCH, REQUESTS = 50, 5_000, 200


def main(count: int) -> float:
    """Fills, counts, serves, asks -> the median of the answers, in seconds."""
    with make_hub(COLLECTOR_DISCOVERY_ENABLED="false") as hub:
        begun = time.perf_counter()
        fill(hub, count)
        filled = time.perf_counter()
        recounting.mark_all(hub.account_id)
        recounting.refresh_account(hub.account_id)
        note = (
            f"{filled - begun:.0f} s to fill, {(time.perf_counter() - filled) / count * 1e6:.1f} us a session to count"
        )
        print(f"{describe()}, {note}", flush=True)
        print(
            f"read_totals {time_call(hub, 'totals'):.2f} ms, read_overview {time_call(hub, 'overview'):.2f} ms",
            flush=True,
        )
        cookie = sign_in(hub.account_id, user_agent="bench", address="127.0.0.1")
        db.session.remove()
        with serving(hub):
            seconds = ask(hub, cookie)
    p50, p95 = statistics.median(seconds) * 1000, percentile(seconds, 0.95) * 1000
    report(Figure(f"G5 overview of 30 days at {count:,} sessions, p95", p95, 20, " ms"), f"p50 {p50:.1f} ms")
    return p50 / 1000


def fill(hub: Hub, count: int) -> None:
    """`count` sessions over DEVICES machines, the last of them today, in the order in which they were worked."""
    devices = [pair_device(hub, f"machine-{number}", "127.0.0.1", 8001).device_id for number in range(DEVICES)]
    claim(devices)
    each = count // DEVICES
    first = (wire.now_ms() // worklog.DAY_MS - each // worklog.PER_DAY) * worklog.DAY_MS
    streams = [stream(device_id, each, first, hub.account_id) for device_id in devices]
    with db.session() as session:
        upsert = ingest.prepare_upsert(session, is_reset=False)
    rows: list[dict[str, Any]] = []
    for day in zip(*streams, strict=True):
        rows += day
        if len(rows) >= BATCH:
            with transaction() as session:
                upsert.execute(session, rows)
            rows.clear()
    if rows:
        with transaction() as session:
            upsert.execute(session, rows)


def stream(device_id: str, count: int, first_ms: int, account_id: int) -> Iterator[dict[str, Any]]:
    """The rows of one machine; the machines' working days overlap as those of a team do."""
    shift = random.Random(device_id).randrange(6 * 3_600_000)
    for session in worklog.tell(device_id, count, first_ms + shift):
        row = parse(msgspec.json.encode(session), wire.now_ms() + worklog.DAY_MS)
        yield row | {"device_id": device_id, "account_id": account_id, "pull_id": None, "generation": 0}


def describe() -> str:
    """What is in the database."""
    stored = db.session.scalars(select(func.count()).select_from(StoredSession)).one()
    days = db.session.scalars(select(func.count()).select_from(DayTotal)).one()
    return f"{stored:,} sessions, {days:,} rows of totals"


def time_call(hub: Hub, what: str) -> float:
    """Milliseconds of the service function alone, the median of twenty calls."""
    overview = read_overview(hub.account_id)
    first, last = overview.totals.days[0].day, overview.totals.days[-1].day
    taken = []
    for _ in range(20):
        begun = time.perf_counter()
        if what == "totals":
            read_totals(hub.account_id, first, last)
        else:
            read_overview(hub.account_id)
        taken.append((time.perf_counter() - begun) * 1000)
        db.session.rollback()
    return statistics.median(taken)


def ask(hub: Hub, token: str) -> list[float]:
    """Seconds of each answer, one connection, after a few to warm up."""
    headers = {"Cookie": session_cookie(hub, token)}
    request = request_bytes(hub.port, "/?days=30", headers)
    send_load(hub.port, request, 20, connections=1)
    return send_load(hub.port, request, REQUESTS, connections=1)


def session_cookie(hub: Hub, token: str) -> str:
    """The cookie of a browser that is signed in."""
    with hub.app.test_client() as browser:
        with browser.session_transaction() as session:
            session["sid"] = token
        cookie = browser.get_cookie("muster")
        assert cookie is not None
        return f"muster={cookie.value}"


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--sessions", type=int, default=1_003_750)
    main(arguments.parse_args().sessions)
