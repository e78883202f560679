"""Checks of days that fail, through real pulls: they harm no pull and no other device, and come again ever later."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.orm import Session

from tests.sessions.conftest import Pair, pull
from tests.sessions.covered import NOW, Machine, SetClock, back, clock_setter, read_state, statuses
from webapp.adapters.collector_client import CollectorClient
from webapp.features.sessions import covering


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The hub's clock stands at noon; `noon(moment)` moves it."""
    return clock_setter(monkeypatch)


def test_a_failing_check_fails_no_pull_and_is_tried_again_in_five_minutes(
    pair: Pair, client: CollectorClient, noon: SetClock
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1)
        machine.cover = lambda asked: {"epoch": 7}  # type: ignore[method-assign]
        assert pull(client, device_id)[0].problem is None
        assert read_state(device_id).problem == "bad_answer"
        assert statuses(device_id) == {}
        del machine.cover
        pull(client, device_id)
        assert len(machine.questions()) == 1
        noon(NOW + timedelta(minutes=6))
        pull(client, device_id)
        assert read_state(device_id).problem is None
        assert statuses(device_id)[back(1)] == "complete"


def test_a_collector_that_does_not_know_the_call_is_asked_once_a_day(
    pair: Pair, client: CollectorClient, noon: SetClock
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.cover = lambda asked: None  # type: ignore[assignment, method-assign, return-value]
        machine.work(1, 1)
        pull(client, device_id)
        assert read_state(device_id).problem == "unsupported"
        noon(NOW + timedelta(hours=23))
        pull(client, device_id)
        assert len(machine.questions()) == 1
        noon(NOW + timedelta(hours=25))
        pull(client, device_id)
        assert len(machine.questions()) == 2
        machine.most_per_page = 3
        machine.work(0, 8)
        noon(NOW + timedelta(hours=50))
        pull(client, device_id)
        assert len(machine.questions()) == 3, "after the first of several pages, and not again after the last"


def test_a_check_that_fails_again_and_again_is_asked_for_ever_later(
    pair: Pair, client: CollectorClient, noon: SetClock
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        real = machine.cover
        machine.cover = lambda asked: real(asked) | {"since": "?"}  # type: ignore[method-assign]
        machine.work(1, 1)
        now, pauses = NOW, []
        for _ in range(8):
            noon(now)
            pull(client, device_id)
            due_at = read_state(device_id).due_at
            assert due_at is not None
            pauses.append((due_at - now) // timedelta(minutes=1))
            now = due_at
        assert pauses == [5, 10, 20, 40, 80, 160, 320, 360]
        assert len(machine.questions()) == 8
        machine.cover = real  # type: ignore[method-assign]
        noon(now)
        pull(client, device_id)
        assert (read_state(device_id).problem, read_state(device_id).failures) == (None, 0)


@pytest.mark.parametrize("part", ["judge_days", "write_days"])
def test_an_error_in_the_check_of_one_device_is_that_devices_alone(
    pair: Pair, client: CollectorClient, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    real = getattr(covering, part)
    with Machine() as machine, Machine() as other:
        ids = [pair(machine), pair(other)]
        machine.work(1, 2)
        other.work(1, 2)

        def fail_for_one(session: Session, device_id: str, *given: Any) -> object:
            if device_id == ids[0]:
                raise OverflowError("something that nobody thought of")
            return real(session, device_id, *given)

        monkeypatch.setattr(covering, part, fail_for_one)
        assert [one.problem for one in pull(client, *ids)] == [None, None]
        assert (read_state(ids[0]).problem, statuses(ids[0])) == ("error", {})
        assert (read_state(ids[1]).problem, statuses(ids[1])[back(1)]) == (None, "complete")


@pytest.mark.parametrize(
    "changes",
    [
        {"since": "yesterday"},
        {"since": "9999999-01-01T00:00:00Z"},
        {"since": "0001-01-01T00:00:00+10:00"},
        {"days": [{"day": "2026-02-31", "sessions": 1, "digest": "0" * 32, "pending": 0, "ranSeconds": 0}]},
        {"days": [{"day": "2026-03-01", "sessions": 2**40, "digest": "0" * 32, "pending": 0, "ranSeconds": 0}]},
    ],
)
def test_an_answer_that_means_nothing_is_a_failed_check(
    pair: Pair, client: CollectorClient, changes: dict[str, object]
) -> None:
    with Machine() as machine:
        device_id = pair(machine)
        machine.work(1, 1)
        real = machine.cover
        machine.cover = lambda asked: real(asked) | changes  # type: ignore[method-assign]
        assert pull(client, device_id)[0].problem is None
        state = read_state(device_id)
        assert state.problem == "bad_answer"
        assert statuses(device_id) == {}
