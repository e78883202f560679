"""Jobs over the API: paged, followed, cancelled, retried, pruned; and only by their owner."""

import uuid
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.api.conftest import Caller
from tests.jobs import factory
from webapp.database import transaction
from webapp.features.accounts.models import Account
from webapp.features.jobs.models import Job
from webapp.lib import clock


def end(job_id: uuid.UUID, status: str, days_ago: int = 0) -> None:
    """Makes a job finished."""
    at = clock.utc_now() - timedelta(days=days_ago)
    with transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(status=status, finished_at=at))


def test_jobs_are_paged_newest_first(script: Caller, owner: Account) -> None:
    made = [str(factory.add(owner, title=f"job {n}").id) for n in range(5)]
    seen: list[str] = []
    path = "/api/jobs?limit=2"
    for has_more in (True, True, False):
        page = script.get(path).json
        assert page is not None
        seen += [job["id"] for job in page["jobs"]]
        assert page["has_more"] is has_more
        path = f"/api/jobs?limit=2&cursor={page['next_cursor']}"
    assert seen == made[::-1]


def test_jobs_are_filtered(script: Caller, owner: Account) -> None:
    wanted = factory.add(owner, type="sessions.pull")
    factory.add(owner, type="other")
    page = script.get("/api/jobs?type=sessions.pull&status=queued").json
    assert page is not None
    assert [job["id"] for job in page["jobs"]] == [str(wanted.id)]
    none = script.get("/api/jobs?status=failed").json
    assert none is not None
    assert none["jobs"] == []


def test_job_has_the_contracts_fields(script: Caller, owner: Account) -> None:
    job = factory.add(owner)
    told = script.get(f"/api/jobs/{job.id}").json
    assert told is not None
    fields = {"id", "type", "status", "created_at", "started_at", "finished_at", "result", "error"}
    assert fields <= set(told)
    assert (told["id"], told["status"], told["started_at"]) == (str(job.id), "queued", None)
    progress = script.get(f"/api/jobs/{job.id}/status").json
    assert progress is not None
    assert {"status", "phase", "progress", "total"} <= set(progress)


def test_job_is_cancelled_and_tried_again(script: Caller, owner: Account) -> None:
    job_id = factory.add(owner).id
    cancelled = script.post(f"/api/jobs/{job_id}/cancel")
    assert cancelled.json is not None
    assert (cancelled.status_code, cancelled.json["status"]) == (200, "cancelled")
    assert script.post(f"/api/jobs/{job_id}/cancel").status_code == 409
    again = script.post(f"/api/jobs/{job_id}/retry")
    assert again.json is not None
    assert (again.status_code, again.json["status"], again.json["attempt"]) == (200, "queued", 2)
    assert script.post(f"/api/jobs/{job_id}/retry").status_code == 409


def test_pruning_forgets_old_finished_jobs_only(script: Caller, owner: Account, stranger: Account) -> None:
    old, young, waiting, foreign = (factory.add(account).id for account in (owner, owner, owner, stranger))
    end(old, "succeeded", days_ago=31)
    end(young, "failed", days_ago=29)
    end(foreign, "succeeded", days_ago=31)
    assert script.call("DELETE", "/api/jobs?older_than_days=30").json == {"deleted": 1}
    left = script.get("/api/jobs").json
    assert left is not None
    assert {job["id"] for job in left["jobs"]} == {str(young), str(waiting)}


def test_pruning_can_be_narrowed_to_one_outcome(script: Caller, owner: Account) -> None:
    failed, done = factory.add(owner).id, factory.add(owner).id
    end(failed, "failed", days_ago=3)
    end(done, "succeeded", days_ago=3)
    assert script.call("DELETE", "/api/jobs?older_than_days=1&status=failed").json == {"deleted": 1}
    assert script.get(f"/api/jobs/{done}").status_code == 200


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/status"), ("POST", "/cancel"), ("POST", "/retry")])
def test_stranger_finds_no_job(outsider: Caller, owner: Account, method: str, path: str) -> None:
    job = factory.add(owner)
    assert outsider.call(method, f"/api/jobs/{job.id}{path}").status_code == 404
    listed = outsider.get("/api/jobs").json
    assert listed is not None
    assert listed["jobs"] == []
