"""Prometheus figures: what the database says of the whole hub, and what this process has answered."""

from collections.abc import Iterator

from flask import Flask, Response, current_app, request
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from webapp.features.overview.hub_figures import HubCounts, count_hub

REGISTRY_KEY = "muster-metrics"


class HubFigures:
    """Reads the database when Prometheus asks; nothing is counted twice or forgotten at a restart."""

    def collect(self) -> Iterator[Metric]:
        """The gauges of the whole hub."""
        counts = count_hub()
        yield _by_label("muster_devices", "Devices, by whether they are paired.", "paired", counts.devices)
        yield _by_label("muster_jobs", "Jobs in the ledger, by status.", "status", counts.jobs)
        yield _by_label("muster_pulls_last_hour", "Pulls of the last hour, by status.", "status", counts.pulls)
        yield _by_label("muster_processes", "Living processes, by role.", "role", counts.processes)
        yield from _single_figures(counts)


def init_app(app: Flask) -> None:
    """Counts the answers of `app`, each app in a registry of its own."""
    registry = CollectorRegistry()
    registry.register(HubFigures())
    answers = Counter("muster_http_answers", "Answers of this process.", ("method", "status"), registry=registry)
    app.extensions[REGISTRY_KEY] = registry

    def count(response: Response) -> Response:
        answers.labels(request.method, response.status_code).inc()
        return response

    app.after_request(count)


def write_metrics() -> bytes:
    """All figures in Prometheus' text format."""
    return generate_latest(current_app.extensions[REGISTRY_KEY])


def _by_label(name: str, help_text: str, label: str, counts: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family


def _single_figures(counts: HubCounts) -> Iterator[Metric]:
    yield GaugeMetricFamily("muster_changed_rows_last_hour", "Sessions stored or changed lately.", counts.changed_rows)
    yield GaugeMetricFamily("muster_quarantined_sessions", "Sessions that could not be accepted.", counts.quarantined)
    yield GaugeMetricFamily("muster_devices_failing", "Devices whose last pull failed.", counts.failing)
    yield GaugeMetricFamily(
        "muster_oldest_pull_seconds", "Age of the oldest last pull of a paired device.", counts.oldest_pull_seconds
    )
    yield GaugeMetricFamily(
        "muster_pull_seconds_mean", "Mean duration of the last hour's pulls.", counts.mean_pull_seconds
    )
