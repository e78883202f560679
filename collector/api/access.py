"""Who asks: the paired hub with a one-call token, or this machine's user with the local token or the page's cookie."""

import hmac
import logging
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import jwt
from flask import request

from collector import tickets, wire
from collector.api.problems import Problem
from collector.api.security import SAFE_METHODS
from collector.running import current

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger(__name__)


def for_hub(view: Callable[P, R]) -> Callable[P, R]:
    """Only the paired hub may call; 401 with one same sentence otherwise, the reason is in the log."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        reason = refuse_call()
        if reason is not None:
            log.warning("Refused a call of %s: %s", request.path, reason)
            raise Problem(401, "Token not valid.", WWW_Authenticate="Bearer")
        return view(*args, **kwargs)

    return checked


def for_local_user(view: Callable[P, R]) -> Callable[P, R]:
    """Only this machine's user may call, by the local token or from the collector's page."""

    @wraps(view)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        if not is_local_user():
            detail = "This needs the local token of `python -m collector status --json` as a bearer token."
            raise Problem(401, detail, WWW_Authenticate="Bearer")
        return view(*args, **kwargs)

    return checked


def refuse_call() -> str | None:
    """Why the request is not one of the paired hub's, or None if it is. It uses up the token."""
    store, token = current().store, bearer()
    link = store.find_link()
    if not token or link is None:
        return "no bearer token" if link else "not paired"
    try:
        jti, expires_at = wire.read_call(token, link.pull_secret, link.device_id, request.path)
    except jwt.InvalidTokenError as error:
        return f"{type(error).__name__}: {error}"
    return None if store.note_jti(jti, expires_at) else "the token was used before"


def is_local_user() -> bool:
    """Whether the local token or, with a request that the page itself made, its cookie came along."""
    token = bearer()
    if token:
        return hmac.compare_digest(token.encode(), current().store.local_token().encode())
    return has_visit() and (request.method in SAFE_METHODS or "Origin" in request.headers)


def has_visit() -> bool:
    """Whether the browser has the cookie that a ticket gave."""
    cookie = request.cookies.get(cookie_name())
    return cookie is not None and tickets.is_visit(current().store, cookie)


def cookie_name() -> str:
    """Cookies do not know ports, so that the name has to."""
    return f"muster_collector_{current().port}"


def bearer() -> str:
    """The bearer token of the request, or nothing."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
