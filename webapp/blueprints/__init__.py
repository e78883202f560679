"""The browser's and the scripts' side: one module per feature for pages, api/ one module per feature for JSON."""

from flask import Flask

from webapp.blueprints import access, accounts, cli, errors, formatting, jobs, layout, pairing, security


def register(app: Flask) -> None:
    """Binds who may ask what, the security rules, every blueprint, the commands and the error pages to `app`."""
    access.init_app(app)
    security.init_app(app)
    layout.init_app(app)
    formatting.init_app(app)
    app.register_blueprint(accounts.pages)
    app.register_blueprint(pairing.pages)
    app.register_blueprint(jobs.pages)
    cli.init_app(app)
    errors.init_app(app)
