"""The first page's figures, machines, notices and first steps."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import update

from collector import wire
from tests.collectors import make_session
from tests.devices import factory
from webapp.database import transaction
from webapp.errors import NotFound
from webapp.features.accounts.models import Account
from webapp.features.accounts.service import set_timezone
from webapp.features.devices.models import Device
from webapp.features.jobs import service as jobs
from webapp.features.overview import service as overview
from webapp.features.sessions import quarantine, recounting
from webapp.features.sessions import service as sessions
from webapp.features.sessions.ingest import store_parsed
from webapp.features.sessions.models import CoveredDay, PullState
from webapp.features.sessions.parsing import parse_page, reject
from webapp.lib import clock

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)  # a Wednesday
ZONE = "Europe/Berlin"


def store(account: Account, device_id: str, *hours_ago: float, **changes) -> None:
    """Ten minutes of work each, that long before NOW."""
    told = []
    for number, hours in enumerate(hours_ago):
        session_id = f"{device_id}-{number}-{hours}-{sorted(changes)}"[-64:]
        start = wire.to_ms(NOW - timedelta(hours=hours))
        told.append(msgspec.json.encode(make_session(number, start_ms=start, id=session_id, **changes)))
    with transaction() as session:
        store_parsed(
            session,
            parse_page(told, wire.to_ms(NOW)),
            device_id=device_id,
            account_id=account.id,
            zone=ZoneInfo(ZONE),
            pull_id=None,
        )
    recounting.refresh_stale_days(account.id)


@pytest.fixture
def machine(owner: Account) -> str:
    """A paired machine of the owner, who lives in Berlin."""
    set_timezone(owner.id, ZONE)
    return factory.pair(owner.id, name="studio").device_id


def test_figures_of_today_and_this_week(owner: Account, machine: str) -> None:
    store(owner, machine, 1, 2, 12.5, 13.5, 60.5, 61.5, 400)
    store(owner, machine, 1, sources=["agent"])
    seen = overview.read_overview(owner.id, now=NOW)
    # Berlin is an hour ahead: its midnight was 13 hours ago, Monday began 61 hours ago
    assert (seen.today_ms, seen.week_ms, seen.agent_today_ms) == (3 * 600_000, 5 * 600_000, 600_000)
    assert seen.totals.total_ms == 7 * 600_000
    assert (len(seen.totals.days), seen.totals.days[-1].day.isoformat()) == (30, "2026-03-04")
    assert overview.read_overview(owner.id, days=7, now=NOW).totals.total_ms == 6 * 600_000
    assert overview.read_overview(owner.id, days=1, now=NOW).week_ms == 5 * 600_000


def test_time_on_two_machines_at_once_counts_once(owner: Account, machine: str) -> None:
    other = factory.pair(owner.id, name="thinkpad").device_id
    store(owner, machine, 1, 2)
    store(owner, other, 1)
    seen = overview.read_overview(owner.id, now=NOW)
    assert seen.today_ms == 2 * 600_000
    assert [(m.device.name, m.today_ms) for m in seen.machines] == [("studio", 1_200_000), ("thinkpad", 600_000)]
    assert overview.read_overview(owner.id, device_id=other, now=NOW).today_ms == 600_000


def test_machine_of_somebody_else_is_not_found(owner: Account, stranger: Account, machine: str) -> None:
    with pytest.raises(NotFound):
        overview.read_overview(stranger.id, device_id=machine)
    assert overview.list_machines(stranger.id) == []


def test_first_steps_tick_one_after_the_other(owner: Account) -> None:
    steps = overview.read_overview(owner.id).steps
    assert steps is not None
    assert (steps.has_device, steps.has_editor, steps.has_session) == (False, False, False)
    machine = factory.pair(owner.id).device_id
    steps = overview.read_overview(owner.id).steps
    assert steps is not None
    assert (steps.has_device, steps.has_editor) == (True, False)
    with transaction() as session:
        told = {"sources": {"wakatime": {"lastHeartbeatAt": "2026-03-04T11:59:00Z"}}}
        session.execute(update(Device).values(reported_status=told))
    steps = overview.read_overview(owner.id).steps
    assert steps is not None
    assert steps.has_editor
    store(owner, machine, 1)
    assert overview.read_overview(owner.id, now=NOW).steps is None


def test_notices_say_what_to_do_and_where(owner: Account, machine: str) -> None:
    jobs.beat("worker-1", "worker")
    now = clock.utc_now()
    with transaction() as session:
        session.add(PullState(device_id=machine, due_at=now, last_pulled_at=now))
    assert overview.read_overview(owner.id).needs_you == []
    for problem, url in (("refused", "/pairing"), ("bad_answer", f"/devices/{machine}")):
        with transaction() as session:
            session.execute(update(PullState).values(problem=problem, problem_since_at=now, problem_detail="Bad."))
        (notice,) = overview.read_overview(owner.id).needs_you
        assert (notice.url, notice.sentence.startswith("studio: ")) == (url, True)


def test_quarantine_and_old_holes_are_notices(owner: Account, machine: str) -> None:
    jobs.beat("worker-1", "worker")
    now = clock.utc_now()
    with transaction() as session:
        session.add(PullState(device_id=machine, due_at=now, last_pulled_at=now))
        for days, status, hours in ((1, "hole", 30), (2, "hole", 90), (3, "hole", 2), (4, "complete", 90)):
            day, since = (now - timedelta(days=days)).date(), now - timedelta(hours=hours)
            session.add(CoveredDay(device_id=machine, day=day, status=status, hole_since_at=since, checked_at=now))
    (notice,) = overview.read_overview(owner.id).needs_you
    assert (notice.sentence[:34], notice.url) == ("studio: 2 days lack sessions for l", f"/devices/{machine}/coverage")
    with transaction() as session:
        quarantine.quarantine(session, machine, [reject(b"{}", "Bad.")], None)
    first, second = overview.read_overview(owner.id).needs_you
    assert (first.url, first.action, second) == (f"/devices/{machine}/quarantine", "Decide", notice)


def test_laptop_that_is_off_needs_nobody(owner: Account, machine: str) -> None:
    jobs.beat("worker-1", "worker")
    now = clock.utc_now()
    with transaction() as session:
        session.add(
            PullState(device_id=machine, due_at=now, last_pulled_at=now - timedelta(hours=9), problem="timeout")
        )
    seen = overview.read_overview(owner.id)
    assert (seen.machines[0].state.level, seen.needs_you) == ("off", [])


def test_missing_worker_is_a_notice(owner: Account, machine: str) -> None:
    assert overview.read_overview(owner.id).needs_you[0].sentence.startswith("No worker is running")


def test_unfinished_jobs_are_shown(owner: Account, machine: str) -> None:
    job = sessions.request_pull(owner.id, machine)
    assert [shown.id for shown in overview.read_overview(owner.id).jobs] == [job.id]
