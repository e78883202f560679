"""The state of a device in a word and a sentence."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from webapp.features.devices.models import Device
from webapp.features.sessions.freshness import Circumstances, DeviceState, Standing, describe

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
RELAYED = {
    "road": "relay",
    "direct_problem": "unreachable",
    "direct_detail": "Nothing answers at 10.0.0.7:8001.",
    "direct_since_at": NOW - timedelta(hours=5),
    "direct_due_at": NOW + timedelta(minutes=8),
}
JUST_HEARD = {"last_seen_at": NOW - timedelta(seconds=9)}
FULL = {"reported_status": {"disk": {"isFull": True}}, "reported_at": NOW - timedelta(minutes=1)}


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def device(**changes: Any) -> Device:
    told = {"id": "d", "kind": "collector", "paired_at": ago(days=9), "unpaired_at": None, "last_seen_at": None}
    return Device(**(told | {"is_identity_doubtful": False} | changes))


def standing(**changes: Any) -> Standing:
    told = {"device_id": "d", "last_pulled_at": ago(seconds=20), "problem": None, "problem_detail": None}
    return Standing(**({"problem_since_at": None} | told | changes))


def tell(given: dict[str, Any], state: Standing | None, **around: int) -> DeviceState:
    return describe(device(**given), state, NOW, Circumstances(**around))


@pytest.mark.parametrize(
    ("given", "state", "level", "word", "action"),
    [
        ({}, None, "late", "New", None),
        ({}, standing(last_pulled_at=None), "late", "New", None),
        ({}, standing(), "ok", "Up to date", None),
        ({}, standing(is_behind=True), "ok", "Catching up", None),
        ({}, standing(last_pulled_at=None, reached_ms=1), "ok", "Catching up", None),
        ({}, standing(**RELAYED), "ok", "Up to date, by relay", None),
        ({}, standing(last_pulled_at=ago(minutes=10)), "late", "Late", "look"),
        ({}, standing(last_pulled_at=ago(minutes=10), **RELAYED), "late", "Late", "look"),
        ({"kind": "editor", "paired_at": None}, None, "ok", "Sends itself", None),
        ({"unpaired_at": ago(days=1)}, standing(), "off", "Unpaired", "pair"),
        ({"unpaired_at": ago(days=1)}, standing(problem="refused"), "off", "Unpaired", "pair"),
        ({"is_identity_doubtful": True}, None, "problem", "Not proven", "look"),
        ({"is_identity_doubtful": True}, standing(), "problem", "Not proven", "look"),
        ({"is_identity_doubtful": True}, standing(**RELAYED), "problem", "Not proven", "look"),
        ({}, standing(problem="identity"), "problem", "Not proven", "look"),
        ({}, standing(problem="refused"), "problem", "Pair again", "pair"),
        ({}, standing(problem="disk_full"), "problem", "Disk full", "look"),
        (FULL, standing(), "problem", "Disk full", "look"),
        ({"reported_status": {"disk": "?"}}, standing(), "ok", "Up to date", None),
        ({}, standing(problem="too_large"), "problem", "Failing", "look"),
        ({}, standing(problem="unreachable", last_pulled_at=None), "late", "Not reached", "look"),
        ({}, standing(problem="unreachable", last_pulled_at=ago(hours=19)), "off", "Off", None),
        ({}, standing(problem="timeout", last_pulled_at=ago(days=6, hours=23)), "off", "Off", None),
        ({}, standing(problem="timeout", last_pulled_at=ago(days=7)), "late", "Silent", "look"),
        ({"last_seen_at": ago(days=2)}, standing(problem="timeout", last_pulled_at=ago(days=30)), "off", "Off", None),
        (JUST_HEARD, standing(problem="unreachable"), "problem", "Out of reach", "look"),
        (JUST_HEARD, standing(problem="timeout", last_pulled_at=ago(days=30)), "problem", "Out of reach", "look"),
    ],
)
def test_state(given: dict[str, Any], state: Standing | None, level: str, word: str, action: str | None) -> None:
    told = tell(given, state)
    assert (told.level, told.word, told.action) == (level, word, action)
    assert told.sentence.endswith((".", "?"))


def test_late_depends_on_the_interval() -> None:
    state = standing(last_pulled_at=ago(minutes=50))
    assert tell({}, state, interval_seconds=3600).level == "ok"
    assert tell({}, state, interval_seconds=60).level == "late"


def test_silent_depends_on_the_days_that_are_set() -> None:
    state = standing(problem="timeout", last_pulled_at=ago(days=3))
    assert tell({}, state, silent_days=2).word == "Silent"
    assert tell({}, state, silent_days=4).word == "Off"


def test_quarantine_has_its_own_word_and_says_how_many() -> None:
    one, many = tell({}, standing(), quarantined=1), tell({}, standing(**RELAYED), quarantined=1200)
    assert (one.word, one.level, one.action) == ("Quarantining", "late", "quarantine")
    assert one.sentence.startswith("One session could not be accepted and waits aside.")
    assert many.sentence.startswith("1,200 sessions could not be accepted and wait aside.")
    assert tell({}, standing(problem="refused"), quarantined=1).word == "Pair again"


def test_a_day_that_lacks_something_is_not_up_to_date() -> None:
    told = tell({}, standing(hole_from=date(2026, 3, 7)))
    assert (told.word, told.level) == ("Incomplete", "late")
    assert "since 7 March" in told.sentence
    assert tell({}, standing(hole_from=date(2026, 3, 7)), quarantined=1).word == "Quarantining"


def test_catching_up_says_how_far_it_is() -> None:
    assert "12,480 sessions so far" in tell({}, standing(is_behind=True), stored=12_480).sentence
    assert "1 session so far" in tell({}, standing(is_behind=True), stored=1).sentence


def test_the_relay_says_why_since_when_and_when_the_direct_road_is_tried_again() -> None:
    told = tell({}, standing(**RELAYED))
    assert "Nothing answers at 10.0.0.7:8001." in told.sentence
    assert (told.since_at, told.next_try_at) == (ago(hours=5), NOW + timedelta(minutes=8))
    doubtful = tell({"is_identity_doubtful": True}, standing(**RELAYED))
    assert "the connection that it opens itself" in doubtful.sentence and doubtful.since_at == ago(hours=5)


def test_out_of_reach_names_what_each_road_said() -> None:
    state = standing(problem="timeout", problem_detail="It did not answer over its own connection.", **RELAYED)
    sentence = tell(JUST_HEARD, state).sentence
    assert "Direct: Nothing answers at 10.0.0.7:8001." in sentence
    assert "By relay: It did not answer over its own connection." in sentence


def test_an_off_machine_of_which_not_everything_came_says_so() -> None:
    state = standing(problem="timeout", last_pulled_at=ago(hours=3), is_behind=True)
    assert "not everything had come" in tell({}, state).sentence


def test_since_is_when_it_began_and_the_next_try_is_named() -> None:
    due = NOW + timedelta(seconds=40)
    told = tell({}, standing(problem="refused", problem_since_at=ago(hours=2), due_at=due))
    assert (told.since_at, told.next_try_at) == (ago(hours=2), due)
    assert tell({}, standing(problem="timeout", last_pulled_at=ago(hours=3))).since_at == ago(hours=3)
    assert tell({}, standing(due_at=due)).next_try_at is None
