"""Jobs for tests."""

from typing import Any

from webapp.database import transaction
from webapp.features.accounts.models import Account
from webapp.features.jobs import service
from webapp.features.jobs.models import Job


def add(account: Account, **given: Any) -> Job:
    """A queued job of `account`."""
    values = {"type": "test", "task": "webapp.features.test.tasks.run", "title": "A test job", **given}
    owner_id = account.id
    with transaction() as session:
        return service.add_job(session, account_id=owner_id, **values)
