"""The one writer of a pull: pages and endings of many devices in one transaction, each guarded by its lease.

What the database refuses of one device ends the pull of that device, and of no other.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from collector import wire
from webapp.adapters.collector_client import CollectorError
from webapp.database import transaction
from webapp.features.sessions import covering, restarts
from webapp.features.sessions.covering import Failure, Findings
from webapp.features.sessions.fetching import FetchedPage
from webapp.features.sessions.ingest import store_parsed
from webapp.features.sessions.leases import FIRST_DIRECT_RETRY, LONGEST_DIRECT_RETRY, advance, next_due
from webapp.features.sessions.models import Pull, PullState
from webapp.features.sessions.roads import RELAYED
from webapp.features.sessions.targets import Position, Progress, Target
from webapp.lib import clock

log = logging.getLogger(__name__)

NOT_STORED = "The hub could not store what this machine sent. The worker's log has the details."
NOT_COMPARED = "The hub could not compare the days of this machine. The worker's log has the details."
OF_DEVICE = update(PullState.__table__).where(PullState.device_id == bindparam("of_device"))  # type: ignore[arg-type]
END_PULL = update(Pull.__table__).where(Pull.id == bindparam("of_pull"))  # type: ignore[arg-type]
NEW_PULL = insert(Pull.__table__)  # type: ignore[arg-type]
DIRECT_AGAIN = {
    "road": "direct",
    "direct_failures": 0,
    "direct_due_at": None,
    "direct_since_at": None,
    "direct_problem": None,
    "direct_detail": None,
}


@dataclass(frozen=True)
class Check:
    """What a device said of its days, or why it said nothing."""

    request: wire.CoverageRequest
    answer: wire.CoverageAnswer | None
    error: CollectorError | None
    is_last: bool


@dataclass(frozen=True)
class Arrived:
    """A page of `target`, or a check of its days; with neither the end of its pull. `weight` is about its rows."""

    target: Target
    page: FetchedPage | None = None
    check: Check | None = None
    weight: int = 0

    @property
    def is_end(self) -> bool:
        """Whether nothing more comes of this pull."""
        return self.page is None and self.check is None


def store(arrived: Sequence[Arrived], keep_leases: Callable[[], object] = lambda: None) -> None:
    """One transaction: rows, positions, pulls. What a lost lease brought is left out, and its target told to stop.

    With checks among it there are two, and the days are compared between them: that reads what came before, may take a
    second for each device, and must keep no other writer waiting.
    """
    compared: list[tuple[Target, Findings | Failure]] = []
    if any(one.check is not None for one in arrived):
        with transaction() as session:
            store_pages(session, arrived)
        for one in arrived:
            if one.check is not None and not one.target.must_stop:
                compared.append((one.target, compare(one.target, one.check)))
                keep_leases()
        arrived = [one for one in arrived if one.is_end]
    with transaction() as session:
        store_pages(session, arrived)
        for target, found in compared:
            store_findings(session, target, found)
        finish(session, [one.target for one in arrived if one.is_end and not one.target.is_lost])


def store_pages(session: Session, arrived: Sequence[Arrived]) -> None:
    """The pages among what arrived."""
    for one in arrived:
        if one.page is not None and not one.target.must_stop:
            store_page(session, one.target, one.page)


def store_page(session: Session, target: Target, page: FetchedPage) -> None:
    """The rows of one page and where the device stands after it."""
    progress, parsed = target.progress, page.parsed
    progress.pages += not page.is_part
    progress.rows += len(parsed.rows) + len(parsed.rejected)
    is_over = target.window is not None and not page.has_more and not page.is_part
    is_idle = not parsed.rows and not parsed.rejected and page.restart is None and not target.is_resetting
    if is_idle and page.position == target.position and not is_over:
        return
    pull_id = progress.pull_id
    try:
        with session.begin_nested():
            write_page(session, target, page, is_over=is_over)
    except OperationalError:  # the database itself
        raise
    except Exception:
        log.exception("device %s: a page could not be stored", target.device_id)
        target.is_unstorable, progress.pull_id = True, pull_id
        progress.problem, progress.detail = "error", NOT_STORED


def write_page(session: Session, target: Target, page: FetchedPage, *, is_over: bool) -> None:
    """The same, while the lease is still ours. `is_over`: it is the last page of a window."""
    target.is_lost = not advance(session, target.claim, list_position(target, page))
    if target.is_lost:
        return
    if page.restart is not None:
        restarts.begin(session, target.device_id, page.restart, target.generation)
    if page.parsed.rows or page.parsed.rejected:
        store_rows(session, target, page)
    if target.window is not None and is_over:
        restarts.flag_unseen(session, target.device_id, target.window, target.progress.seen_ids)
    if page.is_reset and not page.has_more and not page.is_part and target.window is None:
        restarts.end(session, target.device_id)


def store_rows(session: Session, target: Target, page: FetchedPage) -> None:
    """The sessions of a page. A file of another database than the present one fills up what only it has."""
    progress = target.progress
    if progress.pull_id is None:
        progress.pull_id = begin_pull(session, target)
    epoch = target.position.epoch
    is_foreign = target.road is not None and epoch is not None and page.position.epoch != epoch
    progress.changed_rows += store_parsed(
        session,
        page.parsed,
        device_id=target.device_id,
        account_id=target.account_id,
        zone=target.zone,
        pull_id=progress.pull_id,
        generation=target.generation - is_foreign,
        is_reset=page.is_reset,
    )


def compare(target: Target, check: Check) -> Findings | Failure:
    """What a check comes to. It only reads."""
    if check.error is not None:
        return Failure(check.error.problem, check.error.detail)
    assert check.answer is not None
    try:
        return covering.weigh(target.device_id, check.request, check.answer, is_last=check.is_last)
    except OperationalError:
        raise
    except Exception:
        log.exception("device %s: its days could not be compared", target.device_id)
        return Failure("error", NOT_COMPARED)


def store_findings(session: Session, target: Target, found: Findings | Failure) -> None:
    """What the ledger of days makes of a check, while the lease is still ours."""
    target.is_lost = not advance(session, target.claim, {})
    if target.is_lost:
        return
    if isinstance(found, Failure):
        covering.record_check_failure(session, target.device_id, found)
        return
    try:
        with session.begin_nested():
            covering.record_check(session, target.device_id, found)
    except OperationalError:
        raise
    except Exception:
        log.exception("device %s: what was found of its days could not be written", target.device_id)
        covering.record_check_failure(session, target.device_id, Failure("error", NOT_COMPARED))


def list_position(target: Target, page: FetchedPage) -> dict[str, Any]:
    """The position to write; nothing for a pull that leaves it as it is."""
    if target.keeps_position or (target.road is not None and not leads_on(target, page)):
        return {}
    begun: dict[str, Any] = {}
    if page.restart is not None:
        target.generation += 1
        begun["generation"] = target.generation
    if page.is_part and page.restart is None:
        return {}
    # Only the first part of a restart is here: whoever goes on from this asks for everything of that database again.
    target.position = Position(epoch=page.position.epoch) if page.is_part else page.position
    target.is_resetting = page.is_reset and (page.has_more or page.is_part)
    if page.reached_ms is not None and not page.is_part:
        target.reached_ms = begun["reached_ms"] = page.reached_ms
    return begun | {
        "cursor": target.position.cursor,
        "epoch": target.position.epoch,
        "last_sync_time": target.position.since,
        "is_resetting": target.is_resetting,
        "is_behind": page.has_more or page.is_part,
    }


def leads_on(target: Target, page: FetchedPage) -> bool:
    """Whether a page of a file goes further than what is here: of the same database, and changed later."""
    if target.position.epoch is None:
        return target.position.since is None
    is_later = page.reached_ms is not None and target.reached_ms is not None and page.reached_ms > target.reached_ms
    return is_later and page.position.epoch == target.position.epoch


def begin_pull(session: Session, target: Target) -> int:
    """The row of a pull that brings something, so that its sessions can name it."""
    road, started_at = target.progress.road, target.progress.started_at
    pull = Pull(device_id=target.device_id, job_id=target.job_id, road=road, started_at=started_at)
    session.add(pull)
    session.flush()
    return pull.id


def finish(session: Session, targets: Sequence[Target]) -> None:
    """Ends pulls: their rows, and when each device is due again. A batch of endings costs four statements.

    A file, or a window of days, says nothing of when the device was pulled last, of its problem or of when it is due.
    """
    now = clock.utc_now()
    for target in targets:
        refuse_standstill(target.progress)
        target.progress.milliseconds = int((monotonic() - target.progress.started) * 1000)
    held = find_held(session, targets)
    known = [target for target in held if target.progress.pull_id is not None]
    new = [target for target in held if target.progress.pull_id is None]
    connection = session.connection()
    ended = [target for target in held if target.road is None and target.window is None]
    if ended:
        connection.execute(OF_DEVICE, [describe_state(target, now) for target in ended])
    if len(ended) < len(held):
        others = [target for target in held if target not in ended]
        connection.execute(OF_DEVICE, [{"of_device": one.device_id, "lease_expires_at": None} for one in others])
    for target in held:
        if target.road is None and (turn := describe_turn(target, now)):
            connection.execute(OF_DEVICE, {"of_device": target.device_id, **turn})
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
        "is_behind": progress.is_more if progress.pages and not target.keeps_position else held.is_behind,
        "last_pulled_at": held.last_pulled_at if is_failed else now,
        "problem": progress.problem,
        "problem_detail": progress.detail,
        "problem_since_at": (held.problem_since_at or now) if is_failed else None,
    }


def describe_turn(target: Target, now: datetime) -> dict[str, Any]:
    """The road that the device is on from now on, and when the direct one is tried again; empty if nothing changes."""
    progress, held = target.progress, target.claim
    if progress.road == "direct":
        is_back = held.road != "direct" and progress.problem not in RELAYED
        return DIRECT_AGAIN if is_back else {}
    if progress.direct_problem is None:
        return {}
    wait = min(LONGEST_DIRECT_RETRY, FIRST_DIRECT_RETRY * 2 ** min(held.direct_failures, 10))
    return {
        "road": progress.road,
        "direct_failures": held.direct_failures + 1,
        "direct_due_at": now + wait,
        "direct_since_at": held.direct_since_at or now,
        "direct_problem": progress.direct_problem,
        "direct_detail": progress.direct_detail,
    }


def describe_pull(target: Target, now: datetime) -> dict[str, Any]:
    """The row of a pull that has ended."""
    progress = target.progress
    return {
        "device_id": target.device_id,
        "job_id": target.job_id,
        "road": progress.road,
        "direct_detail": (progress.direct_detail or target.claim.direct_detail) if progress.road == "relay" else None,
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
