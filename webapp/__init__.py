"""The hub. create_app(config) binds extensions, models, blueprints and error pages, in that order."""

from flask import Flask

from collector import wire
from webapp import database, models
from webapp.config import Config, read_config
from webapp.extensions import csrf, db, htmx, limiter, login, migrate
from webapp.lib.secrets import derive_key

__version__ = "0.1.0"

MEBIBYTE = 1024 * 1024


def create_app(config: Config | None = None) -> Flask:
    """The WSGI application for `config` (read from the environment when not given)."""
    from webapp import blueprints  # late: views import services, which import models

    config = config or read_config()
    app = Flask(__name__)
    app.config.update(flask_settings(config))
    app.extensions["muster"] = config
    for extension in (db, login, csrf, limiter, htmx):
        extension.init_app(app)
    migrate.init_app(app, db)
    with app.app_context():
        database.attach(db.engine)
    blueprints.register(app)
    wire.prepare_structs()
    return app


def flask_settings(config: Config) -> dict[str, object]:
    """What Flask and its extensions are told."""
    return {
        "SECRET_KEY": derive_key(config.hub_key, "flask-session"),
        "SQLALCHEMY_DATABASE_URI": config.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": {"pool_pre_ping": config.database_url.startswith("postgresql")},
        "MAX_CONTENT_LENGTH": 9 * MEBIBYTE,
        "MAX_FORM_MEMORY_SIZE": MEBIBYTE // 4,
        "MAX_FORM_PARTS": 100,
        "SESSION_COOKIE_NAME": "__Host-muster" if config.is_https else "muster",
        "SESSION_COOKIE_SECURE": config.is_https,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_CHECK_DEFAULT": False,
        "RATELIMIT_ENABLED": True,
        "TESTING": config.is_testing,
    }


__all__ = ["Config", "create_app", "models", "read_config"]
