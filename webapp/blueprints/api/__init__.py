"""The JSON API: one module per feature. `endpoint` declares a call; the OpenAPI document is made from that."""

from flask import Flask

from webapp.blueprints.api import (
    collector,
    coverage,
    devices,
    jobs,
    metrics,
    operations,
    overview,
    pairing,
    poll,
    push,
    quarantine,
    sessions,
    statistics,
)
from webapp.blueprints.api.converters import CONVERTERS

MODULES = (pairing, collector, devices, coverage, quarantine, sessions, statistics, push, jobs, overview, operations)


def register(app: Flask) -> None:
    """Binds every call of the API to `app`, and the short road for polls in front of it."""
    app.url_map.converters.update(CONVERTERS)
    for module in MODULES:
        app.register_blueprint(module.calls)
    metrics.init_app(app)
    app.extensions["short_road"] = poll.ShortRoad(app, app.wsgi_app)
    app.wsgi_app = app.extensions["short_road"]  # type: ignore[method-assign]
