"""Stored sessions, their pulls and how fresh they are. The front door to everything that this feature can do."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Select, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from collector import wire
from webapp.config import current_config
from webapp.database import transaction
from webapp.errors import Invalid, NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.sessions import quarantine
from webapp.features.sessions.coverage import read_coverage, read_device_coverage
from webapp.features.sessions.freshness import Circumstances, DeviceState, Standing, describe
from webapp.features.sessions.ingest import store_parsed
from webapp.features.sessions.known_names import Filters, list_filters
from webapp.features.sessions.models import CoverageState, DayTotal, Pull, PullState, StoredSession
from webapp.features.sessions.parsing import Parsed, Unacceptable, make_row
from webapp.features.sessions.quarantine import list_quarantined
from webapp.features.sessions.refilling import request_check, request_refill
from webapp.features.sessions.requests import request_pull, request_pull_all, request_rebuild
from webapp.features.sessions.retrying import (
    Outcome,
    dismiss_quarantined,
    get_quarantined,
    retry_all_quarantined,
    retry_quarantined,
)
from webapp.features.sessions.stale_days import mark_stale
from webapp.lib import clock
from webapp.lib.local_days import read_zone
from webapp.lib.paging import Page, read_cursor, write_cursor

STANDING = [getattr(PullState, name) for name in Standing._fields[:-1]] + [CoverageState.hole_from]


@dataclass(frozen=True)
class DeviceFreshness:
    """How fresh the stored sessions of one device are. `road` is what its last pull took; None before the first."""

    device: Device
    state: DeviceState
    standing: Standing | None
    last_pulled_at: datetime | None
    road: str | None
    quarantined: int


def list_sessions(
    account_id: int,
    *,
    device_id: str | None = None,
    project: str | None = None,
    language: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[StoredSession]:
    """Sessions that start in `[from_ms, to_ms)`, newest first. Unreadable for a cursor of another query."""
    query = [account_id, device_id, project, language, from_ms, to_ms]
    # The "+ 0" keeps SQLite from walking the account's index when the device's is the narrower one.
    account = StoredSession.account_id if device_id is None else StoredSession.account_id + 0
    wanted = select(StoredSession).where(account == account_id, StoredSession.is_deleted.is_(False))
    for column, value in (
        (StoredSession.device_id, device_id),
        (StoredSession.project, project),
        (StoredSession.language, language),
    ):
        if value is not None:
            wanted = wanted.where(column == value)
    if from_ms is not None:
        wanted = wanted.where(StoredSession.started_ms >= from_ms)
    if to_ms is not None:
        wanted = wanted.where(StoredSession.started_ms < to_ms)
    if cursor is not None:
        wanted = _after(wanted, read_cursor(current_config().cursor_key, query, cursor))
    newest = (StoredSession.started_ms.desc(), StoredSession.device_id.desc(), StoredSession.id.desc())
    rows = db.session.scalars(wanted.order_by(*newest).limit(limit + 1)).all()
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    position = [last.started_ms, last.device_id, last.id]
    return Page(rows[:limit], write_cursor(current_config().cursor_key, query, position))


def get_session(account_id: int, device_id: str, session_id: str) -> StoredSession:
    """The session, if it is this account's and not deleted."""
    row = db.session.get(StoredSession, (device_id, session_id))
    if row is None or row.account_id != account_id or row.is_deleted:
        raise NotFound("There is no such session.")
    return row


def read_record(row: StoredSession) -> wire.FileSession:
    """Everything that its device said of a session."""
    return msgspec.json.decode(row.record, type=wire.FileSession)


def list_pulls(account_id: int, device_id: str, limit: int = 10) -> Sequence[Pull]:
    """The newest pulls of one of the account's devices."""
    mine = _pulls_of(account_id).where(Pull.device_id == device_id)
    return db.session.scalars(mine.order_by(Pull.started_at.desc(), Pull.id.desc()).limit(limit)).all()


def find_pull(account_id: int, pull_id: int | None) -> Pull | None:
    """The pull that brought a session; None for a pushed one, and when its row was pruned."""
    return db.session.scalar(_pulls_of(account_id).where(Pull.id == pull_id)) if pull_id is not None else None


def find_pulls(account_id: int, pull_ids: Collection[int]) -> dict[int, Pull]:
    """Those of the pulls that are the account's and still kept, by id."""
    if not pull_ids:
        return {}
    return {pull.id: pull for pull in db.session.scalars(_pulls_of(account_id).where(Pull.id.in_(pull_ids)))}


def freshness(account_id: int) -> list[DeviceFreshness]:
    """Every device of the account, by name."""
    wanted = select(*STANDING).join(Device, Device.id == PullState.device_id)
    wanted = wanted.outerjoin(CoverageState, CoverageState.device_id == PullState.device_id)
    wanted = wanted.where(Device.account_id == account_id)
    states = {row.device_id: Standing(*row) for row in db.session.execute(wanted)}
    held = quarantine.count_quarantined(account_id)
    stored = count_stored([device_id for device_id, state in states.items() if state.is_catching_up])
    return [
        _tell(device, states.get(device.id), held.get(device.id, 0), stored.get(device.id, 0))
        for device in devices.list_devices(account_id)
    ]


def count_stored(device_ids: Collection[str]) -> dict[str, int]:
    """How many sessions of each of the devices are here; nothing is asked of the database for no device."""
    if not device_ids:
        return {}
    counted = select(StoredSession.device_id, func.count()).where(StoredSession.device_id.in_(device_ids))
    return {row[0]: row[1] for row in db.session.execute(counted.group_by(StoredSession.device_id))}


def store_pushed_session(
    account_id: int, session: wire.FileSession, raw: bytes, editor: str, platform: str
) -> StoredSession:
    """Stores a session that an editor sent by itself, under a device of that editor. Invalid says what is wrong."""
    try:
        row = make_row(session, raw, clock.now_ms())
    except Unacceptable as error:
        raise Invalid(f"session.{error}", field="session") from error
    with transaction() as writing:
        device = devices.add_editor(writing, account_id, editor, platform)
        device.last_seen_at = clock.utc_now()
        device_id, zone = device.id, writing.get_one(Account, account_id).timezone
        # Such an editor knows no change clock: what it sends last is what counts.
        parsed = Parsed(rows=[row | {"changed_ms": 0}])
        store_parsed(writing, parsed, device_id=device_id, account_id=account_id, zone=read_zone(zone), pull_id=None)
    return db.session.get_one(StoredSession, (device_id, row["id"]))


@devices.before_delete
def forget_device(session: Session, device: Device) -> None:
    """Takes a device that is about to go out of the totals; its sessions go with it."""
    mine = (DayTotal.account_id == device.account_id, DayTotal.device_id == device.id)
    mark_stale(session, device.account_id, session.scalars(select(DayTotal.day).where(*mine)).all())
    session.execute(delete(DayTotal).where(*mine))


def _tell(device: Device, state: Standing | None, quarantined: int, stored: int) -> DeviceFreshness:
    config = current_config()
    around = Circumstances(
        quarantined=quarantined,
        stored=stored,
        interval_seconds=config.pull_interval_seconds,
        silent_days=config.silent_days,
    )
    told = describe(device, state, clock.utc_now(), around)
    pulled_at = state.last_pulled_at if state is not None else None
    road = state.road if state is not None and pulled_at is not None else None
    return DeviceFreshness(device, told, state, pulled_at, road, quarantined)


def _pulls_of(account_id: int) -> Select[Pull]:
    return select(Pull).join(Device, Device.id == Pull.device_id).where(Device.account_id == account_id)


def _after(wanted: Select[StoredSession], position: Sequence[int | str]) -> Select[StoredSession]:
    started, device_id, session_id = position
    same_start = StoredSession.started_ms == started
    earlier = (
        StoredSession.started_ms < started,
        and_(same_start, StoredSession.device_id < device_id),
        and_(same_start, StoredSession.device_id == device_id, StoredSession.id < session_id),
    )
    return wanted.where(StoredSession.started_ms <= started, or_(*earlier))


__all__ = [
    "DeviceFreshness",
    "DeviceState",
    "Filters",
    "Outcome",
    "Page",
    "dismiss_quarantined",
    "find_pull",
    "find_pulls",
    "forget_device",
    "freshness",
    "get_quarantined",
    "get_session",
    "list_filters",
    "list_pulls",
    "list_quarantined",
    "list_sessions",
    "read_coverage",
    "read_device_coverage",
    "read_record",
    "request_check",
    "request_pull",
    "request_pull_all",
    "request_rebuild",
    "request_refill",
    "retry_all_quarantined",
    "retry_quarantined",
    "store_pushed_session",
]
