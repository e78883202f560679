"""Jobs: what runs, what became of it, and what a person may do about it."""

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from flask import Blueprint
from msgspec import Meta

from webapp.blueprints.access import current_account
from webapp.blueprints.api.endpoint import endpoint
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job

calls = Blueprint("api_jobs", __name__)

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class JobsQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which jobs."""

    status: Status | None = None
    type: Annotated[str, Meta(max_length=64)] | None = None
    device: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, Meta(max_length=512)] | None = None


class PruneQuery(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which finished jobs to forget."""

    older_than_days: Annotated[int, Meta(le=36_500)] = 30
    status: Status | None = None


class JobAnswer(msgspec.Struct, kw_only=True):
    """One job."""

    id: uuid.UUID
    type: str
    title: str
    status: Status
    device_id: str | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: dict[str, Any] | None
    error: str | None


class JobProgress(msgspec.Struct, kw_only=True):
    """How far a job is. `progress` counts up to `total`, when that is known."""

    id: uuid.UUID
    status: Status
    phase: str
    progress: int
    total: int | None
    attempt: int
    is_cancel_asked: bool


class JobPage(msgspec.Struct, kw_only=True):
    """Some jobs, newest first."""

    jobs: list[JobAnswer]
    has_more: bool
    next_cursor: str | None


class Pruned(msgspec.Struct, kw_only=True):
    """How many jobs were forgotten."""

    deleted: int


@endpoint(calls, "GET", "/api/jobs", query=JobsQuery, answers={200: JobPage}, summary="Jobs, newest first.")
def list_jobs(query: JobsQuery) -> JobPage:
    page = jobs.list_jobs(
        current_account().id,
        status=query.status,
        type=query.type,
        device_id=query.device,
        limit=query.limit,
        cursor=query.cursor,
    )
    told = [tell_job(job) for job in page.items]
    return JobPage(jobs=told, has_more=page.next_cursor is not None, next_cursor=page.next_cursor)


@endpoint(
    calls,
    "DELETE",
    "/api/jobs",
    query=PruneQuery,
    answers={200: Pruned},
    summary="Forget jobs that finished longer ago. Never one that waits or runs.",
)
def prune_jobs(query: PruneQuery) -> Pruned:
    deleted = jobs.prune_jobs(current_account().id, query.older_than_days, status=query.status)
    return Pruned(deleted=deleted)


@endpoint(calls, "GET", "/api/jobs/<uuid:job_id>", answers={200: JobAnswer}, summary="One job.")
def get_job(job_id: uuid.UUID) -> JobAnswer:
    return tell_job(jobs.get_job(current_account().id, job_id))


@endpoint(calls, "GET", "/api/jobs/<uuid:job_id>/status", answers={200: JobProgress}, summary="How far a job is.")
def get_progress(job_id: uuid.UUID) -> JobProgress:
    job = jobs.get_job(current_account().id, job_id)
    return JobProgress(
        id=job.id,
        status=_status(job),
        phase=job.phase,
        progress=job.progress,
        total=job.progress_total,
        attempt=job.attempt,
        is_cancel_asked=job.is_cancel_asked,
    )


@endpoint(
    calls,
    "POST",
    "/api/jobs/<uuid:job_id>/cancel",
    answers={200: JobAnswer},
    errors=(409,),
    summary="Cancel a waiting job, or ask a running one to stop.",
)
def cancel_job(job_id: uuid.UUID) -> JobAnswer:
    return tell_job(jobs.cancel_job(current_account().id, job_id))


@endpoint(
    calls,
    "POST",
    "/api/jobs/<uuid:job_id>/retry",
    answers={200: JobAnswer},
    errors=(409,),
    summary="Queue a failed or cancelled job again.",
)
def retry_job(job_id: uuid.UUID) -> JobAnswer:
    return tell_job(jobs.retry_job(current_account().id, job_id))


def tell_job(job: Job) -> JobAnswer:
    """The job as the API tells it."""
    return JobAnswer(
        id=job.id,
        type=job.type,
        title=job.title,
        status=_status(job),
        device_id=job.device_id,
        attempt=job.attempt,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        result=job.result,
        error=job.error,
    )


def _status(job: Job) -> Status:
    return msgspec.convert(job.status, Status)
