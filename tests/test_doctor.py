"""The doctor says each thing that is wrong, and nothing else."""

import dataclasses
import resource
import shutil
import sqlite3
from collections import namedtuple
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from flask import Flask
from sqlalchemy.exc import OperationalError

from webapp import doctor, schema
from webapp.config import Config
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.jobs import service
from webapp.lib import clock, mounts


@pytest.fixture
def config(config: Config, valkey: str) -> Config:
    """A hub with a queue."""
    return dataclasses.replace(config, redis_url=valkey)


@pytest.fixture
def healthy(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that live, and room on the disk."""
    service.beat("one:1:jobs", "worker")
    service.beat("one:2", "scheduler")
    leave_free(monkeypatch, 50)


def wrong() -> list[str]:
    """The sentences about what is wrong."""
    return [finding.sentence for finding in doctor.examine() if finding.is_wrong]


def leave_free(monkeypatch: pytest.MonkeyPatch, gibibytes: float) -> None:
    """A disk with that much room."""
    usage = namedtuple("usage", "total used free")
    found = usage(100 * doctor.GIBIBYTE, 0, int(gibibytes * doctor.GIBIBYTE))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: found)


def test_a_healthy_hub_has_nothing_wrong_and_the_command_says_so(app: Flask, healthy: None) -> None:
    assert wrong() == []
    result = app.test_cli_runner().invoke(args=["doctor"])
    assert result.exit_code == 0 and "Nothing is wrong." in result.output


def test_no_worker_is_said_and_the_command_exits_with_1(app: Flask, healthy: None) -> None:
    service.end_beat("one:1:jobs")
    assert len(wrong()) == 1 and wrong()[0].startswith("No worker is running")
    assert app.test_cli_runner().invoke(args=["doctor"]).exit_code == 1


def test_two_schedulers_are_named(healthy: None) -> None:
    service.beat("two:9", "scheduler")
    (said,) = wrong()
    assert said.startswith("2 schedulers are running (one:2 since 20")
    assert "and two:9 since 20" in said and "Stop all but one" in said


def test_workers_without_a_scheduler_are_said(healthy: None) -> None:
    service.end_beat("one:2")
    assert [sentence[:30] for sentence in wrong()] == ["Workers run but no scheduler, "]


def test_a_clock_that_is_off_is_said(healthy: None, owner: Account) -> None:
    with transaction() as session:
        session.add(
            Device(
                id="laptop",
                account_id=owner.id,
                name="laptop",
                settings_epoch="e",
                clock_skew_ms=-400_000,
                created_at=clock.utc_now(),
                last_seen_at=clock.utc_now(),
            )
        )
    assert wrong() == ["The machine laptop has a clock 400 s behind the hub's. Turn on time synchronisation (NTP)."]


def test_a_clock_ahead_of_redis_is_said(healthy: None) -> None:
    with time_machine.travel(clock.utc_now() + timedelta(hours=1)):
        assert any(sentence.startswith("Redis has a clock 3600 s behind") for sentence in wrong())


def test_a_full_disk_is_said(healthy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_free(monkeypatch, 0.5)
    assert wrong()[0].startswith("Only 0.5 GiB are free")
    leave_free(monkeypatch, 0.01)
    assert "is full: 10 MiB are left" in wrong()[0]


def test_a_disk_on_which_nothing_can_be_written_is_said(healthy: None, config: Config) -> None:
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (doctor.PROBE_BYTES // 2, most[1]))
    try:
        said = doctor.try_to_write(config.data_dir)
        sentences = [finding.sentence for finding in doctor.judge_disk(config.data_dir)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert said == "File too large"
    assert sentences[0].startswith(f"Nothing can be written to {config.data_dir} (File too large)")
    gone = config.data_dir / "gone"
    (finding,) = doctor.judge_disk(gone)
    assert finding.sentence.startswith(f"Nothing can be written to {gone} (No such file")
    assert wrong() == [] and list(config.data_dir.glob("tmp*")) == []


@pytest.fixture
def on_sqlite(config: Config) -> Path:
    """The hub's database file."""
    path = doctor.find_sqlite(config)
    if path is None:
        pytest.skip("about SQLite")
    return path


def test_the_wal_reset_bug_does_no_harm_in_the_journal_mode_that_the_hub_uses(
    healthy: None, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.session.remove()
    db.engine.dispose()
    with closing(sqlite3.connect(on_sqlite)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    monkeypatch.setattr(doctor, "has_wal_reset_bug", lambda _: True)
    finding = doctor.judge_journal(on_sqlite)
    assert not finding.is_wrong and "(journal_mode=DELETE)" in finding.sentence


def test_the_wal_reset_bug_is_wrong_in_a_file_that_is_in_wal_mode(
    config: Config, healthy: None, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.session.remove()
    db.engine.dispose()
    with closing(sqlite3.connect(on_sqlite)) as connection:
        assert connection.execute("PRAGMA journal_mode=WAL").fetchone() == ("wal",)
        monkeypatch.setattr(doctor, "has_wal_reset_bug", lambda _: True)
        (said,) = doctor.check_sqlite(config)
    assert said.is_wrong and "is in WAL mode: committed writes can be lost" in said.sentence
    monkeypatch.setattr(doctor, "has_wal_reset_bug", lambda _: False)
    assert list(doctor.check_sqlite(config)) == []


def test_a_sqlite_file_on_a_network_file_system_is_said(
    healthy: None, on_sqlite: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = tmp_path / "mountinfo"
    listed.write_text(f"1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / {on_sqlite.parent} rw - nfs4 server:/export rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", listed)
    assert f"{on_sqlite} lies on a network or shared file system (nfs4)" in wrong()[0]


def test_refused_export_files_are_said(healthy: None, config: Config) -> None:
    refused = config.data_dir / "inbox" / "refused"
    refused.mkdir(parents=True)
    assert wrong() == []
    (refused / "laptop-1.muster").write_bytes(b"no export")
    (refused / "laptop-1.txt").write_text("It is no export file.")
    assert wrong()[0].startswith("One export file was refused.") and str(refused) in wrong()[0]


def test_a_redis_that_cannot_write_its_file_is_said(
    healthy: None, valkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = redis.Redis.from_url(valkey).info("persistence") | {"aof_last_write_status": "err"}
    monkeypatch.setattr(redis.Redis, "info", lambda *_: told)
    assert wrong() == ["Redis cannot write its file any more, and refuses what it is told. Is its disk full?"]


def test_a_database_that_does_not_answer_is_said_and_the_rest_goes_on(
    app: Flask, healthy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    monkeypatch.setattr(schema, "current", fail)
    assert wrong() == ["The database does not answer (OperationalError). Check DATABASE_URL."]
    assert app.test_cli_runner().invoke(args=["doctor"]).exit_code == 1


def test_an_open_key_is_said(healthy: None, config: Config) -> None:
    (config.data_dir / "keys" / "hub.key").chmod(0o644)
    assert wrong() == [
        f"Others can read {config.data_dir}/keys/hub.key. Take that away: chmod go-rwx {config.data_dir}/keys/hub.key"
    ]


def test_a_redis_that_forgets_is_mentioned(healthy: None, valkey: str) -> None:
    client = redis.Redis.from_url(valkey)
    client.config_set("appendonly", "no")
    try:
        said = doctor.examine()
        assert wrong() == [] and any("appendonly no" in finding.sentence for finding in said)
    finally:
        client.config_set("appendonly", "yes")


def test_no_redis_and_an_old_schema_are_said(
    app: Flask, config: Config, healthy: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    app.extensions["muster"] = dataclasses.replace(config, redis_url=f"unix://{tmp_path}/none.sock")
    app.extensions.pop("muster-redis", None)
    monkeypatch.setattr(schema, "head", lambda: "9999")
    starts = [sentence[:32] for sentence in wrong()]
    assert starts == ["The database is not at this vers", "Redis does not answer (Error 2 c"]
