"""The relay's desk: threads that wait, one thread that writes, machines that answer, refuse, babble or stay silent."""

import json
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy import event

from collector import wire
from tests.devices.factory import add_device
from webapp.adapters.collector_client import CollectorError
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.devices.models import RelayedCall
from webapp.features.sessions.relaying import RelayDesk
from webapp.lib import clock

PAGE = {"sessions": [], "hasMore": False, "lastSyncTime": "2026-01-05T13:00:00.000Z", "nextCursor": "c"}
REQUEST = wire.ExportRequest(cursor="c0", limit=7)


def ask(desk: RelayDesk, device_id: str, seconds: float = 20.0) -> wire.ExportPage:
    return desk.ask(device_id, "sessions.export", REQUEST, wire.ExportPage, time.monotonic() + seconds)


def answer_all(device_ids: list[str], body: bytes) -> int:
    """Every device answers what it is asked; how many calls."""
    count = 0
    for device_id in device_ids:
        for request in devices.list_waiting(device_id):
            devices.record_answer(device_id, uuid.UUID(request.id), body)
            count += 1
    return count


def exchange_until(desk: RelayDesk, is_done: Callable[[], bool], between: Callable[[], object] = lambda: None) -> None:
    end = time.monotonic() + 30
    while not is_done():
        assert time.monotonic() < end
        desk.exchange()
        between()
        time.sleep(0.01)


def outcome(owner: Account, body: bytes) -> Future[wire.ExportPage]:
    """What comes of asking a machine that answers `body`."""
    desk, device_id = RelayDesk(), add_device(owner.id).id
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, desk, device_id)
        exchange_until(desk, future.done, lambda: answer_all([device_id], body))
    return future


def test_answer_reaches_the_thread_that_asked_and_nothing_is_left(owner: Account) -> None:
    future = outcome(owner, json.dumps(PAGE).encode())
    assert future.result().next_cursor == "c"
    assert db.session.query(RelayedCall).count() == 0


def test_request_is_the_body_of_the_call_it_stands_for(owner: Account) -> None:
    desk, device_id = RelayDesk(), add_device(owner.id).id
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, desk, device_id)
        exchange_until(desk, lambda: bool(devices.list_waiting(device_id)))
        (request,) = devices.list_waiting(device_id)
        assert (request.op, request.args) == ("sessions.export", {"cursor": "c0", "limit": 7})
        assert msgspec.convert(request.args, wire.ExportRequest) == REQUEST
        left = wire.parse_ms(request.deadline) - clock.now_ms()
        assert 0 < left <= 20_000
        desk.close()
        assert isinstance(future.exception(), CollectorError)


def test_many_threads_are_answered_each_its_own(owner: Account) -> None:
    ids = [add_device(owner.id).id for _ in range(60)]
    desk = RelayDesk()

    def answer_some() -> None:
        for device_id in ids:
            for request in devices.list_waiting(device_id):
                devices.record_answer(
                    device_id, uuid.UUID(request.id), json.dumps(PAGE | {"epoch": device_id}).encode()
                )

    with ThreadPoolExecutor(len(ids)) as pool:
        futures = {device_id: pool.submit(ask, desk, device_id) for device_id in ids}
        exchange_until(desk, lambda: all(future.done() for future in futures.values()), answer_some)
    assert all(future.result().epoch == device_id for device_id, future in futures.items())
    assert db.session.query(RelayedCall).count() == 0


def test_silent_machine_is_a_timeout_and_its_call_is_dropped(owner: Account) -> None:
    desk, device_id = RelayDesk(), add_device(owner.id).id
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, desk, device_id, 0.3)
        exchange_until(desk, future.done)
        error = future.exception()
    assert isinstance(error, CollectorError)
    assert error.problem == "timeout"
    assert "own connection" in error.detail
    desk.exchange()
    assert db.session.query(RelayedCall).count() == 0


def test_thread_that_left_before_it_was_posted_is_not_posted(owner: Account) -> None:
    desk, device_id = RelayDesk(), add_device(owner.id).id
    with pytest.raises(CollectorError):
        ask(desk, device_id, 0.0)
    desk.exchange()
    assert devices.list_waiting(device_id) == []


@pytest.mark.parametrize(
    ("body", "problem", "may_pass", "said"),
    [
        (b'{"status": 404, "title": "Not Found"}', "unsupported", False, "Update it"),
        (b'{"status": 405, "title": "Method Not Allowed"}', "unsupported", False, "Update it"),
        (b'{"status": 422, "title": "x", "detail": "limit: 1-5000"}', "bad_answer", False, "limit: 1-5000"),
        (b'{"status": 503, "title": "Busy"}', "bad_answer", True, "Busy"),
        (b'{"status": "healthy"}', "bad_answer", False, "not what a collector answers"),
        (b'{"sessions": 5}', "bad_answer", False, "not what a collector answers"),
        (b'{"a": "\xff"}', "bad_answer", False, "not what a collector answers"),
    ],
)
def test_what_is_no_answer_is_an_error(owner: Account, body: bytes, problem: str, may_pass: bool, said: str) -> None:
    error = outcome(owner, body).exception()
    assert isinstance(error, CollectorError)
    assert (error.problem, error.may_pass) == (problem, may_pass)
    assert said in error.detail


def test_machine_that_is_gone_is_told_at_once(owner: Account) -> None:
    desk = RelayDesk()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, desk, "nobody")
        exchange_until(desk, future.done)
        error = future.exception()
    assert isinstance(error, CollectorError)
    assert error.problem == "unreachable"


def test_nothing_to_exchange_asks_the_database_nothing(owner: Account) -> None:
    asked: list[str] = []
    listener = lambda *call: asked.append(call[2])  # noqa: E731
    event.listen(db.engine, "before_cursor_execute", listener)
    desk = RelayDesk()
    desk.exchange()
    assert asked == []
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, desk, add_device(owner.id).id)
        while not desk._posted:
            desk.exchange()
        asked.clear()
        desk.exchange()
        assert [text.split()[0] for text in asked if not text.startswith("PRAGMA")] == ["SELECT"]
        desk.close()
        assert future.exception() is not None
    event.remove(db.engine, "before_cursor_execute", listener)


def test_busy_database_loses_no_question(owner: Account) -> None:
    desk, device_id = RelayDesk(), add_device(owner.id).id

    def refuse(*_: object) -> None:
        raise db.exc.OperationalError("BEGIN", {}, Exception("database is locked"))  # type: ignore[attr-defined]

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, desk, device_id)
        while not desk._asked:
            time.sleep(0.01)
        event.listen(db.engine, "begin", refuse)
        with pytest.raises(db.exc.OperationalError):  # type: ignore[attr-defined]
            desk.exchange()
        event.remove(db.engine, "begin", refuse)
        exchange_until(desk, future.done, lambda: answer_all([device_id], json.dumps(PAGE).encode()))
    assert future.result().has_more is False


def test_closing_lets_every_thread_go(owner: Account) -> None:
    desk = RelayDesk()
    ids = [add_device(owner.id).id for _ in range(4)]
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ask, desk, device_id, 60.0) for device_id in ids]
        while len(desk._asked) < 4:
            time.sleep(0.01)
        desk.exchange()
        futures += [pool.submit(ask, desk, device_id, 60.0) for device_id in ids]
        threading.Timer(0.2, desk.close).start()
        assert all(isinstance(future.exception(), CollectorError) for future in futures)
    assert time.monotonic() - begun < 20
    with pytest.raises(CollectorError):
        ask(desk, ids[0])


def test_calls_of_a_worker_that_died_expire_and_are_pruned(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    desk, device_id = RelayDesk(), add_device(owner.id).id
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(ask, desk, device_id, 1.0)
        while not desk._posted:
            desk.exchange()
        assert future.exception() is not None
    late = clock.utc_now() + timedelta(minutes=2)
    monkeypatch.setattr(clock, "utc_now", lambda: late)
    assert devices.list_waiting(device_id) == []
    assert devices.prune_calls() == 1
