"""Rounds of pulls: the routine one over everything that is due, and the one that somebody asked for."""

import time
from collections.abc import Sequence

from sqlalchemy import exists, select

from webapp.errors import MusterError
from webapp.extensions import db
from webapp.features.devices.models import Device
from webapp.features.jobs.running import Run
from webapp.features.sessions import leases
from webapp.features.sessions.models import PullState, StaleDay
from webapp.features.sessions.pulling import pull_targets
from webapp.features.sessions.roads import Collectors, Road
from webapp.features.sessions.targets import Progress, Target, load_targets
from webapp.lib import clock

BATCH = 500
TAKE_MORE_SECONDS = 300.0
TAKE_RELIABLE_SECONDS = 330.0
LAST_MOMENT_SECONDS = 600.0
"""A round ends soon after TAKE_MORE_SECONDS, or it stays until the last silent machine has had its time. Meanwhile it
goes on with machines that do not keep it waiting, so that no other machine waits for its end. Long, because the others
do wait for it: where thousands are pulled some pull is always on its way, and a round has no end by itself."""
LEASE_WAIT_SECONDS = 45.0
LEASE_LOOK_SECONDS = 0.1


class PullFailed(MusterError):
    """Nothing could be pulled; the sentence says why."""

    code = "pull_failed"


def has_due() -> bool:
    """Whether any device is due."""
    return bool(leases.find_due(1))


def pull_due(client: Collectors) -> int:
    """Pulls what is due, and what comes due meanwhile, so that a slow machine delays no other; how many devices."""
    first = claim_due(BATCH)
    began = time.monotonic()

    def take_more(load: int, is_held_up: bool) -> Sequence[Target]:
        age = time.monotonic() - began
        if age >= TAKE_MORE_SECONDS and (not is_held_up or age >= LAST_MOMENT_SECONDS):
            return ()
        is_reliable, is_direct = age >= TAKE_MORE_SECONDS, age >= TAKE_RELIABLE_SECONDS
        return claim_due(BATCH - load, is_reliable=is_reliable, is_direct=is_direct)

    return len(pull_targets(first, client, refill=take_more)) if first else 0


def claim_due(limit: int, *, is_reliable: bool = False, is_direct: bool = False) -> list[Target]:
    """Up to `limit` due devices, claimed for this process."""
    if limit <= 0:
        return []
    return ready(leases.claim(leases.find_due(limit, is_reliable=is_reliable, is_direct=is_direct)))


def ready(
    claims: Sequence[leases.Claim],
    *,
    since: str | None = None,
    window: tuple[int, int] | None = None,
    road: Road | None = None,
    job_id: str | None = None,
) -> list[Target]:
    """The targets of `claims`; a device that was unpaired a moment ago is given back."""
    targets = load_targets(claims, since=since, window=window, road=road, job_id=job_id)
    found = {target.device_id for target in targets}
    if len(found) < len(claims):
        leases.release([one for one in claims if one.device_id not in found], "The machine was unpaired.")
    return targets


def pull_asked(
    run: Run, client: Collectors, *, window: tuple[int, int] | None = None, road: Road | None = None
) -> None:
    """Pulls the device of a job, or all devices of its account. PullFailed if none could be pulled.

    With `window` (`(from_ms, to_ms)`) what starts in it, whatever is known; with `road` (a file) over that.
    """
    run.report(phase="Connecting")
    claims = wait_for_leases(run, list_asked(run))
    targets = ready(claims, since=run.args.get("since"), window=window, road=road, job_id=str(run.job_id))
    try:
        done = pull_targets(targets, client, watch=lambda target: tell(run, target, targets))
    except BaseException:
        leases.release([target.claim for target in targets], "It was stopped before its end.")
        raise
    run.result(sum_up(done))
    problems = [progress.detail for progress in done if progress.problem is not None]
    if not done or len(problems) == len(done):
        raise PullFailed(problems[0] if problems and problems[0] else "There is no paired machine to pull from.")


def tell(run: Run, target: Target, targets: Sequence[Target]) -> None:
    """How far an asked pull is: the rows of all its devices."""
    rows = sum(one.progress.rows for one in targets)
    phase = f"Stored page {target.progress.pages}" if len(targets) == 1 and target.progress.pages > 1 else None
    run.report(phase=phase, progress=rows)


def sum_up(done: Sequence[Progress]) -> dict[str, object]:
    """What a finished job shows."""
    return {
        "devices": len(done),
        "pages": sum(progress.pages for progress in done),
        "rows": sum(progress.rows for progress in done),
        "changed_rows": sum(progress.changed_rows for progress in done),
        "problems": [progress.detail for progress in done if progress.problem is not None],
    }


def list_asked(run: Run) -> list[str]:
    """The paired devices that the job is about."""
    wanted = select(Device.id).where(leases.PAIRED, Device.account_id == run.account_id)
    if run.device_id is not None:
        wanted = wanted.where(Device.id == run.device_id)
    return list(db.session.scalars(wanted))


def wait_for_leases(run: Run, device_ids: Sequence[str]) -> list[leases.Claim]:
    """The leases of the devices, waiting for those that are just being pulled. PullFailed when one takes too long."""
    claims: list[leases.Claim] = []
    until = time.monotonic() + LEASE_WAIT_SECONDS
    while True:
        held = {one.device_id for one in claims}
        claims += leases.claim([device_id for device_id in device_ids if device_id not in held])
        if len(claims) == len(device_ids) or (claims and run.device_id is None):
            return claims
        if time.monotonic() > until:
            raise PullFailed("This machine is being pulled already, and that takes long. Try again in a minute.")
        run.check_cancelled()
        time.sleep(LEASE_LOOK_SECONDS)


def list_forgotten_accounts() -> list[int]:
    """The accounts with stale days of which no device is being pulled: whoever made them stale will not count them."""
    pulled = exists().where(
        Device.id == PullState.device_id,
        Device.account_id == StaleDay.account_id,
        PullState.lease_expires_at > clock.utc_now(),
    )
    return list(db.session.scalars(select(StaleDay.account_id).distinct().where(~pulled)))
