"""G2: pulling, validating, storing and counting sessions end to end, beside a bare executemany of the same pages.

Pages of 500 from a collector in another process. The limit script fetches the same pages, decodes them with the same
types and writes the same columns with the driver's executemany, one commit a page, and counts nothing. Targets: at
least .55 of the limit's sessions per CPU second on SQLite, .60 on PostgreSQL (`--postgresql`).
"""

import contextlib
import json
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import urllib3
from sqlalchemy import func, select

from bench.collectors import Device, serving_collectors
from bench.hub import Hub, make_hub, pair_device
from bench.measure import Figure, free_port, median_ratio, report
from collector import wire
from tests.postgresql import run_postgresql
from webapp.adapters.collector_client import make_client
from webapp.config import current_config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.service import create_account
from webapp.features.sessions import ingest, leases, rounds
from webapp.features.sessions.models import DayTotal, StoredSession
from webapp.features.sessions.parsing import read_ms
from webapp.features.sessions.pulling import pull_targets

ROWS, PAGES, ROUNDS = 500, 30, 5
COLUMNS = [column.name for column in StoredSession.__table__.columns]
TARGETS = {"sqlite": 0.55, "postgresql": 0.60}


def main(is_postgresql: bool) -> None:
    """Interleaved rounds, each into a device of its own."""
    with contextlib.ExitStack() as stack:
        env = {"DATABASE_URL": stack.enter_context(run_postgresql())} if is_postgresql else {}
        hub = stack.enter_context(make_hub(COLLECTOR_DISCOVERY_ENABLED="false", **env))
        devices = [add_device(hub, number) for number in range(2 * ROUNDS + 2)]
        stack.enter_context(serving_collectors(devices, pages=PAGES, rows=ROWS))
        left = iter(devices)
        walls: list[float] = []
        pull_all(next(left), walls)
        execute_many(next(left))
        walls.clear()
        ratio, ours, limit = median_ratio(ROUNDS, lambda: pull_all(next(left), walls), lambda: execute_many(next(left)))
        check(len(devices))
        name = db.engine.dialect.name
    per_second = ROWS * PAGES / sorted(walls)[len(walls) // 2]
    note = f"{1e6 / ours:.1f} us / {1e6 / limit:.1f} us CPU a session, {per_second:.0f} a second by the clock"
    report(Figure(f"G2 ingest / executemany on {name}", ratio, TARGETS[name], at_most=False), note)


def add_device(hub: Hub, number: int) -> Device:
    """A device in an account of its own, so that rounds do not count each other's days."""
    account = create_account(f"round-{number}", secrets.token_urlsafe(16), timezone="Europe/Berlin")
    port = free_port()
    answer = pair_device(replace(hub, account_id=account.id), f"round-{number}", "127.0.0.1", port)
    return Device(answer.device_id, answer.pull_secret, "127.0.0.1", port)


def pull_all(device: Device, walls: list[float]) -> float:
    """Sessions per CPU second of a whole first pull, totals included."""
    client = make_client(current_config())
    before, begun = time.process_time(), time.perf_counter()
    (progress,) = pull_targets(rounds.ready(leases.claim([device.device_id])), client)
    cpu, wall = time.process_time() - before, time.perf_counter() - begun
    if progress.problem is not None or progress.changed_rows != ROWS * PAGES:
        raise RuntimeError(f"pulled {progress.changed_rows} sessions: {progress.detail}")
    walls.append(wall)
    client.close()
    return ROWS * PAGES / cpu


def execute_many(device: Device) -> float:
    """Sessions per CPU second of the limit script."""
    account_id = db.session.scalars(select(func.max(StoredSession.account_id))).one() or 1
    pool = urllib3.PoolManager()
    decode = msgspec.json.Decoder(wire.FileSession).decode
    statement, arrange = compile_upsert()
    before = time.process_time()
    cursor, has_more = None, True
    while has_more:
        body = json.dumps({"limit": ROWS, "cursor": cursor}).encode()
        answer = pool.request("POST", f"{device.url}/api/sessions/export", body=body)
        page = msgspec.json.decode(answer.data, type=wire.ExportPage)
        rows = [arrange(decode(raw), bytes(raw), device.device_id, account_id + 100_000) for raw in page.sessions]
        with transaction() as session:
            raw_connection = session.connection().connection.driver_connection
            assert raw_connection is not None
            raw_connection.cursor().executemany(statement, rows)
        cursor, has_more = page.next_cursor, page.has_more
    cpu = time.process_time() - before
    pool.clear()
    return ROWS * PAGES / cpu


def compile_upsert() -> tuple[str, Callable[..., tuple]]:
    """The hub's own upsert as text for the driver, and how its parameters are arranged."""
    with db.session() as session:
        upsert = ingest.prepare_upsert(session, is_reset=False)
    names = upsert.names

    def arrange(session: wire.FileSession, record: bytes, device_id: str, account_id: int) -> tuple:
        started = read_ms(session.session_start_time)
        ended = read_ms(session.session_end_time) if session.session_end_time else started
        values = {
            "device_id": device_id,
            "id": session.id,
            "account_id": account_id,
            "changed_ms": read_ms(session.changed_at) if session.changed_at else 0,
            "started_ms": started,
            "ended_ms": ended,
            "duration_seconds": session.total_duration,
            "project": session.project_name,
            "language": session.language,
            "file_path": session.file_path,
            "is_active": session.is_active,
            "is_deleted": session.deleted,
            "is_agent": False,
            "rank": 2,
            "pull_id": None,
            "generation": 0,
            "segments": b"",
            "record": record,
        }
        return tuple([values[name] for name in names])

    return upsert.text, arrange


def check(devices: int) -> None:
    """Both sides wrote everything, and the hub's side counted it."""
    stored = db.session.scalars(select(func.count()).select_from(StoredSession)).one()
    days = db.session.scalars(select(func.count()).select_from(DayTotal)).one()
    db.session.rollback()
    if stored != devices * ROWS * PAGES or not days:
        raise RuntimeError(f"{stored} sessions and {days} days are stored")


if __name__ == "__main__":
    main("--postgresql" in sys.argv[1:])
