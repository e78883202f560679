"""What could not be accepted is kept, bounded, tried again when asked, dismissed for good."""

import msgspec
import pytest
from sqlalchemy import select

import webapp
from collector import wire
from tests.collectors import START_MS, Json, make_session
from tests.devices import factory
from webapp.database import transaction
from webapp.errors import Conflict, NotFound, Unreadable
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.sessions import quarantine, retrying
from webapp.features.sessions import service as sessions
from webapp.features.sessions.models import PullState, QuarantinedSession, StoredSession
from webapp.features.sessions.parsing import reject
from webapp.features.sessions.stale_days import list_stale
from webapp.lib import clock

CHANGED_MS = START_MS + 5_000


@pytest.fixture
def device_id(owner: Account) -> str:
    return factory.pair(owner.id).device_id


def raw(number: int, **changes: object) -> bytes:
    told: Json = make_session(number, changedAt=wire.format_ms(CHANGED_MS + number))
    return msgspec.json.encode(told | changes)


def put_aside(device_id: str, *records: bytes, reason: str = "It was refused once.") -> None:
    """Quarantines the records as an earlier version of the hub did, whatever they are."""
    with transaction() as session:
        quarantine.quarantine(session, device_id, [reject(record, reason) for record in records], None)


def list_rows() -> list[QuarantinedSession]:
    db.session.rollback()
    return list(db.session.scalars(select(QuarantinedSession).order_by(QuarantinedSession.id)))


def test_times_are_read_also_from_what_is_no_json(device_id: str) -> None:
    put_aside(device_id, raw(1), raw(2)[:-30], b'{"id":"\\ud800"}', raw(4, sessionStartTime="yesterday"))
    whole, cut, unreadable, wrong = list_rows()
    for row, number in ((whole, 1), (cut, 2)):
        started_ms = wire.parse_ms(make_session(number)["sessionStartTime"])
        assert (row.started_ms, row.is_whole) == (started_ms, True)
    assert whole.changed_ms == CHANGED_MS + 1
    assert (unreadable.changed_ms, unreadable.started_ms) == (None, None)
    assert (wrong.changed_ms, wrong.started_ms) == (CHANGED_MS + 4, None)


@pytest.mark.parametrize("record", [b'{"id":"x","note":"' + b"y" * 70_000 + b'"}', b'{"id":"\xff"}', b'{"id":"\0"}'])
def test_a_text_that_was_cut_or_mended_is_not_whole_and_cannot_be_tried(
    owner: Account, device_id: str, record: bytes
) -> None:
    put_aside(device_id, record)
    (row,) = list_rows()
    assert not row.is_whole
    with pytest.raises(Conflict):
        sessions.retry_quarantined(owner.id, device_id, row.id)


def test_a_full_quarantine_keeps_no_more_texts_and_goes_on_counting(
    owner: Account, device_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "KEEP_PER_DEVICE", 3)
    monkeypatch.setattr(quarantine, "COUNT_PER_DEVICE", 7)
    put_aside(device_id, *(raw(number) for number in range(5)))
    put_aside(device_id, *(raw(number) for number in range(4, 20)))
    rows = list_rows()
    assert [bool(row.record) for row in rows] == [True] * 3 + [False] * 4
    assert [row.is_whole for row in rows] == [True] * 3 + [False] * 4
    assert all(row.started_ms and row.reason for row in rows)
    assert quarantine.count_quarantined(owner.id) == {device_id: 7}


def test_what_is_acceptable_now_is_stored_under_the_present_generation(owner: Account, device_id: str) -> None:
    with transaction() as session:
        session.add(PullState(device_id=device_id, due_at=clock.utc_now(), generation=2))
    put_aside(device_id, raw(1))
    (row,) = list_rows()
    assert sessions.retry_quarantined(owner.id, device_id, row.id) == sessions.Outcome(tried=1, accepted=1)
    assert list_rows() == []
    (stored,) = db.session.scalars(select(StoredSession))
    assert (stored.changed_ms, stored.generation, stored.account_id) == (CHANGED_MS + 1, 2, owner.id)
    assert list_stale(owner.id, 9), "its day has to be counted"


def test_what_is_still_not_acceptable_stays_with_todays_reason(owner: Account, device_id: str) -> None:
    put_aside(device_id, raw(1, linesAdded="three"))
    (row,) = list_rows()
    assert sessions.retry_quarantined(owner.id, device_id, row.id) == sessions.Outcome(tried=1, accepted=0)
    assert "$.linesAdded" in list_rows()[0].reason
    assert db.session.scalars(select(StoredSession)).all() == []


def test_an_old_version_replaces_no_newer_one_and_leaves(owner: Account, device_id: str) -> None:
    put_aside(device_id, raw(1, projectName="newer", changedAt=wire.format_ms(CHANGED_MS + 99)))
    sessions.retry_all_quarantined(owner.id, device_id)
    put_aside(device_id, raw(1, projectName="older"))
    assert sessions.retry_all_quarantined(owner.id, device_id).accepted == 1
    assert [row.project for row in db.session.scalars(select(StoredSession))] == ["newer"]
    assert list_rows() == []


def test_all_are_tried_in_batches(owner: Account, device_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "BATCH", 4)
    put_aside(device_id, *(raw(number, **({"linesAdded": -1} if number % 3 == 0 else {})) for number in range(12)))
    assert sessions.retry_all_quarantined(owner.id, device_id) == sessions.Outcome(tried=12, accepted=8)
    assert len(list_rows()) == 4 and len(db.session.scalars(select(StoredSession)).all()) == 8


def test_dismissed_bytes_do_not_come_back_and_another_version_does(owner: Account, device_id: str) -> None:
    bad = raw(1, linesAdded="three")
    put_aside(device_id, bad)
    sessions.dismiss_quarantined(owner.id, device_id, list_rows()[0].id)
    put_aside(device_id, bad)
    assert quarantine.count_quarantined(owner.id) == {}
    (row,) = list_rows()
    assert (row.record, row.dismissed_at is not None) == ("", True)
    for decide in (sessions.retry_quarantined, sessions.dismiss_quarantined):
        with pytest.raises(NotFound):
            decide(owner.id, device_id, row.id)
    put_aside(device_id, raw(1, linesAdded="four"))
    assert quarantine.count_quarantined(owner.id) == {device_id: 1}


def test_dismissed_ones_take_no_room_from_the_texts_of_others(
    owner: Account, device_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "KEEP_PER_DEVICE", 2)
    put_aside(device_id, raw(1), raw(2))
    for row in list_rows():
        sessions.dismiss_quarantined(owner.id, device_id, row.id)
    put_aside(device_id, raw(3), raw(4), raw(5))
    assert [bool(row.record) for row in list_rows()] == [False, False, True, True, False]


def test_another_version_of_the_hub_tries_each_once(
    owner: Account, device_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_aside(device_id, raw(1), raw(2, linesAdded="three"))
    assert retrying.retry_after_update() == 0
    monkeypatch.setattr(webapp, "__version__", "9.9.9")
    assert retrying.retry_after_update() == 1
    assert [row.judged_by for row in list_rows()] == ["9.9.9"]

    def refuse(*_: object) -> None:
        raise AssertionError("tried twice")

    monkeypatch.setattr(retrying, "_retry", refuse)
    assert retrying.retry_after_update() == 0


def test_nobody_else_sees_or_decides(owner: Account, stranger: Account, device_id: str) -> None:
    put_aside(device_id, raw(1))
    (row,) = list_rows()
    assert sessions.list_quarantined(stranger.id, device_id).items == []
    for decide in (sessions.retry_quarantined, sessions.dismiss_quarantined):
        with pytest.raises(NotFound):
            decide(stranger.id, device_id, row.id)
    assert sessions.retry_all_quarantined(stranger.id, device_id).tried == 0
    assert len(list_rows()) == 1


def test_pages_follow_each_other_and_a_cursor_fits_only_its_list(owner: Account, device_id: str) -> None:
    put_aside(device_id, *(raw(number) for number in range(5)))
    first = sessions.list_quarantined(owner.id, device_id, limit=3)
    rest = sessions.list_quarantined(owner.id, device_id, limit=3, cursor=first.next_cursor)
    assert [row.id for row in (*first.items, *rest.items)] == sorted((row.id for row in list_rows()), reverse=True)
    assert rest.next_cursor is None
    other = factory.pair(owner.id).device_id
    with pytest.raises(Unreadable):
        sessions.list_quarantined(owner.id, other, cursor=first.next_cursor)


def test_a_good_version_takes_all_bad_ones_along(device_id: str, owner: Account) -> None:
    put_aside(device_id, raw(1, linesAdded="three"), raw(1, linesAdded="four"))
    with transaction() as session:
        quarantine.clear(session, device_id, {make_session(1)["id"]})
    assert list_rows() == []
