"""Calls of the client in the words of its tests."""

from collections.abc import Callable

import pytest

from collector import wire
from tests.collectors import Collector
from webapp.adapters.collector_client import CollectorClient, CollectorError

FIRST_PAGE = wire.ExportRequest(limit=100)


def check(client: CollectorClient, collector: Collector) -> wire.Health:
    """The collector's health."""
    return client.check_health(collector.url, collector.device_id, collector.pull_secret)


def export(client: CollectorClient, collector: Collector, request: wire.ExportRequest = FIRST_PAGE) -> wire.ExportPage:
    """A page of the collector."""
    return client.export_page(collector.url, collector.device_id, collector.pull_secret, request)


def refusal(call: Callable[[], object]) -> CollectorError:
    """The error that `call` ends with."""
    with pytest.raises(CollectorError) as caught:
        call()
    return caught.value


def credentials(collector: Collector) -> list[str]:
    """Every Authorization header that the collector received."""
    return [request.headers["Authorization"] for request in collector.received if "Authorization" in request.headers]
