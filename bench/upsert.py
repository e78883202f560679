"""G3: the upsert of sessions alone, beside the driver's executemany of the same statement and rows.

Pages of 500 parsed sessions, one commit a page, each round into a device of its own. Our side starts from the rows that
parsing made, the other from parameters that are laid out already. Targets: at least .65 of the limit's rows per CPU
second on SQLite, .80 on PostgreSQL (`--postgresql`).
"""

import contextlib
import secrets
import sys
import time
from dataclasses import replace
from operator import itemgetter

import msgspec

from bench import worklog
from bench.hub import Hub, make_hub, pair_device
from bench.measure import Figure, median_ratio, report
from collector import wire
from tests.postgresql import run_postgresql
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.service import create_account
from webapp.features.sessions import ingest
from webapp.features.sessions.parsing import Row, parse
from webapp.features.sessions.upserting import Prepared

ROWS, PAGES, ROUNDS = 500, 30, 5
TARGETS = {"sqlite": 0.65, "postgresql": 0.80}


def main(is_postgresql: bool) -> None:
    """Interleaved rounds of both, after one of each to warm up."""
    with contextlib.ExitStack() as stack:
        env = {"DATABASE_URL": stack.enter_context(run_postgresql())} if is_postgresql else {}
        hub = stack.enter_context(make_hub(COLLECTOR_DISCOVERY_ENABLED="false", **env))
        with db.session() as session:
            upsert = ingest.prepare_upsert(session, is_reset=False)
        sides = [make_pages(hub, number) for number in range(2 * ROUNDS + 2)]
        walls: tuple[list[float], list[float]] = ([], [])
        store(upsert, sides.pop(), walls[0])
        execute_many(upsert, sides.pop(), walls[1])
        ratio, ours, limit = median_ratio(
            ROUNDS,
            lambda: store(upsert, sides.pop(), walls[0]),
            lambda: execute_many(upsert, sides.pop(), walls[1]),
        )
        name = db.engine.dialect.name
    by_clock = sorted(walls[1])[ROUNDS // 2] / sorted(walls[0])[ROUNDS // 2]
    note = f"{1e6 / ours:.1f} us / {1e6 / limit:.1f} us CPU a row, {by_clock:.2f}x by the clock"
    report(Figure(f"G3 upsert / executemany on {name}", ratio, TARGETS[name], at_most=False), note)


def make_pages(hub: Hub, number: int) -> list[list[Row]]:
    """Rows of a device of its own, as ingest hands them to the upsert."""
    account = create_account(f"round-{number}", secrets.token_urlsafe(16))
    device_id = pair_device(replace(hub, account_id=account.id), f"round-{number}", "127.0.0.1", 8001).device_id
    known = {"device_id": device_id, "account_id": account.id, "pull_id": None, "generation": 0}
    told = worklog.tell("bench", ROWS * PAGES)
    rows = [parse(msgspec.json.encode(one), wire.now_ms()) | known for one in told]
    return [rows[first : first + ROWS] for first in range(0, len(rows), ROWS)]


def store(upsert: Prepared, pages: list[list[Row]], walls: list[float]) -> float:
    """Rows per CPU second of what the hub runs."""
    cpu, wall = time.process_time(), time.perf_counter()
    for rows in pages:
        with transaction() as session:
            upsert.execute(session, rows)
    walls.append(time.perf_counter() - wall)
    return ROWS * PAGES / (time.process_time() - cpu)


def execute_many(upsert: Prepared, pages: list[list[Row]], walls: list[float]) -> float:
    """Rows per CPU second of the driver alone."""
    arranged = [[itemgetter(*upsert.names)(row) for row in rows] for rows in pages]
    connection = db.engine.raw_connection()
    cpu, wall = time.process_time(), time.perf_counter()
    cursor = connection.cursor()
    for parameters in arranged:
        if db.engine.dialect.name == "sqlite":
            cursor.execute("PRAGMA query_only=OFF")
            cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(upsert.text, parameters)
        connection.commit()
    walls.append(time.perf_counter() - wall)
    spent = time.process_time() - cpu
    connection.close()
    return ROWS * PAGES / spent


if __name__ == "__main__":
    main("--postgresql" in sys.argv[1:])
