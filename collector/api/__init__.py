"""The collector's small web app: what the hub, editors, the local user and their browser call."""

from flask import Flask

from collector.api import health, hub_calls, local_calls, page, problems, security, wakatime
from collector.running import Running


def create_app(running: Running) -> Flask:
    """The app of a running collector."""
    app = Flask(__name__)
    app.extensions["collector"] = running
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    problems.init_app(app)
    security.init_app(app)
    for blueprint in (health.calls, hub_calls.calls, local_calls.calls, wakatime.calls, page.pages):
        app.register_blueprint(blueprint)
    return app
