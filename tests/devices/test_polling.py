"""What a collector hears and tells: settings only when they differ, and the times at which it was last heard of."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from collector import wire
from tests.devices.factory import add_device, link_from_before
from webapp.errors import Invalid
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import seen
from webapp.features.devices import service as devices

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> seen.Memory:
    fresh = seen.Memory()
    monkeypatch.setattr(seen, "memory", fresh)
    return fresh


def test_poll_brings_settings_only_when_version_or_epoch_differ(owner: Account) -> None:
    link = link_from_before(owner.id)
    version, epoch = link.device.settings_version, link.device.settings_epoch
    for asked in ((None, None), (version, None), (version, "other"), (version + 1, epoch), (0, epoch)):
        assert devices.read_poll(link, *asked).settings == {}
    same = devices.read_poll(link, version, epoch)
    assert same.settings is wire.UNSET
    assert (same.settings_version, same.settings_epoch) == (version, epoch)
    assert (same.commands, same.requests, same.poll_interval) == ([], [], 5)


def test_poll_is_quick_while_somebody_watches(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    watched, other = link_from_before(owner.id), link_from_before(owner.id)
    devices.note_watched(watched.device.id)
    assert devices.read_poll(watched, None, None).poll_interval == 1
    assert devices.read_poll(other, None, None).poll_interval == 5
    monkeypatch.setattr(seen, "WATCHED_SECONDS", 0.0)
    assert devices.read_poll(watched, None, None).poll_interval == 5


def test_seen_times_are_written_together(owner: Account) -> None:
    ids = [add_device(owner.id).id for _ in range(3)]
    statements = []
    listener = lambda *call: statements.append((call[2], call[5]))  # noqa: E731
    event.listen(db.engine, "before_cursor_execute", listener)
    devices.note_seen(ids[0], NOON)
    assert [many for text, many in statements if text.startswith("UPDATE")] == [False]
    for device_id in ids:
        devices.note_seen(device_id, NOON + timedelta(seconds=1))
    assert len([text for text, _ in statements if text.startswith("UPDATE")]) == 1
    assert devices.flush_seen() == 3
    event.remove(db.engine, "before_cursor_execute", listener)
    assert [many for text, many in statements if text.startswith("UPDATE")] == [False, True]
    assert {device.last_seen_at for device in devices.list_devices(owner.id)} == {NOON + timedelta(seconds=1)}
    assert devices.flush_seen() == 0


def test_seen_time_never_goes_back(owner: Account) -> None:
    device = add_device(owner.id)
    for at in (NOON, NOON - timedelta(minutes=1)):
        devices.note_seen(device.id, at)
        devices.flush_seen()
    assert devices.get_device(owner.id, device.id).last_seen_at == NOON


def test_busy_database_does_not_lose_the_times(owner: Account, memory: seen.Memory) -> None:
    device = add_device(owner.id)
    memory.note(device.id, NOON)

    def refuse(*_: object) -> None:
        raise db.exc.OperationalError("UPDATE", {}, Exception("database is locked"))  # type: ignore[attr-defined]

    event.listen(db.engine, "begin", refuse)
    try:
        assert devices.flush_seen() == 0
    finally:
        event.remove(db.engine, "begin", refuse)
    assert devices.flush_seen() == 1
    assert devices.get_device(owner.id, device.id).last_seen_at == NOON


def test_poll_and_heartbeat_are_signs_of_life(owner: Account) -> None:
    for tell in (
        lambda link: devices.read_poll(link, 1, None),
        lambda link: devices.record_heartbeat(link.device_id, wire.Heartbeat(status={})),
    ):
        link = link_from_before(owner.id)
        assert link.device.last_seen_at is None
        tell(link)
        devices.flush_seen()
        assert devices.get_device(owner.id, link.device_id).last_seen_at is not None


@pytest.mark.parametrize(
    ("address", "host"), [("192.168.7.20", "192.168.7.20"), ("8.8.8.8", "127.0.0.1"), ("", "127.0.0.1")]
)
def test_machine_that_moved_is_looked_for_where_it_reports_from(owner: Account, address: str, host: str) -> None:
    device = add_device(owner.id, port=8003)
    devices.record_heartbeat(device.id, wire.Heartbeat(status={}), address)
    devices.flush_seen()
    db.session.expire_all()
    moved = devices.get_device(owner.id, device.id)
    assert moved.host == host
    assert f"http://{host}:8003" in devices.list_candidates(moved)


def test_heartbeat_is_kept(owner: Account) -> None:
    device = add_device(owner.id)
    told = wire.Heartbeat(
        status={"version": "0.2.0\u202e", "sources": {"wakatime": "ok"}},
        applied_version=7,
        apply_state="failed",
        apply_error="no such folder",
    )
    devices.record_heartbeat(device.id, told)
    kept = devices.get_device(owner.id, device.id)
    assert kept.version == "0.2.0"
    assert kept.reported_status == told.status
    assert (kept.applied_version, kept.apply_state, kept.apply_error) == (7, "failed", "no such folder")


def test_unknown_apply_state_is_refused(owner: Account) -> None:
    device = add_device(owner.id)
    with pytest.raises(Invalid) as caught:
        devices.record_heartbeat(device.id, wire.Heartbeat(status={}, apply_state="maybe"))
    assert caught.value.field == "applyState"


def test_reports_of_many_are_written_together(owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [add_device(owner.id).id for _ in range(4)]
    commits: list[object] = []
    listener = lambda connection: commits.append(connection)  # noqa: E731
    event.listen(db.engine, "commit", listener)
    for number, device_id in enumerate(ids):
        devices.record_heartbeat(device_id, wire.Heartbeat(status={"number": number, "version": f"0.{number}"}))
    told = {device.id: device.reported_status for device in devices.list_devices(owner.id)}
    assert [told[device_id] for device_id in ids] == [{"number": 0, "version": "0.0"}, None, None, None]
    monkeypatch.setattr(seen, "REPORT_SECONDS", 0.0)
    devices.note_seen(ids[0], NOON)  # any sign of life brings what is due
    event.remove(db.engine, "commit", listener)
    told = {device.id: device.reported_status for device in devices.list_devices(owner.id)}
    assert [told[device_id]["number"] for device_id in ids] == [0, 1, 2, 3]  # type: ignore[index]
    assert {device.version for device in devices.list_devices(owner.id)} == {"0.0", "0.1", "0.2", "0.3"}
    assert len(commits) == 2


def test_report_without_a_version_keeps_the_known_one(owner: Account) -> None:
    device = add_device(owner.id, version="0.9.0")
    devices.record_heartbeat(device.id, wire.Heartbeat(status={"version": ""}))
    assert devices.get_device(owner.id, device.id).version == "0.9.0"


def test_busy_database_keeps_the_newest_report(owner: Account, memory: seen.Memory) -> None:
    device = add_device(owner.id)
    memory.note(device.id, NOON, {"applied_version": 1})
    lost = memory.take()
    memory.note(device.id, NOON, {"applied_version": 2})
    memory.give_back(lost)
    assert memory.take().reports == {device.id: {"applied_version": 2}}
