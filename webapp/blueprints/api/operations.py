"""For those who run the hub: is it well, how is it doing, and what can it be asked."""

from datetime import datetime
from typing import Any, Literal

import msgspec
from flask import Blueprint, Response, current_app
from prometheus_client.exposition import CONTENT_TYPE_LATEST

import webapp
from collector import wire
from webapp.blueprints.access import current_account
from webapp.blueprints.api import metrics
from webapp.blueprints.api.endpoint import Media, endpoint
from webapp.blueprints.api.openapi import describe_api
from webapp.errors import NotAllowed
from webapp.features.jobs import service as jobs
from webapp.lib import clock

calls = Blueprint("api_operations", __name__)


class HubHealth(msgspec.Struct, kw_only=True):
    """What seed 001's extension and a discovering program look for."""

    status: Literal["healthy"]
    timestamp: datetime
    version: str
    protocol: int


class Liveness(msgspec.Struct, kw_only=True):
    """`degraded`: pages work, but nothing is pulled until a worker and the scheduler are back."""

    status: Literal["ok", "degraded"]
    workers: int
    schedulers: int
    version: str


class Document(msgspec.Struct, kw_only=True):
    """An OpenAPI 3.1 document."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
    components: dict[str, Any]


@endpoint(calls, "GET", "/api/health", audience="public", answers={200: HubHealth}, summary="Whether this is a hub.")
def check_health() -> HubHealth:
    return HubHealth(status="healthy", timestamp=clock.utc_now(), version=webapp.__version__, protocol=wire.PROTOCOL)


@endpoint(
    calls, "GET", "/healthz", audience="public", answers={200: Liveness}, summary="Whether the hub does its work."
)
def check_liveness() -> Liveness:
    roles = [process.role for process in jobs.list_processes()]
    workers, schedulers = roles.count("worker"), roles.count("scheduler")
    return Liveness(
        status="ok" if workers and schedulers else "degraded",
        workers=workers,
        schedulers=schedulers,
        version=webapp.__version__,
    )


@endpoint(
    calls,
    "GET",
    "/metrics",
    answers={200: Media(CONTENT_TYPE_LATEST)},
    summary="Figures of the whole hub for Prometheus; for administrators.",
)
def show_metrics() -> Response:
    if not current_account().is_admin:
        raise NotAllowed("Only an administrator sees the figures of the whole hub.")
    return Response(metrics.write_metrics(), content_type=CONTENT_TYPE_LATEST)


@endpoint(calls, "GET", "/api/openapi.json", audience="public", answers={200: Document}, summary="This document.")
def show_openapi() -> Response:
    document = describe_api(current_app._get_current_object(), webapp.__version__)  # type: ignore[attr-defined]
    return Response(msgspec.json.encode(document), content_type="application/json")
