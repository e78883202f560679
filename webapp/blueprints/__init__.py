"""The browser's and the scripts' side: one module per feature for pages, api/ one module per feature for JSON."""

from flask import Flask

from webapp.blueprints import (
    access,
    accounts,
    api,
    cli,
    coverage,
    devices,
    errors,
    formatting,
    imports,
    jobs,
    layout,
    overview,
    pairing,
    quarantine,
    security,
    sessions,
)


def register(app: Flask) -> None:
    """Binds who may ask what, the security rules, every blueprint, the commands and the error pages to `app`."""
    for module in (access, security, layout, formatting):
        module.init_app(app)
    for module in (accounts, overview, devices, coverage, pairing, imports, quarantine, sessions, jobs):
        app.register_blueprint(module.pages)
    api.register(app)
    cli.init_app(app)
    errors.init_app(app)
