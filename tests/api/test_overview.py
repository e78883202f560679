"""The first page's figures over the API."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import time_machine

from tests.api.conftest import Caller, Machine
from tests.api.pushing import push
from tests.jobs import factory
from webapp.features.accounts.models import Account
from webapp.features.sessions.totals import refresh_stale_days


@pytest.fixture(autouse=True)
def on_that_day() -> Iterator[None]:
    """The afternoon of the day on which the pushed session took place (a Monday)."""
    with time_machine.travel(datetime(2026, 1, 5, 18, tzinfo=UTC)):
        yield


def test_overview_has_figures_machines_and_jobs(script: Caller, machine: Machine, owner: Account) -> None:
    assert push(script).status_code == 201
    refresh_stale_days()
    job = factory.add(owner)
    told = script.get("/api/overview?days=7").json
    assert told is not None
    assert (told["today_ms"], told["week_ms"], told["agent_today_ms"]) == (300_000, 300_000, 0)
    assert [day["day"] for day in told["days"]][-1] == "2026-01-05"
    assert len(told["days"]) == 7
    assert told["languages"] == [{"name": "Python", "ms": 300_000}]
    assert {device["kind"] for device in told["devices"]} == {"collector", "editor"}
    assert [job["id"] for job in told["jobs"]] == [str(job.id)]
    assert any("worker" in sentence for sentence in told["needs_you"])


def test_overview_of_one_device_counts_that_device(script: Caller, machine: Machine) -> None:
    push(script)
    refresh_stale_days()
    told = script.get(f"/api/overview?device={machine.id}").json
    assert told is not None
    assert told["today_ms"] == 0


def test_stranger_sees_nothing_of_it(script: Caller, outsider: Caller, machine: Machine) -> None:
    push(script)
    refresh_stale_days()
    told = outsider.get("/api/overview").json
    assert told is not None
    assert (told["today_ms"], told["devices"], told["jobs"]) == (0, [], [])
    assert outsider.get(f"/api/overview?device={machine.id}").status_code == 404
