"""How long the story of pulls is kept."""

from datetime import timedelta

from sqlalchemy import and_, delete, or_

from webapp.database import change, transaction
from webapp.features.sessions.models import Pull
from webapp.lib import clock

KEEP_PULLS_DAYS = 14
KEEP_IDLE_HOURS = 24


def prune_pulls() -> int:
    """Deletes pulls that began more than KEEP_PULLS_DAYS ago, sooner the routine ones that brought nothing; how many.

    The sessions that they brought stay.
    """
    now = clock.utc_now()
    is_idle = and_(Pull.status == "succeeded", Pull.rows == 0, Pull.job_id.is_(None))
    old = Pull.started_at < now - timedelta(days=KEEP_PULLS_DAYS)
    idle = and_(is_idle, Pull.started_at < now - timedelta(hours=KEEP_IDLE_HOURS))
    with transaction() as session:
        return change(session, delete(Pull).where(or_(old, idle)))
