"""What a pull has to know of a device before it starts, so that its thread never needs the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import select

from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import Device
from webapp.features.sessions.check_plans import CheckPlan, load_known
from webapp.features.sessions.leases import LONGEST_DIRECT_RETRY, Claim
from webapp.lib import clock
from webapp.lib.local_days import read_zone

if TYPE_CHECKING:
    from webapp.features.sessions.roads import Road

HEARD_LATELY = timedelta(seconds=30)
"""A machine that was heard of no longer ago can be asked over its own connection."""
PROVEN_FRESH = timedelta(minutes=10)
COLUMNS: Sequence[Any] = (
    *(Device.id, Device.account_id, Device.host, Device.port, Device.paired_at, Device.last_seen_at),
    *(Device.endpoint_url, Device.endpoint_proven_at, Device.is_identity_doubtful, Account.timezone),
)
"""What a pull needs: loading whole devices, in every round, costs twice as much."""
LOADED = select(*COLUMNS).join(Account, Account.id == Device.account_id).where(Device.unpaired_at.is_(None))


@dataclass(frozen=True)
class Position:
    """Where to go on: `cursor` of an exact collector, `since` (RFC 3339) of a plain one; neither is the beginning."""

    cursor: str | None = None
    epoch: str | None = None
    since: str | None = None


@dataclass
class Progress:
    """How a pull went. `problem` and `detail` say why it ended early; `is_more` that the last page was not the end.

    The thread that fetches writes `road` and what follows it, the one that stores the rest. `direct_problem` says why
    the direct road was left. `restart` is the kind of a restart that one of the pages showed. `seen_ids` are those of
    a pull of a window.
    """

    started_at: datetime = field(default_factory=clock.utc_now)
    started: float = field(default_factory=monotonic)
    milliseconds: int = 0
    pages: int = 0
    rows: int = 0
    changed_rows: int = 0
    pull_id: int | None = None
    problem: str | None = None
    detail: str | None = None
    road: str = "direct"
    direct_problem: str | None = None
    direct_detail: str | None = None
    is_more: bool = False
    url: str | None = None
    clock_skew_ms: int | None = None
    restart: str | None = None
    seen_ids: set[str] = field(default_factory=set)


@dataclass(eq=False)
class Target:
    """One claimed device. `is_lost` is set when somebody else has the lease now: stop, and write nothing.
    `is_unstorable` is set when the database refused its rows: stop, and end with that problem.

    Three pulls leave the position as it is: with `since` one of everything that changed after it, with `window`
    (`(from_ms, to_ms)`) one of everything that starts in it, whose rows replace ours, and one over another `road`
    (a file) that ends before it. `moved_at` (monotonic) is when the machine last answered.
    """

    device_id: str
    account_id: int
    zone: ZoneInfo
    secret: str
    candidates: Sequence[str]
    endpoint_url: str | None
    is_endpoint_fresh: bool
    is_doubtful: bool
    is_new: bool
    is_heard: bool
    is_direct_due: bool
    claim: Claim
    position: Position
    is_resetting: bool
    generation: int
    reached_ms: int | None
    plan: CheckPlan
    since: str | None = None
    window: tuple[int, int] | None = None
    road: "Road | None" = None
    job_id: str | None = None
    progress: Progress = field(default_factory=Progress)
    is_lost: bool = False
    is_unstorable: bool = False
    moved_at: float = field(default_factory=monotonic)

    @property
    def key(self) -> tuple[str, int]:
        """Tells it from another pull of the same device: deleted, paired again and claimed anew meanwhile."""
        return self.device_id, self.claim.attempt

    @property
    def must_stop(self) -> bool:
        """Whether nothing more of it is stored."""
        return self.is_lost or self.is_unstorable

    @property
    def is_hurried(self) -> bool:
        """Whether its first answer must not be waited for long: there is another road, or a person waits."""
        return self.is_heard or self.job_id is not None

    @property
    def keeps_position(self) -> bool:
        """Whether it reads beside the position, which then stays."""
        return self.since is not None or self.window is not None


def load_targets(
    claims: Sequence[Claim],
    *,
    since: str | None = None,
    window: tuple[int, int] | None = None,
    road: "Road | None" = None,
    job_id: str | None = None,
) -> list[Target]:
    """The claimed devices that are still paired, ready to be pulled."""
    by_id = {claim.device_id: claim for claim in claims}
    found: Sequence[Any] = db.session.execute(LOADED.where(Device.id.in_(by_id))).all()
    secrets = devices.find_secrets(by_id)
    known = load_known({claim.device_id: claim.reached_ms for claim in claims})
    now = clock.utc_now()
    return [
        Target(
            device_id=device.id,
            account_id=device.account_id,
            zone=(zone := read_zone(device.timezone)),
            secret=secrets[device.id],
            candidates=devices.list_candidates(device),
            endpoint_url=device.endpoint_url,
            is_endpoint_fresh=_is_within(device.endpoint_proven_at, PROVEN_FRESH, now),
            is_doubtful=device.is_identity_doubtful,
            is_new=(is_untried := is_new(claim, device, now)),
            is_heard=is_untried or _is_within(device.last_seen_at, HEARD_LATELY, now),
            is_direct_due=is_direct_due(claim, device, now),
            claim=claim,
            position=Position(claim.cursor, claim.epoch, claim.last_sync_time),
            is_resetting=claim.is_resetting,
            generation=claim.generation,
            reached_ms=claim.reached_ms,
            plan=CheckPlan(zone, known[device.id]),
            since=since,
            window=window,
            road=road,
            job_id=job_id,
        )
        for device in found
        if device.id in secrets and (claim := by_id[device.id])
    ]


def is_new(claim: Claim, device: Any, now: datetime) -> bool:
    """Whether the machine was paired just now and nothing happened since: it is there, and will report in soon."""
    is_untried = device.last_seen_at is None and claim.last_pulled_at is None and claim.failures == 0
    return is_untried and _is_within(device.paired_at, HEARD_LATELY, now)


def is_direct_due(claim: Claim, device: Any, now: datetime) -> bool:
    """Whether the direct road is worth a try again: by its time, or because the machine was found or paired since."""
    due_at = claim.direct_due_at
    if due_at is None or claim.direct_since_at is None:
        return True
    if due_at <= now or due_at > now + LONGEST_DIRECT_RETRY + clock.SKEW:
        return True
    news = (device.endpoint_proven_at, device.paired_at)
    return any(at is not None and at > claim.direct_since_at for at in news)


def _is_within(at: datetime | None, span: timedelta, now: datetime) -> bool:
    return at is not None and -clock.SKEW < now - at < span
