"""Relayed calls: asked in one process, listed by the device's poll, answered once, dropped, pruned."""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event

from tests.devices.factory import add_device, link_from_before
from webapp.database import transaction
from webapp.errors import Conflict, NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import relay, seen
from webapp.features.devices import service as devices
from webapp.features.devices.live_links import read_live_links
from webapp.features.devices.models import Device, RelayedCall
from webapp.lib import clock

OP = "sessions.export"


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> seen.Memory:
    fresh = seen.Memory()
    monkeypatch.setattr(seen, "memory", fresh)
    return fresh


def ask(*device_ids: str, seconds: float = 30.0, limit: int = 100) -> list[uuid.UUID | None]:
    """Posts a call for each device."""
    expires_at = clock.utc_now() + timedelta(seconds=seconds)
    with transaction() as session:
        calls = [(device_id, OP, {"limit": limit}, expires_at) for device_id in device_ids]
        return devices.add_calls(session, calls)


def ask_one(device_id: str, **given: float) -> uuid.UUID:
    (call_id,) = ask(device_id, **given)  # type: ignore[arg-type]
    assert call_id is not None
    return call_id


def drop(*ids: uuid.UUID) -> int:
    with transaction() as session:
        return devices.drop_calls(session, ids)


def count_calls() -> int:
    db.session.rollback()
    return db.session.query(RelayedCall).count()


def test_call_goes_to_its_device_and_its_answer_comes_back(owner: Account) -> None:
    device, other = add_device(owner.id).id, add_device(owner.id).id
    call_id, foreign = ask_one(device, limit=7), ask_one(other)
    (waiting,) = devices.list_waiting(device)
    assert (waiting.id, waiting.op, waiting.args) == (str(call_id), OP, {"limit": 7})
    assert waiting.deadline.endswith("Z")
    assert devices.take_answers([call_id, foreign]) == {}
    devices.record_answer(device, call_id, b'{"a": 1}')
    assert devices.list_waiting(device) == []
    assert devices.take_answers([foreign]) == {}
    assert devices.take_answers([call_id, foreign]) == {call_id: b'{"a": 1}'}
    assert drop(call_id) == 1
    assert devices.take_answers([call_id]) == {}
    assert [request.id for request in devices.list_waiting(other)] == [str(foreign)]


def test_oldest_are_listed_first_and_not_more_than_eight(owner: Account) -> None:
    device = add_device(owner.id).id
    asked = [ask_one(device, limit=number) for number in range(1, 11)]
    assert [request.args["limit"] for request in devices.list_waiting(device)] == list(range(1, 9))
    devices.record_answer(device, asked[0], b"{}")
    assert [request.args["limit"] for request in devices.list_waiting(device)] == list(range(2, 10))


def test_the_same_answer_again_is_well_and_another_is_a_conflict(owner: Account) -> None:
    device = add_device(owner.id).id
    call_id = ask_one(device)
    devices.record_answer(device, call_id, b'{"a": 1}')
    devices.record_answer(device, call_id, b'{"a": 1}')
    with pytest.raises(Conflict):
        devices.record_answer(device, call_id, b'{"a": 2}')
    assert devices.take_answers([call_id]) == {call_id: b'{"a": 1}'}


def test_answers_of_many_share_a_commit(app: Flask, owner: Account) -> None:
    ids = [add_device(owner.id).id for _ in range(6)]
    calls = {device_id: ask_one(device_id) for device_id in ids}
    foreign = ask_one(ids[0], seconds=60)
    db.session.rollback()
    commits: list[object] = []
    listener = lambda connection: commits.append(connection)  # noqa: E731

    def answer(device_id: str, call_id: uuid.UUID) -> str:
        with app.app_context():
            try:
                devices.record_answer(device_id, call_id, device_id.encode())
            except NotFound:
                return "not found"
        return "kept"

    event.listen(db.engine, "commit", listener)
    with ThreadPoolExecutor(8) as pool, relay._answers._turn:  # the door is shut until all of them stand before it
        outcomes = [pool.submit(answer, device_id, call_id) for device_id, call_id in calls.items()]
        outcomes.append(pool.submit(answer, ids[1], foreign))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and len(relay._answers._open.items) < 6:
            time.sleep(0.01)
    assert [outcome.result() for outcome in outcomes] == ["kept"] * 6 + ["not found"]
    event.remove(db.engine, "commit", listener)
    assert devices.take_answers(calls.values()) == {calls[device_id]: device_id.encode() for device_id in ids}
    assert len(commits) <= 4, "one for the answers, and who polls quickly now every few seconds"


def test_failed_commit_is_everybodys(app: Flask, owner: Account) -> None:
    device_id = add_device(owner.id).id
    call_id = ask_one(device_id)

    def refuse(*_: object) -> None:
        raise db.exc.OperationalError("COMMIT", {}, Exception("disk full"))  # type: ignore[attr-defined]

    db.session.rollback()
    event.listen(db.engine, "commit", refuse)
    with pytest.raises(db.exc.OperationalError):  # type: ignore[attr-defined]
        devices.record_answer(device_id, call_id, b"{}")
    event.remove(db.engine, "commit", refuse)
    assert devices.take_answers([call_id]) == {}
    devices.record_answer(device_id, call_id, b"{}")
    assert devices.take_answers([call_id]) == {call_id: b"{}"}


def test_answers_that_nobody_waits_for_are_not_found(owner: Account, stranger: Account) -> None:
    device, foreign = add_device(owner.id).id, add_device(stranger.id).id
    call_id, expired = ask_one(device), ask_one(device, seconds=-1)
    for whose, which in ((foreign, call_id), (device, uuid.uuid4()), (device, expired)):
        with pytest.raises(NotFound):
            devices.record_answer(whose, which, b"{}")
    assert [request.id for request in devices.list_waiting(device)] == [str(call_id)]
    assert devices.take_answers([call_id, expired]) == {}


def test_call_for_a_device_that_is_gone_spoils_no_other(owner: Account) -> None:
    there, unpaired = add_device(owner.id).id, add_device(owner.id).id
    devices.unpair_device(owner.id, unpaired)
    ids = ask("nobody", there, unpaired)
    assert [made is not None for made in ids] == [False, True, False]
    assert count_calls() == 1


def test_deleting_a_device_ends_its_calls(owner: Account) -> None:
    device = add_device(owner.id).id
    ask_one(device)
    devices.delete_device(owner.id, device)
    assert count_calls() == 0


def test_expired_calls_are_pruned_a_minute_later(owner: Account) -> None:
    device = add_device(owner.id).id
    ask(device, seconds=-61)
    kept = [*ask(device, seconds=-30), *ask(device)]
    assert devices.prune_calls() == 1
    assert devices.prune_calls() == 0
    assert {call.id for call in db.session.query(RelayedCall)} == set(kept)


def test_poll_lists_the_calls_and_comes_soon_again(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    link = link_from_before(owner.id)
    device_id = link.device_id
    assert devices.read_poll(link, None, None).poll_interval == 5
    call_id = ask_one(device_id)
    for _ in range(2):
        answer = devices.read_poll(link, None, None)
        assert [request.id for request in answer.requests] == [str(call_id)]
        assert answer.poll_interval == 1
    devices.record_answer(device_id, call_id, b"{}")
    after = devices.read_poll(link, None, None)
    assert (after.requests, after.poll_interval) == ([], 1)
    late = clock.utc_now() + timedelta(seconds=seen.ANSWERED_SECONDS + 0.5)
    monkeypatch.setattr(clock, "utc_now", lambda: late)
    assert devices.read_poll(link, None, None).poll_interval == 5


def test_calls_are_told_with_the_live_links(owner: Account) -> None:
    asked, other = (link_from_before(owner.id).device_id for _ in range(2))

    def told() -> dict[str, list[str]]:
        return {link.device_id: [one.id for one in link.requests] for link in read_live_links().values()}

    assert told() == {asked: [], other: []}
    call_id = ask_one(asked)
    assert told() == {asked: [str(call_id)], other: []}
    assert not relay.was_answered(str(call_id))
    devices.record_answer(asked, call_id, b"{}")
    assert told() == {asked: [], other: []}
    assert relay.was_answered(str(call_id))
    ask(asked, seconds=-1)
    assert told() == {asked: [], other: []}


def test_who_is_watched_is_known_to_other_processes(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, other = link_from_before(owner.id), link_from_before(owner.id)
    devices.note_watched(watched.device_id)
    monkeypatch.setattr(seen, "memory", seen.Memory())  # as in another process
    db.session.expire_all()
    assert devices.read_poll(watched, None, None).poll_interval == 1
    assert devices.read_poll(other, None, None).poll_interval == 5
    told = {link.device_id: link.is_watched for link in read_live_links().values()}
    assert told == {watched.device_id: True, other.device_id: False}
    late = clock.utc_now() + timedelta(seconds=seen.WATCHED_SECONDS + 0.5)
    monkeypatch.setattr(clock, "utc_now", lambda: late)
    assert devices.read_poll(watched, None, None).poll_interval == 5
    assert not any(link.is_watched for link in read_live_links().values())


def test_looking_for_long_writes_seldom(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "FLUSH_SECONDS", 60.0)
    device_id = add_device(owner.id).id
    devices.note_watched(device_id)
    first = db.session.get_one(Device, device_id).watched_at
    assert first is not None
    for _ in range(20):
        devices.note_watched(device_id)
    db.session.rollback()
    assert db.session.get_one(Device, device_id, populate_existing=True).watched_at == first
    assert devices.flush_seen() == 1
    later = db.session.get_one(Device, device_id, populate_existing=True).watched_at
    assert later is not None
    assert later > first
