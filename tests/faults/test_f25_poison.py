"""F25: a poisoned feed. Of each 100 sessions in 100 batches one is bad: every good one is stored, every bad one kept.

The batches come as pages of a real collector over HTTP, through the same pull as any other.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from tests.collector_server import Reply
from tests.collectors import ExactCollector, Json, make_session
from tests.devices import factory
from tests.sessions.conftest import pull
from webapp.adapters.collector_client import CollectorClient
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.sessions import fetching
from webapp.features.sessions import service as sessions
from webapp.features.sessions.models import QuarantinedSession, StoredSession

pytestmark = pytest.mark.faults

BATCHES, BATCH = 100, 100
Poison = Callable[[Json], bytes]


def change(**changes: Any) -> Poison:
    """The session with other values, as JSON."""
    return lambda session: json.dumps({**session, **changes}).encode()


def leave_out(name: str) -> Poison:
    """The session without one field."""
    return lambda session: json.dumps({key: value for key, value in session.items() if key != name}).encode()


DEEP = b', "deep": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
POISONS: tuple[tuple[str, Poison, str], ...] = (
    ("wrong type", change(linesAdded="three"), "$.linesAdded"),
    ("missing field", leave_out("filePath"), "filePath"),
    ("no session", lambda session: json.dumps([session["id"]]).encode(), "Expected `object`"),
    ("huge", change(note="y" * 200_000), "larger than 64 KiB"),
    ("lone surrogate", change(projectName="a\ud800b"), "surrogate"),
    ("malformed", lambda session: json.dumps(session).encode()[:-1] + b",}", "malformed"),
    ("nested deeply", lambda session: json.dumps(session).encode()[:-1] + DEEP, "nested too deeply"),
    ("NUL", change(projectName="a\0b"), "NUL"),
    ("year 1601", change(sessionStartTime="1601-01-01T00:00:00Z"), "1601"),
    ("year 9999", change(sessionEndTime="9999-12-31T00:00:00Z"), "9999"),
    ("ends before it starts", change(sessionEndTime="2025-01-01T00:00:00Z"), "before sessionStartTime"),
    ("no time", change(sessionStartTime="yesterday"), "$.sessionStartTime"),
)


class PoisonedCollector(ExactCollector):
    """In each page, the session in the middle is poisoned on its way out."""

    def answer(self, request: Any) -> Reply:
        """An export with raw JSON in it, which a dictionary could not hold."""
        reply = super().answer(request)
        if request.path != "/api/sessions/export" or reply.status != 200 or not reply.value["sessions"]:
            return reply
        told = reply.value.pop("sessions")
        raws = [json.dumps(session).encode() for session in told]
        for place, session in enumerate(told):
            number = int(session["linesDeleted"])
            if number % BATCH == BATCH // 2:
                raws[place] = POISONS[number // BATCH % len(POISONS)][1](session)
        head = json.dumps(reply.value).encode()[:-1]
        return Reply(head + b', "sessions": [' + b",".join(raws) + b"]}")


@pytest.fixture
def client() -> Iterator[CollectorClient]:
    """The real client."""
    made = CollectorClient(timeout_seconds=10, attempts=2)
    yield made
    made.close()


def pair(app: Flask, owner: Account, collector: ExactCollector) -> str:
    """Pairs a running collector with the owner's account; the device's id."""
    app.extensions["muster"] = replace(app.extensions["muster"], is_discovery_enabled=False)
    answer = factory.pair(owner.id, device_id=collector.device_id, port=collector.port)
    collector.pull_secret = answer.pull_secret
    return answer.device_id


def test_ninety_nine_of_a_hundred_are_stored_and_each_bad_one_is_kept(
    app: Flask, owner: Account, client: CollectorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "PAGE_ROWS", BATCH)
    good, bad = BATCHES * (BATCH - 1), BATCHES
    with PoisonedCollector() as collector:
        device_id = pair(app, owner, collector)
        collector.put(*(make_session(number, linesDeleted=number) for number in range(BATCHES * BATCH)))
        (progress,) = pull(client, device_id)
        pages = len(collector.exports())
        assert progress.problem is None and progress.pages == BATCHES
        (again,) = pull(client, device_id)
        assert (again.problem, again.changed_rows) == (None, 0)
    db.session.rollback()
    stored = db.session.scalar(select(func.count()).select_from(StoredSession))
    rows = db.session.scalars(select(QuarantinedSession).order_by(QuarantinedSession.id)).all()
    print(f"F25: {pages} pages of {BATCH}: {stored:,} of {good:,} good sessions stored, {len(rows)} of {bad} bad kept")
    assert (stored, len(rows)) == (good, bad)
    print("F25: reasons", dict(Counter(POISONS[place % len(POISONS)][0] for place, _ in enumerate(rows))))
    for place, row in enumerate(rows):
        name, _, reason = POISONS[place % len(POISONS)]
        assert reason in row.reason, f"{name}: {row.reason}"
        assert row.pull_id == progress.pull_id
    (fresh,) = sessions.freshness(owner.id)
    assert (fresh.state.word, fresh.quarantined) == ("Quarantining", bad)
    whole = {POISONS[place % len(POISONS)][0] for place, row in enumerate(rows) if row.is_whole}
    assert whole == {name for name, _, _ in POISONS} - {"huge"}


def test_the_cured_versions_empty_the_quarantine(app: Flask, owner: Account, client: CollectorClient) -> None:
    with ExactCollector() as collector:
        device_id = pair(app, owner, collector)
        sick = [make_session(number, linesAdded="three") for number in range(40)]
        collector.put(*sick, *(make_session(number) for number in range(40, 60)))
        pull(client, device_id)
        assert sessions.freshness(owner.id)[0].quarantined == 40
        collector.put(*(make_session(number) for number in range(40)))
        pull(client, device_id)
    assert sessions.freshness(owner.id)[0].quarantined == 0
    assert db.session.scalar(select(func.count()).select_from(StoredSession)) == 60
