"""F1: a puller that is killed at any moment loses nothing and stores nothing twice.

A collector in this process hands out pages. A forked child pulls and stores them, and writes each committed session's
id and change time into a pipe: these are acknowledged. It is killed 1 to 20 ms after it began to take the lease, to
store, or after its first commit. Afterwards the hub must hold every acknowledged session, at least as new, and in the
end exactly what the collector has, each session once.

60 rounds; 1,000 with MUSTER_FAULTS=full. MUSTER_SEED replays a run.
"""

import os
import random
import signal
import struct
import time
from collections.abc import Iterator
from datetime import timedelta

import msgspec
import pytest
import sqlalchemy as sa
from flask import Flask

from tests.collectors import ExactCollector, grow, make_session
from tests.devices import factory
from webapp.adapters.collector_client import CollectorClient
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.sessions import fetching, leases, pulling, recounting, rounds, storing
from webapp.features.sessions.models import PullState, StoredSession
from webapp.features.sessions.totals import read_totals
from webapp.lib import clock

pytestmark = pytest.mark.faults

ROUNDS = 1000 if os.environ.get("MUSTER_FAULTS") == "full" else 60
PAGE = 20
ACK = struct.Struct("<36sq")
BEGUN = b"begun"
MOMENTS = ("lease", "store", "committed")


@pytest.fixture
def collector(owner: Account) -> Iterator[ExactCollector]:
    """A paired collector that changes a little before every round."""
    with ExactCollector() as made:
        answer = factory.pair(owner.id, device_id=made.device_id, port=made.port)
        made.pull_secret = answer.pull_secret
        yield made


def test_kills_lose_and_double_nothing(app: Flask, owner: Account, collector: ExactCollector, monkeypatch) -> None:
    account_id = owner.id
    seed = int(os.environ.get("MUSTER_SEED") or time.time_ns() % 2**32)
    dice = random.Random(seed)
    monkeypatch.setattr(fetching, "PAGE_ROWS", PAGE)
    monkeypatch.setattr(pulling, "ROWS_PER_COMMIT", PAGE)
    acked: dict[str, int] = {}
    kills = commits = 0
    collector.put(*(make_session(number) for number in range(200)))
    finish(collector)  # what a first pull has to prepare is prepared before the children are forked
    for step in range(ROUNDS):
        collector.put(*(make_session(200 + step * 3 + more) for more in range(3)))
        collector.put(*(grow(make_session(dice.randrange(200 + step * 3)), dice.randrange(1, 9)) for _ in range(30)))
        (moment,) = dice.choices(MOMENTS, (1, 4, 5))
        found, was_killed = pull_and_kill(app, collector.device_id, moment, dice.uniform(0.001, 0.020))
        kills += was_killed
        commits += bool(found)
        for session_id, changed_ms in found:
            acked[session_id] = max(changed_ms, acked.get(session_id, 0))
    stored = read_stored(collector.device_id)
    lost = [session_id for session_id, changed_ms in acked.items() if stored.get(session_id, -1) < changed_ms]
    print(f"\nF1 seed={seed} rounds={ROUNDS} kills={kills} with_commits={commits} acked={len(acked)} lost={len(lost)}")
    assert lost == []
    assert kills > ROUNDS / 4, "the children were too quick to be killed"
    assert commits > ROUNDS / 4, "the children were killed before they stored anything"
    check_integrity()
    finish(collector)
    check_equal(account_id, collector)


def pull_and_kill(app: Flask, device_id: str, moment: str, seconds: float) -> tuple[list[tuple[str, int]], bool]:
    """Forks a puller and kills it `seconds` after the `moment`, which is one of MOMENTS.

    What it acknowledged, and whether it was killed at work.
    """
    expire_lease(device_id)
    db.session.remove()
    db.engine.dispose()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            be_killed(app, device_id, writer, moment)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        begun = pipe.read(len(BEGUN))
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        said = b"".join(iter(lambda: pipe.read(65536), b""))
    assert begun in (BEGUN, b"")
    whole = len(said) - len(said) % ACK.size
    return [(name.decode(), changed) for name, changed in ACK.iter_unpack(said[:whole])], os.WIFSIGNALED(status)


def be_killed(app: Flask, device_id: str, writer: int, moment: str) -> None:
    """The child: pulls, and acknowledges after each commit."""
    store = storing.store
    begun: list[int] = []

    def pass_moment(name: str) -> None:
        if name == moment and not begun:
            begun.append(os.write(writer, BEGUN))

    def store_and_acknowledge(arrived, keep_leases) -> None:
        pass_moment("store")
        store(arrived, keep_leases)
        pass_moment("committed")
        rows = [row for one in arrived if one.page is not None for row in one.page.parsed.rows]
        os.write(writer, b"".join(ACK.pack(row["id"].encode(), row["changed_ms"]) for row in rows))

    pulling.store = store_and_acknowledge  # type: ignore[attr-defined]
    pass_moment("lease")
    with app.app_context():
        targets = rounds.ready(leases.claim([device_id]))
        pulling.pull_targets(targets, CollectorClient(timeout_seconds=5, attempts=1))


def expire_lease(device_id: str) -> None:
    """As if the time of the lease had passed since the last puller died."""
    with transaction() as session:
        past = clock.utc_now() - timedelta(seconds=1)
        dead = sa.update(PullState).where(PullState.device_id == device_id, PullState.lease_expires_at.is_not(None))
        session.execute(dead.values(lease_expires_at=past))


def finish(collector: ExactCollector) -> None:
    """Pulls to the end, undisturbed."""
    expire_lease(collector.device_id)
    client = CollectorClient(timeout_seconds=5, attempts=2)
    (progress,) = pulling.pull_targets(rounds.ready(leases.claim([collector.device_id])), client)
    client.close()
    assert progress.problem is None


def read_stored(device_id: str) -> dict[str, int]:
    """`changed_ms` of every stored session, by id."""
    wanted = sa.select(StoredSession.id, StoredSession.changed_ms).where(StoredSession.device_id == device_id)
    rows = db.session.execute(wanted).all()
    assert len({row.id for row in rows}) == len(rows)
    return {row.id: row.changed_ms for row in rows}


def check_integrity() -> None:
    """The database is sound, by its own word."""
    if db.engine.dialect.name == "sqlite":
        assert db.session.scalar(sa.text("PRAGMA integrity_check")) == "ok"
        assert db.session.execute(sa.text("PRAGMA foreign_key_check")).all() == []


def check_equal(account_id: int, collector: ExactCollector) -> None:
    """The hub has exactly what the collector has, and its totals say so."""
    rows = db.session.scalars(sa.select(StoredSession).where(StoredSession.device_id == collector.device_id)).all()
    stored = {row.id: msgspec.json.decode(row.record) for row in rows}
    assert stored == {session["id"]: session for session in collector.sessions}
    recounting.refresh_stale_days(account_id)
    days = [recounting.day_of(row.started_ms, recounting.read_zone("UTC")) for row in rows]
    totals = read_totals(account_id, min(days), max(days))
    held = {
        ms
        for session in collector.sessions
        for start, end in session["activeSegments"]
        for ms in range(start, end, 60_000)
    }
    assert totals.total_ms == len(held) * 60_000
