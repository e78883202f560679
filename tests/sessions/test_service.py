"""Lists, single sessions, freshness and the push road, always for one account only."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from flask import Flask

from collector import wire
from tests.collectors import START_MS, Json, make_plain_session, make_session
from tests.devices import factory
from webapp.database import transaction
from webapp.errors import Invalid, NotFound, Unreadable
from webapp.features.accounts.models import Account
from webapp.features.sessions import quarantine, recounting, timeline
from webapp.features.sessions import service as sessions
from webapp.features.sessions.ingest import store_parsed
from webapp.features.sessions.models import Pull, StoredSession
from webapp.features.sessions.parsing import parse_page, reject
from webapp.lib import clock

UTC_ZONE = ZoneInfo("UTC")
Store = Callable[..., str]


@pytest.fixture
def store(app: Flask) -> Store:
    """Stores sessions as a pull does, on a machine of the account: `device_id = store(owner, make_session(1))`."""

    def make(account: Account, *told: Json, device_id: str | None = None) -> str:
        device_id = device_id or factory.pair(account.id).device_id
        parsed = parse_page([msgspec.json.encode(one) for one in told], wire.now_ms())
        assert not parsed.rejected
        with transaction() as session:
            store_parsed(session, parsed, device_id=device_id, account_id=account.id, zone=UTC_ZONE, pull_id=None)
        return device_id

    return make


def list_all(account: Account, limit: int = 7, **filters) -> list[StoredSession]:
    """Every page, one after the other."""
    found: list[StoredSession] = []
    cursor = None
    while True:
        page = sessions.list_sessions(account.id, limit=limit, cursor=cursor, **filters)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def test_pages_hold_every_session_once_newest_first(store: Store, owner: Account) -> None:
    tied = [make_session(number, start_ms=START_MS) for number in range(20)]
    store(owner, *tied, *(make_session(number) for number in range(20, 40)))
    store(owner, *tied)
    found = list_all(owner)
    assert len({(row.device_id, row.id) for row in found}) == len(found) == 60
    assert [row.started_ms for row in found] == sorted((row.started_ms for row in found), reverse=True)


def test_filters(store: Store, owner: Account) -> None:
    first = store(owner, make_session(1), make_session(2, projectName="", language="Rust"))
    second = store(owner, make_session(3))
    assert len(list_all(owner, device_id=first)) == 2
    assert [row.device_id for row in list_all(owner, device_id=second)] == [second]
    assert [row.language for row in list_all(owner, project="")] == ["Rust"]
    assert len(list_all(owner, language="Python", project="tide")) == 2
    start = START_MS + 2 * 15 * 60_000
    assert [row.started_ms for row in list_all(owner, from_ms=start, to_ms=start + 1)] == [start]


def test_cursor_of_another_query_is_refused(store: Store, owner: Account) -> None:
    store(owner, *(make_session(number) for number in range(5)))
    cursor = sessions.list_sessions(owner.id, limit=2).next_cursor
    with pytest.raises(Unreadable):
        sessions.list_sessions(owner.id, limit=2, project="tide", cursor=cursor)


def test_stranger_sees_nothing(store: Store, owner: Account, stranger: Account) -> None:
    device_id = store(owner, make_session(1))
    with transaction() as session:
        session.add(Pull(device_id=device_id, started_at=clock.utc_now()))
    (pull,) = sessions.list_pulls(owner.id, device_id)
    assert list_all(stranger) == list_all(stranger, device_id=device_id) == []
    assert (sessions.list_pulls(stranger.id, device_id), sessions.find_pull(stranger.id, pull.id)) == ([], None)
    assert sessions.freshness(stranger.id) == []
    assert quarantine.list_quarantined(stranger.id, device_id).items == []
    assert timeline.read_day(stranger.id, datetime.fromtimestamp(START_MS / 1000, UTC).date(), UTC_ZONE).lanes == []
    with pytest.raises(NotFound):
        sessions.get_session(stranger.id, device_id, make_session(1)["id"])
    assert sessions.get_session(owner.id, device_id, make_session(1)["id"]).project == "tide"


def test_deleted_session_is_not_there(store: Store, owner: Account) -> None:
    device_id = store(owner, make_session(1))
    store(owner, make_session(1, deleted=True), device_id=device_id)
    assert list_all(owner) == []
    with pytest.raises(NotFound):
        sessions.get_session(owner.id, device_id, make_session(1)["id"])


def test_record_is_read_as_its_device_told_it(store: Store, owner: Account) -> None:
    device_id = store(owner, make_session(1, branch="exact-cursor"))
    row = sessions.get_session(owner.id, device_id, make_session(1)["id"])
    assert (sessions.read_record(row).branch, row.kind) == ("exact-cursor", "human")


def test_freshness_tells_of_every_machine(store: Store, owner: Account) -> None:
    device_id = store(owner, make_session(1))
    with transaction() as session:
        quarantine.quarantine(session, device_id, [reject(b"{}", "no id")], None)
        quarantine.quarantine(session, device_id, [reject(b"{}", "no id")], None)
    assert quarantine.count_quarantined(owner.id) == {device_id: 1}
    (fresh,) = sessions.freshness(owner.id)
    assert (fresh.device.id, fresh.state.word, fresh.last_pulled_at) == (device_id, "New", None)


def test_older_version_replaces_nothing(app: Flask, owner: Account) -> None:
    device_id = factory.pair(owner.id).device_id
    counts = []
    for changed, project in ((5, "new"), (4, "old"), (5, "same"), (6, "newest")):
        told = make_session(1, projectName=project, changedAt=wire.format_ms(START_MS + changed))
        with transaction() as session:
            parsed = parse_page([msgspec.json.encode(told)], wire.now_ms())
            counts.append(
                store_parsed(session, parsed, device_id=device_id, account_id=owner.id, zone=UTC_ZONE, pull_id=None)
            )
    assert counts == [1, 0, 0, 1]
    assert [row.project for row in list_all(owner)] == ["newest"]


def push(account: Account, told: Json, editor: str = "vscode") -> StoredSession:
    raw = msgspec.json.encode(told)
    decoded = msgspec.json.decode(raw, type=wire.FileSession)
    return sessions.store_pushed_session(account.id, decoded, raw, editor, "linux")


def test_pushed_session_grows_under_a_device_of_its_editor(owner: Account, stranger: Account) -> None:
    first = push(owner, make_plain_session(1) | {"totalDuration": 60})
    device_id = first.device_id
    again = push(owner, make_plain_session(1) | {"totalDuration": 120})
    assert (again.device_id, again.duration_seconds) == (device_id, 120)
    assert push(owner, make_plain_session(1), editor="cursor").device_id != device_id
    assert push(stranger, make_plain_session(1)).device_id != device_id
    recounting.refresh_stale_days()
    assert {fresh.state.word for fresh in sessions.freshness(owner.id)} == {"Sends itself"}


def test_pushed_nonsense_is_refused(owner: Account) -> None:
    with pytest.raises(Invalid, match="before sessionStartTime"):
        push(owner, make_plain_session(1) | {"sessionEndTime": "2001-01-01T00:00:00Z"})


def test_day_has_lanes_of_blocks_that_do_not_overlap(store: Store, owner: Account) -> None:
    long = make_session(1, start_ms=START_MS, minutes=60, sources=["filesystem"])
    short = make_session(2, start_ms=START_MS + 600_000, minutes=10, sources=["native"], projectName="harbour")
    agent = make_session(3, start_ms=START_MS, minutes=30, sources=["agent"])
    device_id = store(owner, long, short, agent)
    day = datetime.fromtimestamp(START_MS / 1000, UTC).date()
    drawn = timeline.read_day(owner.id, day, UTC_ZONE)
    (lane,) = drawn.lanes
    assert lane.device.id == device_id
    people = [(block.start_ms - START_MS, block.end_ms - START_MS, block.project) for block in lane.blocks[1:]]
    assert (lane.blocks[0].kind, lane.blocks[0].end_ms - START_MS) == ("agent", 1_800_000)
    assert people == [(0, 600_000, "tide"), (600_000, 1_200_000, "harbour"), (1_200_000, 3_600_000, "tide")]
    assert drawn.total_ms == 3_600_000
    only = timeline.read_day(owner.id, day, UTC_ZONE, project="harbour", language="Python")
    assert (only.total_ms, len(only.lanes[0].blocks)) == (600_000, 1)
    assert timeline.read_day(owner.id, day + timedelta(days=1), UTC_ZONE).lanes == []
