"""Importing export files that were sent by form: once whatever happens, never backwards, or refused with a reason."""

import io
from pathlib import Path

import pytest
from sqlalchemy import select, update

from collector import wire
from tests.devices import factory
from tests.sessions.conftest import list_stored, read_state
from tests.sessions.export_files import DAY_MS, HOUR_MS, MONDAY_MS, Laptop
from tests.sessions.importing_steps import device_id, laptop, list_files, list_jobs, upload, work_off
from webapp.database import transaction
from webapp.errors import Conflict, Invalid, NotFound
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.jobs.running import NotClaimed
from webapp.features.sessions import importing, tasks
from webapp.features.sessions.models import CoveredDay, Pull, StoredSession

__all__ = ["laptop"]


def test_an_uploaded_file_is_imported_and_gone(laptop: Laptop, owner: Account) -> None:
    job = upload(owner, laptop, laptop.write("my laptop.muster", rows=2))
    assert (job.title, job.type, job.device_id, job.status) == (
        "Import my laptop.muster",
        "sessions.import_file",
        device_id(laptop),
        "queued",
    )
    done = work_off(job)
    assert (done.status, done.error, done.progress, done.progress_total) == ("succeeded", None, 5, 5)
    assert done.result is not None
    assert (done.result["rows"], done.result["changed_rows"], done.result["pages"]) == (5, 5, 3)
    assert list_stored(device_id(laptop)) == laptop.list_sessions()
    pull = db.session.scalars(select(Pull)).one()
    assert (pull.road, pull.status, pull.rows, pull.job_id) == ("file", "succeeded", 5, str(job.id))
    assert list_files() == []
    with pytest.raises(NotClaimed):
        tasks.import_file(str(job.id), 1)


def test_a_pull_goes_on_where_the_file_ended(laptop: Laptop, owner: Account) -> None:
    work_off(upload(owner, laptop, laptop.write()))
    state = read_state(device_id(laptop))
    cursor = state.cursor
    assert state.epoch == laptop.store.identity.epoch
    assert state.lease_expires_at is None
    laptop.work("later", MONDAY_MS + DAY_MS)
    page = laptop.store.export(wire.ExportRequest(cursor=cursor))
    assert [session["fileName"] for session in page["sessions"]] == ["later.py"]  # type: ignore[attr-defined]
    assert "reset" not in page


def test_the_same_file_and_an_older_one_change_nothing(laptop: Laptop, owner: Account) -> None:
    old = laptop.write("old.muster", rows=2)
    laptop.work("part1", MONDAY_MS + HOUR_MS, minutes=9)
    laptop.work("later", MONDAY_MS + DAY_MS)
    new = laptop.write("new.muster", rows=2)
    work_off(upload(owner, laptop, new))
    before = read_state(device_id(laptop))
    stood = (before.cursor, before.epoch, before.reached_ms, before.generation, before.is_behind, before.failures)
    whole = laptop.list_sessions()
    for path in (new, old, old):
        done = work_off(upload(owner, laptop, path))
        assert done.status == "succeeded"
        assert done.result is not None
        assert done.result["changed_rows"] == 0
        db.session.expire_all()
        after = read_state(device_id(laptop))
        now = (after.cursor, after.epoch, after.reached_ms, after.generation, after.is_behind, after.failures)
        assert now == stood
        assert list_stored(device_id(laptop)) == whole


def test_an_old_file_proves_and_disproves_nothing(laptop: Laptop, owner: Account) -> None:
    laptop.run(MONDAY_MS - HOUR_MS, MONDAY_MS + 5 * DAY_MS)
    old = laptop.write("old.muster")
    laptop.work("later", MONDAY_MS + HOUR_MS)
    work_off(upload(owner, laptop, laptop.write("new.muster")))

    def read_days() -> list[tuple[str, str, int]]:
        db.session.rollback()
        db.session.expire_all()
        days = db.session.scalars(select(CoveredDay).order_by(CoveredDay.day))
        return [(day.day.isoformat(), day.status, day.held) for day in days]

    proven = read_days()
    assert ("2026-01-05", "complete", 6) in proven
    with transaction() as session:
        session.execute(update(CoveredDay).values(checked_at=wire.EPOCH))
    work_off(upload(owner, laptop, old))
    assert read_days() == proven


def test_days_after_the_file_was_written_are_not_claimed(
    laptop: Laptop, owner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    laptop.run(MONDAY_MS - HOUR_MS, MONDAY_MS + HOUR_MS)
    with laptop.store.write() as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'made_at_ms'", (str(MONDAY_MS - DAY_MS),))
    monkeypatch.setattr("collector.export_file.wire.now_ms", lambda: MONDAY_MS + 4 * DAY_MS)
    path = laptop.write()
    monkeypatch.undo()
    work_off(upload(owner, laptop, path))
    found = {day.day.isoformat(): day.status for day in db.session.scalars(select(CoveredDay))}
    assert found["2026-01-05"] == "complete"
    assert found["2026-01-08"] == "off"
    assert max(found) == "2026-01-08"


def test_only_a_tombstone_deletes(laptop: Laptop, owner: Account) -> None:
    work_off(upload(owner, laptop, laptop.write("first.muster")))
    gone = laptop.list_sessions()[0]["id"]
    with laptop.store.write() as connection:
        connection.execute("UPDATE change_clock SET rev = rev + 1, changed_at_ms = changed_at_ms + 1")
        clock = connection.execute("SELECT rev, changed_at_ms FROM change_clock").fetchone()
        connection.execute(
            "UPDATE sessions SET deleted = 1, rev = ?, changed_at_ms = ?, revision = revision + 1 WHERE id = ?",
            (*clock, gone),
        )
        connection.execute("DELETE FROM sessions WHERE id = ?", (laptop.list_sessions()[1]["id"],))
    work_off(upload(owner, laptop, laptop.write("second.muster")))
    db.session.expire_all()
    rows = db.session.execute(select(StoredSession.id, StoredSession.is_deleted)).all()
    assert len(rows) == 5
    assert [row.id for row in rows if row.is_deleted] == [gone]


def test_a_file_of_another_database_brings_its_sessions_and_moves_nothing(laptop: Laptop, owner: Account) -> None:
    foreign = Laptop(laptop.folder / "reinstalled")
    link = laptop.store.find_link()
    assert link is not None
    foreign.pair(link.device_id, link.pull_secret)
    foreign.work("elsewhere", MONDAY_MS + DAY_MS)
    work_off(upload(owner, laptop, laptop.write()))
    before = read_state(device_id(laptop)).cursor
    done = work_off(upload(owner, laptop, foreign.write()))
    assert done.status == "succeeded"
    db.session.expire_all()
    assert read_state(device_id(laptop)).cursor == before
    assert {one["fileName"] for one in list_stored(device_id(laptop))} >= {"elsewhere.py", "part1.py"}


def test_the_form_refuses_what_it_can_see_at_once(
    laptop: Laptop, owner: Account, stranger: Account, tmp_path: Path
) -> None:
    path = laptop.write()
    other = factory.pair(owner.id, name="studio").device_id
    with pytest.raises(Invalid, match="another machine"):
        importing.receive_file(owner.id, other, io.BytesIO(path.read_bytes()), "x.muster")
    with pytest.raises(Invalid, match="not an export file"):
        importing.receive_file(owner.id, device_id(laptop), io.BytesIO(b"a picture"), "x.png")
    with pytest.raises(NotFound):
        importing.receive_file(stranger.id, device_id(laptop), io.BytesIO(path.read_bytes()), "x.muster")
    devices.unpair_device(owner.id, device_id(laptop))
    with pytest.raises(Conflict, match="not paired"):
        upload(owner, laptop, path)
    assert list_files() == []
    assert list_jobs() == []


def test_only_so_many_files_of_a_machine_wait(laptop: Laptop, owner: Account) -> None:
    for _ in range(importing.MOST_WAITING):
        upload(owner, laptop, laptop.write())
    with pytest.raises(Conflict, match="Wait for them"):
        upload(owner, laptop, laptop.write())
    work_off(list_jobs()[0])
    upload(owner, laptop, laptop.write())
