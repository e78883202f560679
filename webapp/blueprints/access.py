"""Who is asking. Every view is for signed-in people unless it says `@public` or `@for_collectors`.

A request with an Authorization header is judged by that header alone; its cookies are ignored.
"""

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from flask import Flask, current_app, g, request, session
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from webapp.errors import NotAllowed
from webapp.extensions import login
from webapp.features.accounts import service as accounts
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices

View = TypeVar("View", bound=Callable[..., Any])
COOKIE_KEY = "sid"


class NotSignedIn(Unauthorized):
    """No credential, or one that opens nothing. The sentence is the same for every reason."""

    def __init__(self, detail: str = "Sign in first.", code_word: str = "not_signed_in") -> None:
        super().__init__(detail, www_authenticate=WWWAuthenticate("bearer", {"realm": "muster"}))
        self.code_word = code_word


def public(view: View) -> View:
    """Lets everybody in: the view itself decides what they may see."""
    view.audience = "public"  # type: ignore[attr-defined]
    return view


def for_collectors(view: View) -> View:
    """Lets in paired collectors only, by their device token; `g.device` and `g.link` are who it is."""
    view.audience = "collectors"  # type: ignore[attr-defined]
    return view


def init_app(app: Flask) -> None:
    """Checks every request, and tells flask-login (the templates' `current_user`) the outcome."""
    login.session_protection = None
    login.request_loader(lambda _request: find_account())
    app.before_request(check_access)


def current_account() -> Account:
    """Who is signed in; on a public view NotSignedIn when nobody is."""
    account = find_account()
    if account is None:
        raise NotSignedIn
    return account


def find_account() -> Account | None:
    """Who is signed in, if anybody."""
    if "account" not in g:
        g.account = _load_account()
    account: Account | None = g.account
    return account


def has_bearer() -> bool:
    """Whether the request brings its own credential and so needs no CSRF token."""
    return "Authorization" in request.headers


def has_cookie() -> bool:
    """Whether the browser's own cookie is what would let the request in."""
    return COOKIE_KEY in session


def check_access() -> None:
    """Stops whoever may not use the view that the URL names."""
    if request.endpoint is None or request.endpoint == "static":
        return
    audience = getattr(current_app.view_functions[request.endpoint], "audience", "people")
    if audience == "collectors":
        _require_collector()
    elif audience == "people" and find_account() is None:
        _refuse_person()


def _load_account() -> Account | None:
    if has_bearer():
        token = accounts.find_api_token(_bearer())
        return token.account if token else None
    if COOKIE_KEY not in session:
        return None
    browser = accounts.find_browser_session(session[COOKIE_KEY])
    g.browser_session_id = browser.id if browser else None
    return browser.account if browser else None


def _bearer() -> str:
    scheme, _, token = request.headers["Authorization"].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refuse_person() -> NoReturn:
    if not has_bearer():
        raise NotSignedIn
    link = devices.find_link(_bearer())
    if link is None:
        raise NotSignedIn("Token not valid.", "bad_token")
    if link.revoked_at is not None:
        raise NotSignedIn("Pair this device again.", "device_revoked")
    raise NotAllowed("Device tokens cannot do this.", code="wrong_token")


def _require_collector() -> None:
    if not has_bearer():
        raise NotSignedIn("Send the device token in the Authorization header.")
    link = devices.find_link(_bearer())
    if link is None and accounts.find_api_token(_bearer()):
        raise NotAllowed("Only a paired machine can do this.", code="wrong_token")
    if link is None:
        raise NotSignedIn("Token not valid.", "bad_token")
    if link.revoked_at is not None:
        raise NotSignedIn("Pair this device again.", "device_revoked")
    g.link, g.device = link, link.device
