"""What is refused before anything is looked up: unknown hosts, other sites' requests, secrets in URLs, odd bodies."""

import ipaddress
import socket
from urllib.parse import urlsplit

from flask import Flask, Response, request

from collector.api.problems import Problem
from collector.running import Running, current
from collector.serving import LARGEST_BODY, MEBIBYTE

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SECRET_PARAMETERS = frozenset({"token", "access_token", "api_token", "api_key", "apikey", "authorization"})
WAKATIME_PREFIX = "/api/v1/"
PAGE_PREFIX = "/page/"
FORM_TYPE = "application/x-www-form-urlencoded"

# Not `no-referrer`: with that, browsers send `Origin: null` with our own forms, which the origin check must refuse.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def init_app(app: Flask) -> None:
    """Puts the checks before everything else, and the headers on every answer."""
    for check in (check_host, check_site, check_query, check_body):
        app.before_request(check)
    app.after_request(add_headers)


def check_host() -> None:
    """400 for a Host that is not ours: a web page can point its own name at this address (DNS rebinding).

    The port is not compared: a forwarded endpoint has another one, and rebinding needs a foreign name.
    """
    if not is_known_host(host_name(request.environ.get("HTTP_HOST", "")), current()):
        raise Problem(
            400, "Unknown host. This collector answers to 127.0.0.1, localhost and the address it listens on."
        )


def is_known_host(name: str, running: Running) -> bool:
    """Whether the collector answers under this name. An address cannot be rebound, so any will do on an open port."""
    if name in LOOPBACK_NAMES or name == running.config.host:
        return True
    return running.config.is_any_host and (is_address(name) or name == socket.gethostname().lower())


def is_address(name: str) -> bool:
    """Whether this is a literal IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty if it is none."""
    try:
        parts = urlsplit(f"//{host}")
        is_bare = parts.netloc == host and "@" not in host and (parts.port is None or parts.port > 0)
    except ValueError:
        return ""
    return (parts.hostname or "") if is_bare else ""


def check_site() -> None:
    """403 for anything that another site asks, reading included. Ports count: another program here is another site.

    Following a link to the page itself is allowed: it shows nothing without the cookie, which other sites never send.
    """
    origin = request.headers.get("Origin")
    is_ours = origin is None or origin == f"{request.scheme}://{request.host}"
    is_same_site = request.headers.get("Sec-Fetch-Site", "none") in ("same-origin", "none")
    if not is_ours or not (is_same_site or is_link_to_page()):
        raise Problem(403, "Cross-site request refused.")


def is_link_to_page() -> bool:
    """Whether a person followed a link to the page's address."""
    is_navigation = request.headers.get("Sec-Fetch-Mode") == "navigate"
    is_document = request.headers.get("Sec-Fetch-Dest") == "document"
    return request.method in ("GET", "HEAD") and request.path == "/" and is_navigation and is_document


def check_query() -> None:
    """400 for a credential in the URL. WakaTime's own protocol has its key there, so that one may."""
    allowed = {"api_key"} if request.path.startswith(WAKATIME_PREFIX) else set()
    if SECRET_PARAMETERS.intersection(name.lower() for name in request.args) - allowed:
        raise Problem(400, "Send the token in the Authorization header.")


def check_body() -> None:
    """413 and 415 for a body that is too large or in a form that is not read: JSON, and forms on the page alone."""
    limit = LARGEST_BODY if request.path.startswith(WAKATIME_PREFIX) else MEBIBYTE
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        raise Problem(413, f"Too large. The limit here is {limit // MEBIBYTE} MiB.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Compressed requests not accepted.")
    has_body = bool(request.content_length) or "Transfer-Encoding" in request.headers
    if request.method in SAFE_METHODS or not (has_body or request.mimetype):
        return
    if request.path.startswith(PAGE_PREFIX):
        if request.mimetype != FORM_TYPE:
            raise Problem(415, "Send a form.")
    elif not request.is_json:
        raise Problem(415, "Send application/json.")


def add_headers(response: Response) -> Response:
    """The same strict headers on everything. No CORS header, ever."""
    response.headers.update(HEADERS)
    if request.endpoint == "static" and response.status_code < 400:
        response.headers["Cache-Control"] = "no-cache"
    return response
