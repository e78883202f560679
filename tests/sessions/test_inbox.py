"""The inbox of export files: what is taken and when, what is refused, and what becomes of it after a crash."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from collector import wire
from tests.devices import factory
from tests.sessions.conftest import list_stored
from tests.sessions.export_files import Laptop
from tests.sessions.importing_steps import device_id, laptop, list_files, list_jobs, look, put, upload, work_off
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices
from webapp.features.jobs import janitor
from webapp.features.jobs import service as jobs
from webapp.features.jobs.models import Job
from webapp.features.sessions import importing, inbox, leases, tasks
from webapp.features.sessions.models import PullState

__all__ = ["laptop"]


def test_a_file_in_the_inbox_is_imported_once_it_is_quiet(laptop: Laptop, owner: Account) -> None:
    path = laptop.write()
    put(path)
    importing.look_into_inbox()
    importing.look_into_inbox()
    assert list_jobs() == []
    look()
    (job,) = list_jobs()
    assert (job.title, job.account_id, job.device_id) == ("Import laptop.muster", owner.id, device_id(laptop))
    assert work_off(job).status == "succeeded"
    look()
    assert (list_files(), len(list_jobs())) == ([], 1)
    assert list_stored(device_id(laptop)) == laptop.list_sessions()


def test_a_file_that_still_grows_waits(laptop: Laptop) -> None:
    whole = laptop.write().read_bytes()
    target = inbox.root() / "slow.muster"
    for length in (100, 200, 300):
        target.write_bytes(whole[:length])
        now = inbox.time.monotonic() + length
        assert inbox.list_settled(now) == []
        assert inbox.list_settled(now + inbox.QUIET_SECONDS - 0.1) == []
    target.write_bytes(whole)
    assert inbox.list_settled(now + 10) == []
    assert inbox.list_settled(now + 10 + inbox.QUIET_SECONDS) == [target]


def test_other_files_links_and_folders_in_the_inbox_stay(laptop: Laptop, tmp_path: Path) -> None:
    path = laptop.write()
    (inbox.root() / "notes.txt").write_text("mine")
    (inbox.root() / "folder.muster").mkdir()
    (inbox.root() / "link.muster").symlink_to(path)
    look()
    assert list_jobs() == []
    assert (inbox.root() / "link.muster").is_symlink()


def test_what_no_machine_is_known_for_is_refused_with_the_reason(laptop: Laptop, owner: Account) -> None:
    put(laptop.write())
    (inbox.root() / "picture.muster").write_bytes(b"a picture")
    devices.unpair_device(owner.id, device_id(laptop))
    look()
    assert list_jobs() == []
    assert [name.split("/")[0] for name in list_files()] == ["refused"] * 4
    reasons = {path.stem.rpartition("-")[0]: path.read_text() for path in (inbox.root() / "refused").glob("*.txt")}
    assert reasons["picture"] == "This is not an export file of a collector.\n"
    assert "not paired with this hub" in reasons["laptop"]


def test_a_changed_file_fails_its_job_and_is_kept_and_can_be_tried_again(laptop: Laptop, owner: Account) -> None:
    path = laptop.write()
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    put(path)
    look()
    failed = work_off(list_jobs()[0])
    assert (failed.status, failed.error) == (
        "failed",
        "The file is cut short. Copy it again, whole, or write it again on the machine.",
    )
    kept, reason = (inbox.root() / name for name in list_files())
    assert (kept.suffix, reason.suffix, reason.read_text()) == (".muster", ".txt", f"{failed.error}\n")
    assert list_stored(device_id(laptop)) == []
    kept.write_bytes(whole)
    again = work_off(jobs.retry_job(owner.id, failed.id))
    assert again.status == "succeeded"
    assert list_files() == []
    assert list_stored(device_id(laptop)) == laptop.list_sessions()


def test_a_pairing_of_before_proves_nothing(laptop: Laptop, owner: Account) -> None:
    path = laptop.write()
    factory.pair(owner.id, device_id=device_id(laptop), name="laptop")
    failed = work_off(upload(owner, laptop, path))
    assert failed.status == "failed"
    assert "another pairing" in (failed.error or "")


def test_it_waits_for_the_lease_like_pull_now(laptop: Laptop, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    job = upload(owner, laptop, laptop.write())
    (held,) = leases.claim([device_id(laptop)])
    monkeypatch.setattr("webapp.features.sessions.rounds.LEASE_WAIT_SECONDS", 0.3)
    failed = work_off(job)
    assert "being pulled already" in (failed.error or "")
    leases.release([held], "done")
    assert work_off(jobs.retry_job(owner.id, failed.id)).status == "succeeded"


def test_a_lost_worker_loses_nothing(laptop: Laptop, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    job = upload(owner, laptop, laptop.write(rows=1))

    class Killed(BaseException):
        """The process is gone."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(importing, "pull_targets", die)
        patch.setattr(leases, "release", lambda *_: None)
        with pytest.raises(Killed):
            tasks.import_file(str(job.id), 1)
    importing.look_into_inbox()
    assert list_files() == [f"taken/{job.args['file']}.muster"]
    long_ago = wire.EPOCH
    with transaction() as session:
        session.execute(update(Job).values(lease_expires_at=long_ago))
        session.execute(update(PullState).values(lease_expires_at=long_ago))
    janitor.requeue_lost()
    (waiting,) = list_jobs()
    assert (waiting.status, waiting.attempt) == ("queued", 2)
    assert work_off(waiting).status == "succeeded"
    assert list_stored(device_id(laptop)) == laptop.list_sessions()
    assert db.session.scalar(select(func.count()).select_from(Job)) == 1


def test_what_a_crash_left_behind_is_settled(laptop: Laptop, owner: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    path = laptop.write()
    with monkeypatch.context() as patch:
        patch.setattr(importing, "settle_job", lambda _: None)
        assert work_off(upload(owner, laptop, path)).status == "succeeded"
    assert len(list_files()) == 1
    importing.look_into_inbox()
    assert list_files() == []
    put(path)
    orphan = inbox.take(inbox.root() / path.name)
    importing.look_into_inbox()
    assert len(list_jobs()) == 1
    monkeypatch.setattr(importing, "ADOPT_SECONDS", -1.0)
    importing.look_into_inbox()
    importing.look_into_inbox()
    adopted = list_jobs()[1:]
    assert [job.args["file"] for job in adopted] == [orphan]
    assert work_off(adopted[0]).status == "succeeded"
    assert list_files() == []


def test_a_file_that_the_hub_may_not_read_is_refused_and_holds_up_no_other(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, usual = laptop.write(), Path.open
    put(path, "a.muster")
    put(path, "b.muster")
    unreadable: list[Path] = []

    def refuse_first(self: Path, *args: Any, **rest: Any) -> object:
        if self.parent.name == "taken" and (not unreadable or self in unreadable):
            unreadable.append(self)
            raise PermissionError(13, "Permission denied", str(self))
        return usual(self, *args, **rest)

    monkeypatch.setattr(Path, "open", refuse_first)
    look()
    assert [job.args["name"] for job in list_jobs()] == ["b.muster"]
    reason = next((inbox.root() / "refused").glob("a-*.txt")).read_text()
    assert reason == "The hub cannot read the file: Permission denied.\n"


def test_only_so_many_refused_files_are_kept(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST_REFUSED", 3)
    path = laptop.write()
    for number in range(5):
        file_id = inbox.take(put(path))
        assert file_id is not None
        inbox.refuse(file_id, f"n{number}.muster", "Not now.")
    assert [name.split("/")[1].split("-")[0] for name in list_files()] == ["n2", "n2", "n3", "n3", "n4", "n4"]


def test_two_clocks_take_a_file_once(laptop: Laptop) -> None:
    path = put(laptop.write())
    assert inbox.take(path) is not None
    assert inbox.take(path) is None


def test_a_cancelled_import_keeps_its_file(laptop: Laptop, owner: Account) -> None:
    job = upload(owner, laptop, laptop.write())
    jobs.cancel_job(owner.id, job.id)
    importing.look_into_inbox()
    assert [name.split("/")[0] for name in list_files()] == ["refused", "refused"]
    assert work_off(jobs.retry_job(owner.id, job.id)).status == "succeeded"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("laptop.muster", "laptop.muster"),
        ("../../etc/passwd", "passwd.muster"),
        ("C:\\Users\\ada\\x.muster", "x.muster"),
        ("", "export.muster"),
        (None, "export.muster"),
        ("...", "export.muster"),
        ("a\x00b\n<c>.muster", "abc.muster"),
        ("ü" * 300, "ü" * 80 + ".muster"),
    ],
)
def test_names_are_harmless(given: str | None, kept: str) -> None:
    assert inbox.clean_name(given) == kept
