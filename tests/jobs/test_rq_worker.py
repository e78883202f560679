"""How RQ runs our tasks: only ours, within their time."""

import time
from types import SimpleNamespace

import pytest
import redis
from flask import Flask
from rq.serializers import JSONSerializer

from webapp.features.jobs.running import NotClaimed
from webapp.processes import rq_worker
from webapp.processes.rq_worker import NotATask, TaskJob, TimeLimit, TookTooLong


def test_a_task_beyond_its_time_is_stopped_with_a_sentence() -> None:
    with pytest.raises(TookTooLong, match="longer than 1 seconds"), TimeLimit(1):
        time.sleep(5)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "webapp.features.jobs.service.prune_jobs",
        "webapp.features.jobs.tasks.__class__",
        "x.webapp.features.jobs.tasks.run",
    ],
)
def test_what_is_no_task_does_not_run(app: Flask, name: str) -> None:
    with pytest.raises(NotATask):
        ring_for(name)._execute()


def test_a_stale_ring_is_no_error(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(*_args: object) -> None:
        raise NotClaimed("job 1 attempt 1")

    monkeypatch.setattr(TaskJob, "func", property(lambda _self: stale))
    assert ring_for("webapp.features.jobs.tasks.run")._execute() is None


def test_workers_import_the_tasks_before_they_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []
    monkeypatch.setattr(rq_worker.importlib, "import_module", imported.append)
    monkeypatch.setattr(
        rq_worker.importlib.util, "find_spec", lambda name: SimpleNamespace() if "devices" in name else None
    )
    rq_worker.preload_tasks()
    assert imported == ["webapp.features.devices.tasks"]


def ring_for(name: str) -> TaskJob:
    """A message that names `name`, as a worker would find it."""
    nowhere = redis.Redis(unix_socket_path="/nowhere.sock")
    return TaskJob.create(name, args=["id", 1], connection=nowhere, serializer=JSONSerializer)
