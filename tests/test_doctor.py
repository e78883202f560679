"""The doctor says each thing that is wrong, and nothing else."""

import dataclasses
import shutil
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from flask import Flask

from webapp import doctor, schema
from webapp.config import Config
from webapp.database import transaction
from webapp.features.accounts.models import Account
from webapp.features.devices.models import Device
from webapp.features.jobs import service
from webapp.lib import clock


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
    assert "2 schedulers are running (one:2 and two:9)" in wrong()[0]


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
