"""Collectors seen nearby, and when to look for them.

That somebody wants a look is a file's time, because a page that is only read must not write into the database, and
because web server and clock are different processes.
"""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from webapp.adapters.collector_client import Sighted
from webapp.config import current_config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.devices.models import Device, Sighting
from webapp.features.devices.names import printable
from webapp.lib import clock

FRESH = timedelta(seconds=60)
LOOK_EVERY_SECONDS = 5.0
SEARCH_EVERY_SECONDS = 60.0


def request_discovery() -> None:
    """Asks for a look around; the clock rings for it within a second or two. At most every five seconds."""
    if current_config().is_discovery_enabled and _age_seconds(_wish_path()) >= LOOK_EVERY_SECONDS:
        _wish_path().touch(mode=0o600)


def is_discovery_due(last_look: float) -> bool:
    """Whether somebody asked since `last_look` (seconds since 1970), or a paired device has to be searched for."""
    waited = abs(time.time() - last_look)
    if not current_config().is_discovery_enabled or waited < LOOK_EVERY_SECONDS:
        return False
    is_asked = _age_seconds(_wish_path()) < min(waited, SEARCH_EVERY_SECONDS)
    return is_asked or (waited >= SEARCH_EVERY_SECONDS and bool(list_lost_devices()))


def list_lost_devices() -> Sequence[Device]:
    """Paired devices that have no proven endpoint."""
    lost = (Device.kind == "collector", Device.paired_at.is_not(None), Device.unpaired_at.is_(None))
    return db.session.scalars(select(Device).where(*lost, Device.endpoint_url.is_(None)).order_by(Device.id)).all()


def list_sightings(account_id: int) -> list[Sighting]:  # noqa: ARG001
    """Collectors seen a moment ago that this hub has not paired, each once; the same for every account."""
    paired = exists().where(Device.id == Sighting.device_id, Device.unpaired_at.is_(None))
    fresh = select(Sighting).where(Sighting.seen_at > clock.utc_now() - FRESH, ~paired)
    return list({seen.device_id: seen for seen in db.session.scalars(fresh.order_by(Sighting.url.desc()))}.values())


def record_sightings(found: Sequence[Sighted]) -> None:
    """What a look around found, in place of what was there before."""
    with transaction() as session:
        session.execute(delete(Sighting))
        for sighted in found:
            _add(session, sighted)


def _add(session: Session, sighted: Sighted) -> None:
    session.add(
        Sighting(
            url=sighted.url,
            device_id=sighted.device_id,
            name=printable(sighted.name, 200),
            version=printable(sighted.version, 32),
            is_paired=sighted.is_paired,
            seen_at=clock.utc_now(),
        )
    )


def _wish_path() -> Path:
    return current_config().data_dir / "discovery-wanted"


def _age_seconds(path: Path) -> float:
    """How long ago `path` was touched; a time in the future counts as never."""
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    return age if age >= 0 else float("inf")
