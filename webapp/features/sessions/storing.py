"""The one writer of a pull: pages and endings of many devices in one transaction, each guarded by its lease."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from webapp.database import transaction
from webapp.features.sessions.fetching import FetchedPage
from webapp.features.sessions.ingest import store_parsed
from webapp.features.sessions.leases import advance, next_due
from webapp.features.sessions.models import Pull, PullState
from webapp.features.sessions.targets import Progress, Target
from webapp.lib import clock

ROAD = "direct"
END_STATE = update(PullState.__table__).where(PullState.device_id == bindparam("of_device"))  # type: ignore[arg-type]
END_PULL = update(Pull.__table__).where(Pull.id == bindparam("of_pull"))  # type: ignore[arg-type]
NEW_PULL = insert(Pull.__table__)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Arrived:
    """A page of `target`, or with None the end of its pull."""

    target: Target
    page: FetchedPage | None


def store(arrived: Sequence[Arrived]) -> None:
    """One transaction: rows, positions, pulls. What a lost lease brought is left out, and its target told to stop."""
    with transaction() as session:
        for one in arrived:
            if one.page is not None and not one.target.is_lost:
                store_page(session, one.target, one.page)
        finish(session, [one.target for one in arrived if one.page is None and not one.target.is_lost])


def store_page(session: Session, target: Target, page: FetchedPage) -> None:
    """The rows of one page and where the device stands after it."""
    progress, parsed = target.progress, page.parsed
    progress.pages += 1
    progress.rows += len(parsed.rows) + len(parsed.rejected)
    if not parsed.rows and not parsed.rejected and page.position == target.position and not target.is_resetting:
        return
    target.is_lost = not advance(session, target.claim, list_position(target, page))
    if target.is_lost or not (parsed.rows or parsed.rejected):
        return
    if progress.pull_id is None:
        progress.pull_id = begin_pull(session, target)
    progress.changed_rows += store_parsed(
        session,
        parsed,
        device_id=target.device_id,
        account_id=target.account_id,
        zone=target.zone,
        pull_id=progress.pull_id,
        is_reset=page.is_reset,
    )


def list_position(target: Target, page: FetchedPage) -> dict[str, Any]:
    """The position to write. A pull of what changed since some time leaves it as it is."""
    if target.since is not None:
        return {}
    target.position, target.is_resetting = page.position, page.is_reset and page.has_more
    return {
        "cursor": page.position.cursor,
        "epoch": page.position.epoch,
        "last_sync_time": page.position.since,
        "is_resetting": target.is_resetting,
    }


def begin_pull(session: Session, target: Target) -> int:
    """The row of a pull that brings something, so that its sessions can name it."""
    pull = Pull(device_id=target.device_id, job_id=target.job_id, road=ROAD, started_at=target.progress.started_at)
    session.add(pull)
    session.flush()
    return pull.id


def finish(session: Session, targets: Sequence[Target]) -> None:
    """Ends pulls: their rows, and when each device is due again. A batch of endings costs four statements."""
    now = clock.utc_now()
    for target in targets:
        refuse_standstill(target.progress)
        target.progress.milliseconds = int((monotonic() - target.progress.started) * 1000)
    held = find_held(session, targets)
    known = [target for target in held if target.progress.pull_id is not None]
    new = [target for target in held if target.progress.pull_id is None]
    connection = session.connection()
    if held:
        connection.execute(END_STATE, [describe_state(target, now) for target in held])
    if known:
        connection.execute(END_PULL, [{"of_pull": t.progress.pull_id, **describe_pull(t, now)} for t in known])
    if new:
        connection.execute(NEW_PULL, [describe_pull(target, now) for target in new])


def refuse_standstill(progress: Progress) -> None:
    """A pull that stopped at its page limit and brought nothing new would otherwise begin again at once, for ever."""
    if progress.problem is None and progress.is_more and progress.changed_rows == 0:
        progress.problem = "bad_answer"
        progress.detail = f"It says that there is more, but {progress.pages} pages brought nothing new."


def find_held(session: Session, targets: Sequence[Target]) -> list[Target]:
    """The targets whose device is still there and whose lease is still theirs; the others are told to stop."""
    ids = [target.device_id for target in targets]
    wanted = select(PullState.device_id, PullState.attempt).where(PullState.device_id.in_(ids)).with_for_update()
    attempts = {row.device_id: row.attempt for row in session.execute(wanted)} if ids else {}
    for target in targets:
        target.is_lost = attempts.get(target.device_id) != target.claim.attempt
    return [target for target in targets if not target.is_lost]


def describe_state(target: Target, now: datetime) -> dict[str, Any]:
    """Where the device stands after its pull."""
    progress, held = target.progress, target.claim
    is_failed = progress.problem is not None
    failures = held.failures + 1 if is_failed else 0
    return {
        "of_device": target.device_id,
        "lease_expires_at": None,
        "due_at": next_due(failures, is_more=progress.is_more, now=now),
        "failures": failures,
        "last_pulled_at": held.last_pulled_at if is_failed else now,
        "problem": progress.problem,
        "problem_detail": progress.detail,
        "problem_since_at": (held.problem_since_at or now) if is_failed else None,
    }


def describe_pull(target: Target, now: datetime) -> dict[str, Any]:
    """The row of a pull that has ended."""
    progress = target.progress
    return {
        "device_id": target.device_id,
        "job_id": target.job_id,
        "road": ROAD,
        "status": "succeeded" if progress.problem is None else "failed",
        "started_at": progress.started_at,
        "finished_at": now,
        "pages": progress.pages,
        "rows": progress.rows,
        "changed_rows": progress.changed_rows,
        "milliseconds": progress.milliseconds,
        "problem": progress.problem,
        "error": progress.detail,
    }
