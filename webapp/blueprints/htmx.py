"""One answer for page and poll: the whole page, or only the partial that htmx asked for by its target's id.

A live partial's root carries `hx-headers='{"If-None-Match": "new"}'`; in its place goes the fingerprint of what was
sent, so an unchanged poll is a 204 and the page keeps focus and scroll. Ages ("12 s ago") are no change: app.js keeps
them true.
"""

import hashlib
import re
from collections.abc import Mapping

from flask import Response, make_response, redirect, render_template, request

NEW = '"If-None-Match": "new"'
AGE = re.compile(r"(<time [^>]*data-(?:ago|until)>)[^<]*")
RUNNING = re.compile(r'name="csrf_token" value="[^"]*"|stroke-dashoffset="[^"]*"')


def is_htmx() -> bool:
    """Whether htmx asks (and not somebody's address bar)."""
    return request.headers.get("HX-Request") == "true"


def answer(page: str, partials: Mapping[str, str], /, **context: object) -> Response:
    """`page`, or the partial whose root's id htmx targets. `partials` maps ids to templates."""
    partial = partials.get(request.headers.get("HX-Target", "")) if is_htmx() else None
    response = make_response(render_template(page, **context)) if partial is None else live(partial, **context)
    response.vary.update(("HX-Request", "HX-Target"))
    return response


def live(partial: str, /, **context: object) -> Response:
    """The partial, or 204 when the browser already shows it."""
    html = render_template(partial, **context)
    mark = fingerprint(html)
    if request.headers.get("If-None-Match") == mark:
        return Response(status=204)
    return make_response(html.replace(NEW, f'"If-None-Match": "{mark}"', 1))


def fingerprint(html: str) -> str:
    """What is shown, without what app.js keeps true (ages, countdowns) and without form tokens."""
    stable = RUNNING.sub("", AGE.sub(r"\1", html))
    return hashlib.sha256(stable.encode()).hexdigest()[:20]


def go(url: str) -> Response:
    """To another page after a POST: 303, or HX-Redirect for htmx."""
    if is_htmx():
        return Response(status=204, headers={"HX-Redirect": url})
    return make_response(redirect(url, code=303))
