"""Collectors that began again from their beginning: what came then, and what only the hub still has.

Each restart opens another generation of the device's sessions. A session that comes takes the present one; what stays
below it is kept only here. Nothing is ever deleted for it.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.sessions.models import PullState, Restart, StoredSession
from webapp.features.sessions.upserting import dialect_of, is_one_of, list_values
from webapp.lib import clock


def begin(session: Session, device_id: str, kind: str, generation: int) -> None:
    """Opens a restart, `reinstalled` or `restored`, in the caller's transaction; one that was still open ends there."""
    end(session, device_id)
    held = sum(count_live(session, device_id).values())
    restart = Restart(device_id=device_id, kind=kind, generation=generation, began_at=clock.utc_now(), held=held)
    session.add(restart)
    session.flush()


def end(session: Session, device_id: str) -> None:
    """Closes the restart that is open, if one is, with what came and what did not, in the caller's transaction."""
    opened = select(Restart).where(Restart.device_id == device_id, Restart.ended_at.is_(None))
    for restart in session.scalars(opened.order_by(Restart.id)):
        counts = count_live(session, device_id)
        restart.received = sum(count for generation, count in counts.items() if generation >= restart.generation)
        restart.kept = sum(count for generation, count in counts.items() if generation < restart.generation)
        restart.ended_at = clock.utc_now()
    session.flush()


def count_live(session: Session, device_id: str) -> dict[int, int]:
    """How many of the device's sessions that are not deleted belong to each generation."""
    live = (StoredSession.device_id == device_id, StoredSession.is_deleted.is_(False))
    counted = select(StoredSession.generation, func.count()).where(*live).group_by(StoredSession.generation)
    return {row[0]: row[1] for row in session.execute(counted)}


def flag_unseen(session: Session, device_id: str, window: tuple[int, int], seen_ids: Collection[str]) -> int:
    """After a whole pull of what starts in `window` (ms): what did not come is kept only here; how many are that."""
    present = select(PullState.generation).where(PullState.device_id == device_id)
    generation = session.scalars(present).one()
    live = select(StoredSession.id).where(
        StoredSession.device_id == device_id,
        StoredSession.started_ms >= window[0],
        StoredSession.started_ms < window[1],
        StoredSession.is_deleted.is_(False),
        StoredSession.generation >= generation,
    )
    unseen = sorted(set(session.scalars(live)).difference(seen_ids))
    if unseen:
        dialect = dialect_of(session)
        of_device = update(StoredSession.__table__).where(  # type: ignore[arg-type]
            StoredSession.device_id == bindparam("of_device"), is_one_of(dialect, StoredSession.id, "ids")
        )
        given = {"of_device": device_id, "ids": list_values(dialect, unseen)}
        session.connection().execute(of_device.values(generation=generation - 1), given)
    return len(unseen)


def list_restarts(account_id: int, device_id: str, limit: int = 20) -> Sequence[Restart]:
    """The newest restarts of one of the account's devices."""
    mine = select(Restart).join(Device, Device.id == Restart.device_id)
    mine = mine.where(Device.account_id == account_id, Device.id == device_id)
    return db.session.scalars(mine.order_by(Restart.began_at.desc(), Restart.id.desc()).limit(limit)).all()
