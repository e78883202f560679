"""Schemathesis asks every call what the document allows and what it forbids: no fault, no answer that it leaves out."""

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from sqlalchemy import select

from tests.api.conftest import Caller, Machine
from tests.jobs import factory
from webapp.database import transaction
from webapp.extensions import db, limiter
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.sessions import quarantine
from webapp.features.sessions.models import QuarantinedSession
from webapp.features.sessions.parsing import reject
from webapp.lib import clock

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SECONDS = 30
ROUND = settings(
    max_examples=8,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_no_call_answers_what_the_document_leaves_out(
    app: Flask, script: Caller, pair: Callable[..., Machine], owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter, "enabled", False)
    known = {"job_id": str(factory.add(owner).id), "code": "ABCDEF"}
    chosen = int(os.environ.get("MUSTER_SEED") or random.randrange(2**32))
    print(f"MUSTER_SEED={chosen}")
    api = schemathesis.openapi.from_wsgi("/api/openapi.json", app.wsgi_app)
    asked: dict[int, int] = {}
    ends_at = time.monotonic() + SECONDS
    rounds = 0
    while time.monotonic() < ends_at:
        machine = pair(owner)  # anew: the round before unpaired or deleted it
        known["device_id"] = machine.id
        known["call_id"], known["quarantined_id"] = leave_work(machine.id)
        for found in api.get_all_operations():
            operation = found.ok()
            is_collectors = operation.path.startswith("/api/collector/")
            token = machine.caller.token if is_collectors else script.token
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                with suppress(Unsatisfiable):  # a call without parameters cannot be asked wrongly
                    try_call(operation, mode, chosen + rounds, token, known, asked)
        rounds += 1
    print(f"{rounds} rounds, answers by status: {dict(sorted(asked.items()))}")
    assert {200, 201, 204, 400, 404, 422} <= set(asked)


def leave_work(device_id: str) -> tuple[str, str]:
    """A call that waits for the machine's answer, and a session of it in quarantine -> the ids of both."""
    with transaction() as session:
        later = clock.utc_now() + timedelta(minutes=5)
        (call_id,) = devices.add_calls(session, [(device_id, "sessions.export", {"limit": 10}, later)])
        quarantine.quarantine(session, device_id, [reject(b'{"id": "s-1"}', "It has no filePath.")], None)
    newest = select(QuarantinedSession.id).where(QuarantinedSession.device_id == device_id)
    return str(call_id), str(db.session.scalar(newest))


def try_call(
    operation: Any, mode: GenerationMode, start: int, token: str | None, known: dict[str, str], asked: dict[int, int]
) -> None:
    """A few generated requests of one call, each answer checked against the document."""
    choice = random.Random(start)

    @seed(start)
    @ROUND
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: schemathesis.Case) -> None:
        for name in case.path_parameters:
            if choice.random() < 0.5:
                case.path_parameters[name] = known[name]
        answer = case.call(headers={"Authorization": f"Bearer {token}"})
        asked[answer.status_code] = asked.get(answer.status_code, 0) + 1
        case.validate_response(answer, checks=CHECKS)

    check()
