"""What is refused before anybody is looked up: unknown hosts, other sites' requests, secrets in URLs, odd bodies."""

import re
import secrets
from urllib.parse import urlsplit

from flask import Flask, g, request
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, UnsupportedMediaType

from webapp.blueprints import access
from webapp.blueprints.headers import add_headers
from webapp.config import Config, current_config
from webapp.extensions import csrf

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SECRET_PARAMETERS = frozenset({"token", "access_token", "api_token", "api_key", "apikey", "authorization"})
REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def init_app(app: Flask) -> None:
    """Puts the checks before everything else, also before the rate limiter's, and the headers on every answer."""
    checks = (start_request, check_host, check_site, check_address, check_query, check_body)
    app.before_request_funcs.setdefault(None, [])[:0] = checks
    app.before_request(check_csrf)
    app.after_request(add_headers)


def check_csrf() -> None:
    """Refuses a changing request that a browser's cookie would authorise, unless it carries that browser's token."""
    if request.method in SAFE_METHODS or access.has_bearer():
        return
    if access.has_cookie() or not is_api():
        csrf.protect()


def is_api() -> bool:
    """Whether a program is asking, so that the answer is JSON."""
    return request.path.startswith("/api/") or request.path in ("/healthz", "/metrics")


def start_request() -> None:
    """Names the request, for its log lines and its errors."""
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def check_host() -> None:
    """400 for a Host that is not ours: a web page can point its own name at this address (DNS rebinding)."""
    if host_name(request.environ.get("HTTP_HOST", "")) not in known_hosts(current_config()):
        raise BadRequest("Unknown host. Add it to MUSTER_TRUSTED_HOSTS.")


def known_hosts(config: Config) -> frozenset[str]:
    """The names under which this hub answers."""
    return LOOPBACK_NAMES | {host_name(name) for name in (config.host, *config.trusted_hosts)}


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty if it is none."""
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    try:
        parts = urlsplit(f"//{host}")
        is_bare = parts.netloc == host and "@" not in host and (parts.port is None or parts.port > 0)
    except ValueError:
        return ""
    return (parts.hostname or "") if is_bare else ""


def check_site() -> None:
    """403 for a changing request that another site made. Ports count: another program here is another site."""
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    is_ours = origin is None or (origin.startswith(("http://", "https://")) and urlsplit(origin).netloc == request.host)
    if not is_ours or request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Forbidden("Cross-site request refused.")


def check_address() -> None:
    """404 for a page's address with a NUL: nothing is called so, and PostgreSQL fails on the mere question."""
    if not is_api() and "\0" in "".join((request.path, *request.args.values())):
        raise NotFound


def check_query() -> None:
    """400 for a credential in the URL, where logs and histories would keep it."""
    if SECRET_PARAMETERS.intersection(name.lower() for name in request.args):
        raise BadRequest("Send the token in the Authorization header.")


def check_body() -> None:
    """415 for a body in a form that this hub does not read."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Compressed requests not accepted.")
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if is_api() and request.method not in SAFE_METHODS and has_body and not request.is_json:
        raise UnsupportedMediaType("Send application/json.")
