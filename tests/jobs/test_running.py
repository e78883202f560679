"""One attempt of a job: claimed once, kept alive, finished once, and fenced off when it comes too late."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from sqlalchemy import update

from tests.jobs.factory import add
from webapp.database import transaction
from webapp.errors import Conflict
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import janitor, service
from webapp.features.jobs import running as running_module
from webapp.features.jobs.models import Job
from webapp.features.jobs.running import NotClaimed, running
from webapp.lib import clock


def test_the_end_of_the_block_is_the_end_of_the_job(owner: Account) -> None:
    job = add(owner, args={"days": 3})
    with running(str(job.id), 1) as run:
        assert run.args == {"days": 3}
        run.report(phase="counting", progress=1, total=3)
        shown = service.get_job(owner.id, job.id)
        assert (shown.status, shown.phase, shown.progress, shown.progress_total) == ("running", "counting", 1, 3)
        run.report(progress=3)
        run.result({"rows": 7})
    ended = service.get_job(owner.id, job.id)
    assert (ended.status, ended.result, ended.progress, ended.lease_expires_at) == ("succeeded", {"rows": 7}, 3, None)
    assert [event.kind for event in ended.events] == ["queued", "started", "succeeded"]


def test_numbers_are_written_at_most_twice_a_second(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1) as run:
        run.report(phase="counting")
        for number in range(100):
            run.report(progress=number)
        assert service.get_job(owner.id, job.id).progress < 99
    assert service.get_job(owner.id, job.id).progress == 99


def test_an_attempt_runs_once(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1), pytest.raises(NotClaimed), running(job.id, 1):
        raise AssertionError("it ran twice")
    for attempt in (1, 2):
        with pytest.raises(NotClaimed), running(job.id, attempt):
            raise AssertionError("it ran after its end")


def test_a_known_error_fails_the_job_with_its_sentence(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1):
        raise Conflict("The machine is asleep.")
    ended = service.get_job(owner.id, job.id)
    assert (ended.status, ended.error) == ("failed", "The machine is asleep.")


def test_an_unexpected_error_fails_the_job_and_goes_on_without_its_text(owner: Account) -> None:
    job = add(owner)
    with pytest.raises(ZeroDivisionError), running(job.id, 1):
        raise ZeroDivisionError("secret-canary")
    ended = service.get_job(owner.id, job.id)
    assert ended.status == "failed" and ended.error is not None
    assert "ZeroDivisionError" in ended.error and "secret-canary" not in ended.error


def test_a_lost_attempt_cannot_write_late(owner: Account, caplog: pytest.LogCaptureFixture) -> None:
    job = add(owner)
    with running(job.id, 1) as late:
        late.report(phase="slow")
        lose(job)
        assert janitor.requeue_lost() == 1
        with running(job.id, 2) as second:
            second.result({"by": 2})
        late.result({"by": 1})
    ended = service.get_job(owner.id, job.id)
    assert (ended.status, ended.attempt, ended.result) == ("succeeded", 2, {"by": 2})
    assert "came back too late" in caplog.text


def test_a_lost_attempt_stops_at_its_next_report(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1) as late:
        lose(job)
        janitor.requeue_lost()
        late.report(phase="more")
        raise AssertionError("it went on")
    assert service.get_job(owner.id, job.id).status == "queued"


def test_the_lease_is_renewed_while_the_block_runs(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_module, "LEASE_SECONDS", 0.6)
    job = add(owner)
    with running(job.id, 1):
        threading.Event().wait(1.2)
        assert janitor.requeue_lost() == 0
    assert service.get_job(owner.id, job.id).status == "succeeded"


def test_a_job_whose_worker_is_lost_each_time_is_given_up(owner: Account) -> None:
    job = add(owner, max_attempts=3)
    for attempt in (1, 2, 3):
        with running(job.id, attempt):
            lose(job)
            assert janitor.requeue_lost() == 1
    ended = service.get_job(owner.id, job.id)
    assert ended.status == "failed" and ended.error is not None
    assert ended.error.startswith("Its worker was lost in attempt 3, the last one, so this was given up.")
    assert [event.kind for event in ended.events].count("lost") == 2


def test_a_lost_job_that_was_asked_to_stop_is_cancelled(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1):
        service.cancel_job(owner.id, job.id)
        lose(job)
        janitor.requeue_lost()
    assert service.get_job(owner.id, job.id).status == "cancelled"


def test_a_day_forward_loses_a_lease_but_not_the_job(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1) as run, time_machine.travel(clock.utc_now() + timedelta(days=1)):
        assert run.renew()
        assert janitor.requeue_lost() == 0


def test_forty_claims_at_once_give_one_run(app: Flask, owner: Account) -> None:
    job = add(owner)
    key, ran = job.id, []
    start = threading.Barrier(8)

    def claim() -> None:
        with app.app_context():
            start.wait()
            for _ in range(5):
                with suppress(NotClaimed), running(key, 1):
                    ran.append(1)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    db.session.rollback()
    assert len(ran) == 1
    assert service.get_job(owner.id, key).status == "succeeded"


def lose(job: Job) -> None:
    """Ends the lease of `job`, as thirty seconds without its worker would."""
    key = job.id
    with transaction() as session:
        session.execute(
            update(Job).where(Job.id == key).values(lease_expires_at=clock.utc_now() - timedelta(seconds=1))
        )
