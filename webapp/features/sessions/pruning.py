"""How long the story of routine pulls is kept."""

from datetime import timedelta

from sqlalchemy import delete

from webapp.database import change, transaction
from webapp.features.sessions.models import Pull
from webapp.lib import clock

KEEP_PULLS_DAYS = 14


def prune_pulls() -> int:
    """Deletes pulls that began more than KEEP_PULLS_DAYS ago; how many. The sessions that they brought stay."""
    before = clock.utc_now() - timedelta(days=KEEP_PULLS_DAYS)
    with transaction() as session:
        return change(session, delete(Pull).where(Pull.started_at < before))
