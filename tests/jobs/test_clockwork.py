"""The clock's chores: when they run, and that a failing one hurts nobody else."""

import pytest
from flask import Flask

from webapp.processes.clockwork import Chore, make_chores, say_alive


def test_a_chore_runs_when_its_time_has_come(app: Flask) -> None:
    ran: list[float] = []
    chore = Chore(5, lambda: ran.append(1))
    for now in (0.0, 1.0, 4.9, 5.0, 9.0, 10.5):
        chore.run_if_due(now)
    assert len(ran) == 3


def test_a_failing_chore_is_logged_and_tried_less_often_until_it_works(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[float] = []

    def fail_twice() -> None:
        tried.append(1)
        if len(tried) <= 2:
            raise ZeroDivisionError

    chore = Chore(1, fail_twice)
    times = []
    for now in range(20):
        before = len(tried)
        chore.run_if_due(float(now))
        if len(tried) > before:
            times.append(now)
    assert times[:5] == [0, 2, 6, 7, 8]
    assert caplog.text.count("fail_twice failed") == 2


def test_the_clock_does_what_the_hub_needs() -> None:
    names = {chore.do.__name__: chore.every_seconds for chore in make_chores()}
    assert names["ring_due_pulls"] == names["ring_discovery"] == 1
    assert names["tidy"] <= 5 and names[say_alive.__name__] <= 15
    assert {"prune_finished", "prune_pulls"} <= set(names)
