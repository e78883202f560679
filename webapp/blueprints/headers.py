"""The headers of every answer: what a browser may do with it, and who may keep it."""

from flask import Response, g, request

from webapp.config import current_config

YEAR_SECONDS = 365 * 24 * 3600

CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

# Not `no-referrer`: with that, browsers send `Origin: null` with our own forms, which the origin check must refuse.
ALWAYS = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def add_headers(response: Response) -> Response:
    """The same strict headers on pages, fragments, JSON, files and errors."""
    response.headers.update(ALWAYS)
    response.headers["X-Request-ID"] = g.get("request_id", "")
    if current_config().is_https:
        response.headers["Strict-Transport-Security"] = f"max-age={YEAR_SECONDS}"
    response.headers["Cache-Control"] = _cache_control(response)
    if request.endpoint != "static":
        response.vary.update(("HX-Request", "Cookie"))
    return response


def _cache_control(response: Response) -> str:
    """Nothing private is kept. A static file whose URL has its hash (`?v=`) never changes; any other is asked for."""
    if request.endpoint != "static" or response.status_code >= 400:
        return "no-store"
    return f"public, max-age={YEAR_SECONDS}, immutable" if request.args.get("v") else "no-cache"
