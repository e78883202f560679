"""What every page shares: the navigation, the hub's name, and static files whose URL changes when their bytes do."""

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from flask import Flask, url_for

from webapp.config import current_config

STATIC = Path(__file__).parent.parent / "static"


def asset(name: str) -> str:
    """The URL of a static file with the fingerprint of its bytes, so that it may be cached for good."""
    return url_for("static", filename=name, v=fingerprint(STATIC / name))


@lru_cache(maxsize=64)
def fingerprint(path: Path) -> str:
    """The first ten hexadecimal digits of the file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:10]


class Section(NamedTuple):
    """One word of the navigation; `key` follows `g` on the keyboard."""

    endpoint: str
    icon: str
    label: str
    key: str


SECTIONS = (
    Section("overview.show_overview", "overview", "Overview", "o"),
    Section("devices.list_devices", "machines", "Machines", "d"),
    Section("sessions.list_sessions", "sessions", "Sessions", "s"),
    Section("jobs.list_jobs", "jobs", "Jobs", "j"),
    Section("accounts.show_settings", "settings", "Settings", ""),
)


def name_hub() -> dict[str, str]:
    """The name that stands in the corner and in every title."""
    return {"hub_name": current_config().hub_name}


def init_app(app: Flask) -> None:
    """Gives every template `asset()`, `sections` and `hub_name`."""
    app.add_template_global(asset, "asset")
    app.jinja_env.globals["sections"] = SECTIONS
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.context_processor(name_hub)
