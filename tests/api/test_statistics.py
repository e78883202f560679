"""Figures over the API: of the account's own days, and only of its own devices."""

from datetime import UTC, datetime

import pytest
import time_machine

from tests.api.conftest import Caller
from tests.api.pushing import push
from webapp.features.sessions.totals import refresh_stale_days

MINUTE_MS = 60_000
RANGE = "from=2026-01-01&to=2026-01-31"


@pytest.fixture
def worked(script: Caller) -> str:
    """Ten minutes of Python and five of SQL on one device; its id."""
    pushed = push(script, totalDuration=600, sessionEndTime="2026-01-05T13:10:00Z")
    assert pushed.json is not None
    at = {"sessionStartTime": "2026-01-06T09:00:00Z", "sessionEndTime": "2026-01-06T09:05:00Z"}
    assert push(script, id="s-2", language="SQL", projectName="lake", **at).status_code == 201
    refresh_stale_days()
    device_id: str = pushed.json["device_id"]
    return device_id


def test_summary_has_every_figure(script: Caller, worked: str) -> None:
    told = script.get(f"/api/sessions/stats?{RANGE}").json
    assert told is not None
    assert (told["first_day"], told["last_day"], told["timezone"]) == ("2026-01-01", "2026-01-31", "UTC")
    assert (told["total_ms"], told["agent_ms"]) == (15 * MINUTE_MS, 0)
    assert told["languages"] == [{"name": "Python", "ms": 10 * MINUTE_MS}, {"name": "SQL", "ms": 5 * MINUTE_MS}]
    assert told["devices"] == [{"name": worked, "ms": 15 * MINUTE_MS}]
    assert len(told["days"]) == 31
    assert told["days"][4] == {
        "day": "2026-01-05",
        "ms": 10 * MINUTE_MS,
        "agent_ms": 0,
        "projects": [{"name": "my code", "ms": 10 * MINUTE_MS}],
    }
    assert told["hours"][0][13] == 10 * MINUTE_MS
    assert told["hours"][1][9] == 5 * MINUTE_MS


@pytest.mark.parametrize("part", ["daily:days", "languages:languages", "projects:projects", "hourly:hours"])
def test_each_part_is_the_summarys(script: Caller, worked: str, part: str) -> None:
    path, name = part.split(":")
    summary = script.get(f"/api/sessions/stats?{RANGE}").json
    told = script.get(f"/api/sessions/stats/{path}?{RANGE}&device={worked}").json
    assert summary is not None
    assert told is not None
    assert told[name] == summary[name]
    assert told["total_ms"] == 15 * MINUTE_MS


def test_range_is_the_last_thirty_days_unless_asked(script: Caller) -> None:
    with time_machine.travel(datetime(2026, 3, 1, 12, tzinfo=UTC), tick=False):
        told = script.get("/api/sessions/stats/daily").json
        week = script.get("/api/sessions/stats/daily?days=7").json
    assert told is not None
    assert week is not None
    assert (told["first_day"], told["last_day"], len(told["days"])) == ("2026-01-31", "2026-03-01", 30)
    assert (week["first_day"], len(week["days"])) == ("2026-02-23", 7)


@pytest.mark.parametrize("query", ["from=2026-02-02&to=2026-02-01", "from=1000-01-01", "days=0", "days=3661", "days=x"])
def test_unlikely_range_is_refused(script: Caller, query: str) -> None:
    assert script.get(f"/api/sessions/stats?{query}").status_code == 422


@pytest.mark.parametrize("path", ["", "/daily", "/languages", "/projects", "/hourly"])
def test_stranger_counts_nothing(outsider: Caller, anybody: Caller, worked: str, path: str) -> None:
    told = outsider.get(f"/api/sessions/stats{path}?{RANGE}").json
    assert told is not None
    assert told["total_ms"] == 0
    assert outsider.get(f"/api/sessions/stats{path}?device={worked}").status_code == 404
    assert anybody.get(f"/api/sessions/stats{path}").status_code == 401
