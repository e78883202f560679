"""Health, metrics and the description: for operators and programs, and nothing private in them."""

from prometheus_client.parser import text_string_to_metric_families

from tests.api.conftest import Caller, Machine
from webapp.features.jobs import service as jobs


def test_health_says_that_this_is_a_hub(anybody: Caller) -> None:
    answer = anybody.get("/api/health", headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["status"], answer.json["protocol"]) == ("healthy", 1)
    assert answer.json["timestamp"].endswith("Z")


def test_liveness_is_degraded_until_worker_and_scheduler_live(anybody: Caller) -> None:
    before = anybody.get("/healthz").json
    assert before is not None
    assert (before["status"], before["workers"], before["schedulers"]) == ("degraded", 0, 0)
    jobs.beat("worker-1", "worker")
    jobs.beat("clock-1", "scheduler")
    after = anybody.get("/healthz").json
    assert after is not None
    assert (after["status"], after["workers"], after["schedulers"]) == ("ok", 1, 1)


def test_metrics_are_figures_that_prometheus_reads(script: Caller, machine: Machine) -> None:
    answer = script.get("/metrics")
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    paired = {sample.labels["paired"]: sample.value for sample in families["muster_devices"].samples}
    assert paired == {"yes": 1, "no": 0}
    assert {"muster_jobs", "muster_pulls_last_hour", "muster_http_answers"} <= set(families)
    assert machine.id not in answer.text
    assert "desk" not in answer.text


def test_metrics_are_for_administrators(outsider: Caller, anybody: Caller) -> None:
    assert outsider.get("/metrics").status_code == 403
    assert anybody.get("/metrics").status_code == 401


def test_answers_are_counted(script: Caller) -> None:
    for _ in range(3):
        script.get("/api/jobs/none")
    families = {family.name: family for family in text_string_to_metric_families(script.get("/metrics").text)}
    counted = {tuple(s.labels.values()): s.value for s in families["muster_http_answers"].samples if "total" in s.name}
    assert counted["GET", "404"] == 3
