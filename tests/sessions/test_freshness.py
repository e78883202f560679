"""The state of a device in a word and a sentence."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from webapp.features.devices.models import Device
from webapp.features.sessions.freshness import Standing, describe

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def device(**changes: Any) -> Device:
    told = {"id": "d", "kind": "collector", "paired_at": ago(days=9), "unpaired_at": None, "last_seen_at": None}
    return Device(**(told | {"is_identity_doubtful": False} | changes))


def standing(**changes: Any) -> Standing:
    told = {"device_id": "d", "last_pulled_at": ago(seconds=20), "problem": None, "problem_detail": None}
    return Standing(**({"problem_since_at": None} | told | changes))


@pytest.mark.parametrize(
    ("given", "state", "level", "word"),
    [
        ({}, None, "late", "New"),
        ({}, standing(last_pulled_at=None), "late", "New"),
        ({}, standing(), "ok", "Up to date"),
        ({}, standing(last_pulled_at=ago(minutes=10)), "late", "Late"),
        ({"kind": "editor", "paired_at": None}, None, "ok", "Sends itself"),
        ({"unpaired_at": ago(days=1)}, standing(), "off", "Unpaired"),
        ({"is_identity_doubtful": True}, standing(), "problem", "Not proven"),
        ({}, standing(problem="identity"), "problem", "Not proven"),
        ({}, standing(problem="refused"), "problem", "Pair again"),
        ({}, standing(problem="too_large"), "problem", "Failing"),
        ({}, standing(problem="unreachable", last_pulled_at=None), "late", "Not reached"),
        ({}, standing(problem="unreachable", last_pulled_at=ago(hours=19)), "off", "Off"),
        ({}, standing(problem="timeout", last_pulled_at=ago(days=6, hours=23)), "off", "Off"),
        ({}, standing(problem="timeout", last_pulled_at=ago(days=7)), "late", "Silent"),
        ({"last_seen_at": ago(days=2)}, standing(problem="timeout", last_pulled_at=ago(days=30)), "off", "Off"),
        ({"last_seen_at": ago(seconds=9)}, standing(problem="unreachable"), "problem", "Out of reach"),
    ],
)
def test_state(given: dict[str, Any], state: Standing | None, level: str, word: str) -> None:
    told = describe(device(**given), state, NOW)
    assert (told.level, told.word) == (level, word)
    assert told.sentence.endswith((".", "?"))


def test_late_depends_on_the_interval() -> None:
    state = standing(last_pulled_at=ago(minutes=50))
    assert describe(device(), state, NOW, interval_seconds=3600).level == "ok"
    assert describe(device(), state, NOW, interval_seconds=60).level == "late"


def test_sessions_in_quarantine_are_mentioned() -> None:
    assert describe(device(), standing(), NOW, 1).sentence.startswith("One session could")
    assert describe(device(), standing(), NOW, 12).sentence.startswith("12 sessions could")


def test_since_is_when_it_began() -> None:
    assert describe(device(), standing(problem="refused", problem_since_at=ago(hours=2)), NOW).since_at == ago(hours=2)
    assert describe(device(), standing(problem="timeout", last_pulled_at=ago(hours=3)), NOW).since_at == ago(hours=3)
