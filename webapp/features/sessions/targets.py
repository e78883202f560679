"""What a pull has to know of a device before it starts, so that its thread never needs the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from zoneinfo import ZoneInfo

from sqlalchemy import select

from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.sessions.leases import Claim
from webapp.lib import clock
from webapp.lib.local_days import read_zone


@dataclass(frozen=True)
class Position:
    """Where to go on: `cursor` of an exact collector, `since` (RFC 3339) of a plain one; neither is the beginning."""

    cursor: str | None = None
    epoch: str | None = None
    since: str | None = None


@dataclass
class Progress:
    """How a pull went. `problem` and `detail` say why it ended early; `is_more` that it stopped at its page limit."""

    started_at: datetime = field(default_factory=clock.utc_now)
    started: float = field(default_factory=monotonic)
    milliseconds: int = 0
    pages: int = 0
    rows: int = 0
    changed_rows: int = 0
    pull_id: int | None = None
    problem: str | None = None
    detail: str | None = None
    is_more: bool = False
    url: str | None = None
    clock_skew_ms: int | None = None


@dataclass
class Target:
    """One claimed device. `is_lost` is set when somebody else has the lease now: stop, and write nothing.

    With `since` the pull asks for everything that changed after it and leaves the position as it is.
    """

    device_id: str
    account_id: int
    zone: ZoneInfo
    secret: str
    candidates: Sequence[str]
    endpoint_url: str | None
    endpoint_proven_at: datetime | None
    is_doubtful: bool
    claim: Claim
    position: Position
    is_resetting: bool
    since: str | None = None
    job_id: str | None = None
    progress: Progress = field(default_factory=Progress)
    is_lost: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """Tells it from another pull of the same device: deleted, paired again and claimed anew meanwhile."""
        return self.device_id, self.claim.attempt


def load_targets(claims: Sequence[Claim], *, since: str | None = None, job_id: str | None = None) -> list[Target]:
    """The claimed devices that are still paired, ready to be pulled."""
    by_id = {claim.device_id: claim for claim in claims}
    wanted = select(Device, Account.timezone).join(Account, Account.id == Device.account_id)
    found = db.session.execute(wanted.where(Device.id.in_(by_id), Device.unpaired_at.is_(None))).all()
    links = devices.find_active_links(by_id)
    return [
        Target(
            device_id=device.id,
            account_id=device.account_id,
            zone=read_zone(zone),
            secret=devices.pull_secret(links[device.id]),
            candidates=devices.list_candidates(device),
            endpoint_url=device.endpoint_url,
            endpoint_proven_at=device.endpoint_proven_at,
            is_doubtful=device.is_identity_doubtful,
            claim=by_id[device.id],
            position=Position(claim.cursor, claim.epoch, claim.last_sync_time),
            is_resetting=claim.is_resetting,
            since=since,
            job_id=job_id,
        )
        for device, zone in found
        if device.id in links and (claim := by_id[device.id])
    ]
