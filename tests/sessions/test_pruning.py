"""The story of routine pulls is kept for a while, and no longer."""

from datetime import timedelta

from sqlalchemy import select

from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.sessions.models import Pull
from webapp.features.sessions.pruning import KEEP_PULLS_DAYS, prune_pulls
from webapp.lib import clock


def test_old_pulls_go_and_recent_ones_stay(owner: Account) -> None:
    now = clock.utc_now()
    owner_id = owner.id
    with transaction() as session:
        session.add(Device(id="d", account_id=owner_id, name="laptop", settings_epoch="e", created_at=now))
        session.flush()
        for days in (0, KEEP_PULLS_DAYS - 1, KEEP_PULLS_DAYS + 1, 400):
            session.add(Pull(device_id="d", started_at=now - timedelta(days=days), rows=days))
    assert prune_pulls() == 2
    assert sorted(db.session.scalars(select(Pull.rows))) == [0, KEEP_PULLS_DAYS - 1]
