"""Jobs as people and other features use them."""

from datetime import timedelta

import pytest
import time_machine

from tests.jobs.factory import add
from webapp.database import transaction
from webapp.errors import Conflict, Invalid, NotFound, Unreadable
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import service
from webapp.features.jobs.models import Job
from webapp.features.jobs.running import running
from webapp.lib import clock


def test_a_new_job_waits_with_its_first_sentence(owner: Account) -> None:
    job = add(owner, title="Pull laptop", args={"since": None})
    assert (job.status, job.attempt, job.is_finished) == ("queued", 1, False)
    assert [event.kind for event in job.events] == ["queued"]
    assert service.list_unfinished(owner.id) == [job]


def test_a_ring_without_redis_is_false_and_keeps_the_job(owner: Account) -> None:
    job = add(owner)
    assert service.ring(job) is False
    assert service.get_job(owner.id, job.id).status == "queued"


def test_nobody_sees_the_jobs_of_another(owner: Account, stranger: Account) -> None:
    job = add(owner)
    for use in (service.get_job, service.cancel_job, service.retry_job):
        with pytest.raises(NotFound):
            use(stranger.id, job.id)
    assert service.list_jobs(stranger.id).items == []
    assert service.list_unfinished(stranger.id) == []


@pytest.mark.parametrize("text", ["../1", "1 OR 1=1", "", "0" * 31])
def test_what_is_no_id_is_not_found(owner: Account, text: str) -> None:
    with pytest.raises(NotFound):
        service.get_job(owner.id, text)


def test_pages_give_every_job_once_newest_first(owner: Account) -> None:
    with time_machine.travel(clock.utc_now(), tick=False):
        added = {add(owner, title=str(number)).id for number in range(5)}
    first = service.list_jobs(owner.id, limit=2)
    second = service.list_jobs(owner.id, limit=2, cursor=first.next_cursor)
    third = service.list_jobs(owner.id, limit=2, cursor=second.next_cursor)
    found = [job.id for page in (first, second, third) for job in page.items]
    assert len(found) == 5 and set(found) == added
    assert third.next_cursor is None


def test_a_list_is_filtered_and_a_cursor_fits_its_own_query_only(owner: Account) -> None:
    add(owner, type="pull", device_id="a")
    add(owner, type="pull", device_id="b")
    wanted = add(owner, type="totals", device_id="a")
    assert service.list_jobs(owner.id, type="totals").items == [wanted]
    assert len(service.list_jobs(owner.id, device_id="a").items) == 2
    assert service.list_jobs(owner.id, status="failed").items == []
    cursor = service.list_jobs(owner.id, limit=1).next_cursor
    with pytest.raises(Unreadable):
        service.list_jobs(owner.id, type="pull", cursor=cursor)
    with pytest.raises(Invalid):
        service.list_jobs(owner.id, status="done")


def test_a_waiting_job_is_cancelled_at_once(owner: Account) -> None:
    job = service.cancel_job(owner.id, add(owner).id)
    assert job.status == "cancelled" and job.finished_at is not None
    with pytest.raises(Conflict):
        service.cancel_job(owner.id, job.id)


def test_a_running_job_is_asked_to_stop_and_stops(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1) as run:
        assert service.cancel_job(owner.id, job.id).status == "running"
        run.report(phase="second half")
        raise AssertionError("it went on")
    assert [event.kind for event in service.get_job(owner.id, job.id).events][-2:] == ["asked", "cancelled"]


def test_a_failed_job_is_tried_again_from_the_start(owner: Account) -> None:
    job = add(owner)
    with running(job.id, 1) as run:
        run.report(phase="half way", progress=5, total=10)
        raise Conflict("The machine said no.")
    assert service.get_job(owner.id, job.id).error == "The machine said no."
    again = service.retry_job(owner.id, job.id)
    assert (again.status, again.attempt, again.phase, again.progress, again.error) == ("queued", 2, "", 0, None)
    with pytest.raises(Conflict):
        service.retry_job(owner.id, job.id)


def test_only_old_finished_jobs_of_one_account_are_pruned(owner: Account, stranger: Account) -> None:
    with time_machine.travel(clock.utc_now() - timedelta(days=40)):
        old, waiting, foreign = add(owner), add(owner), add(stranger)
        service.cancel_job(owner.id, old.id)
        service.cancel_job(stranger.id, foreign.id)
    recent = service.cancel_job(owner.id, add(owner).id)
    assert service.prune_jobs(owner.id, 30) == 1
    assert {job.id for job in service.list_jobs(owner.id).items} == {waiting.id, recent.id}
    assert service.get_job(stranger.id, foreign.id)
    with pytest.raises(Invalid):
        service.prune_jobs(owner.id, 0)


def test_a_process_is_listed_while_it_beats(owner: Account) -> None:
    service.beat("one:1:jobs", "worker")
    service.beat("one:1:jobs", "worker")
    service.beat("one:2", "scheduler")
    assert [beat.name for beat in service.list_processes("worker")] == ["one:1:jobs"]
    with time_machine.travel(clock.utc_now() + timedelta(seconds=60)):
        assert service.list_processes() == []
    service.end_beat("one:2")
    assert service.list_processes("scheduler") == []


def test_a_job_goes_with_its_account(owner: Account) -> None:
    job = add(owner)
    key = job.id
    with transaction() as session:
        session.delete(session.get_one(Account, owner.id))
    assert db.session.get(Job, key) is None
