"""Steps of the tests that import export files: a paired machine, its files put or sent, its jobs worked off."""

import io
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from tests.devices import factory
from tests.sessions.export_files import HOUR_MS, MONDAY_MS, Laptop
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job
from webapp.features.sessions import importing, inbox, tasks


@pytest.fixture
def laptop(app: Flask, owner: Account, tmp_path: Path) -> Laptop:
    """A machine with five sessions, paired with the owner; nothing listens on it."""
    made = Laptop(tmp_path / "laptop")
    answer = factory.pair(owner.id, device_id=made.store.identity.device_id, name="laptop")
    made.pair(answer.device_id, answer.pull_secret)
    for number in range(5):
        made.work(f"part{number}", MONDAY_MS + number * HOUR_MS)
    return made


def device_id(laptop: Laptop) -> str:
    return laptop.store.identity.device_id


def upload(account: Account, laptop: Laptop, path: Path) -> Job:
    return importing.receive_file(account.id, device_id(laptop), io.BytesIO(path.read_bytes()), path.name)


def work_off(job: Job) -> Job:
    """Runs the job's present attempt as a worker does; how it stands then."""
    key, account_id = job.id, job.account_id
    tasks.import_file(str(key), job.attempt)
    db.session.rollback()
    db.session.expire_all()
    return jobs.get_job(account_id, key)


def list_jobs() -> list[Job]:
    db.session.rollback()
    return list(db.session.scalars(select(Job).where(Job.type == importing.IMPORT).order_by(Job.created_at)))


def look() -> None:
    """Two looks of the clock, with QUIET_SECONDS between them."""
    importing.look_into_inbox()
    for path, seen in list(inbox._seen.items()):
        inbox._seen[path] = seen._replace(since=seen.since - inbox.QUIET_SECONDS)
    importing.look_into_inbox()


def put(path: Path, name: str = "") -> Path:
    """Puts a copy into the inbox."""
    target = inbox.root() / (name or path.name)
    target.write_bytes(path.read_bytes())
    return target


def list_files() -> list[str]:
    """What lies in the inbox, anywhere."""
    return sorted(str(path.relative_to(inbox.root())) for path in inbox.root().rglob("*") if path.is_file())
