"""Signing in and out, the set-up of the first owner, and the settings pages of one's own account."""

from urllib.parse import urlsplit

from flask import Blueprint, Response, flash, g, make_response, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from webapp.blueprints import access
from webapp.blueprints.access import current_account, public
from webapp.errors import Invalid, MusterError, NotAllowed, NotFound
from webapp.extensions import limiter
from webapp.features.accounts import names
from webapp.features.accounts import service as accounts

pages = Blueprint("accounts", __name__)

TRIES = "10 per minute"


@pages.before_request
def refuse_tokens() -> None:
    """Keeps a token from making others or ending sessions: these pages are for the person."""
    if access.has_bearer():
        raise NotAllowed("Tokens cannot do this. Sign in with a browser.", code="wrong_token")


def typed_name() -> str:
    """The account that a sign-in is tried for: the second thing that tries are counted by."""
    return names.normalise_name(request.form.get("name", ""))[: names.NAME_LENGTH]


@pages.get("/login")
@public
def show_sign_in() -> ResponseReturnValue:
    """The sign-in form, or straight on for whoever is signed in."""
    if access.find_account():
        return redirect(_next_url(), code=303)
    return _sign_in_page()


@pages.post("/login")
@public
@limiter.limit(TRIES)
@limiter.limit(TRIES, key_func=typed_name)
def sign_in() -> ResponseReturnValue:
    """Starts a browser session; one and the same sentence for a wrong name and a wrong password."""
    account = accounts.find_account_by_password(request.form.get("name", ""), request.form.get("password", ""))
    if account is None:
        return _sign_in_page("The name or the password is wrong."), 422
    accounts.adopt_timezone(account.id, request.form.get("timezone", ""))
    _start_session(account.id)
    return redirect(_next_url(), code=303)


@pages.post("/logout")
def sign_out() -> ResponseReturnValue:
    """Ends this browser's session and empties what the browser kept of these pages."""
    accounts.sign_out(session[access.COOKIE_KEY])
    session.clear()
    response = make_response(redirect(url_for("accounts.show_sign_in"), code=303))
    # Not "cookies": on localhost that would sign out of every other program's pages too.
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


@pages.get("/setup/<token>")
@public
def show_setup(token: str) -> ResponseReturnValue:
    """The form with which the first visitor becomes the owner."""
    if accounts.has_accounts():
        return redirect(url_for("accounts.show_sign_in"), code=303)
    if not accounts.is_setup_token(token):
        raise NotFound(accounts.DEAD_LINK)
    return render_template("accounts/setup.html", is_bare=True)


@pages.post("/setup/<token>")
@public
@limiter.limit(TRIES)
def create_owner(token: str) -> ResponseReturnValue:
    """Makes the owner and signs them in."""
    zone = names.known_zone(request.form.get("timezone", ""))
    try:
        account = accounts.create_owner(token, request.form.get("name", ""), _new_password(), zone)
    except Invalid as error:
        return _again("accounts/setup.html", error, is_bare=True)
    _start_session(account.id)
    return redirect("/", code=303)


@pages.get("/settings")
def show_settings() -> ResponseReturnValue:
    """Password, time zone, and the browsers that are signed in."""
    return render_template("accounts/settings.html", **_settings())


@pages.post("/settings/password")
@limiter.limit(TRIES)
def change_password() -> ResponseReturnValue:
    """A new password for whoever knows the old one; every other browser is signed out."""
    old = request.form.get("old_password", "")
    try:
        accounts.change_password(current_account().id, old, _new_password(), keep_session_id=g.browser_session_id)
    except Invalid as error:
        return _again("accounts/settings.html", error, **_settings())
    return _done("Your password is changed. Every other browser is signed out.", "accounts.show_settings")


@pages.post("/settings/timezone")
def set_timezone() -> ResponseReturnValue:
    """The zone in which days are counted."""
    try:
        accounts.set_timezone(current_account().id, request.form.get("timezone", ""))
    except Invalid as error:
        return _again("accounts/settings.html", error, **_settings())
    return _done("Your days are counted in this time zone from now on.", "accounts.show_settings")


@pages.post("/settings/browsers/<int:session_id>/revoke")
def revoke_browser(session_id: int) -> ResponseReturnValue:
    """Signs out one browser, perhaps this one."""
    accounts.revoke_browser_session(current_account().id, session_id)
    return _done("That browser is signed out.", "accounts.show_settings")


@pages.get("/settings/tokens")
def list_tokens() -> ResponseReturnValue:
    """The keys for scripts."""
    return render_template("accounts/tokens.html", tokens=accounts.list_api_tokens(current_account().id))


@pages.post("/settings/tokens")
@limiter.limit("30 per minute")
def create_token() -> ResponseReturnValue:
    """Makes a key and shows it this once. No redirect: its text is kept nowhere, so only this answer can show it."""
    account_id = current_account().id
    try:
        made, secret = accounts.create_api_token(account_id, request.form.get("label", ""))
    except Invalid as error:
        return _again("accounts/tokens.html", error, tokens=accounts.list_api_tokens(account_id))
    tokens = accounts.list_api_tokens(account_id)
    return render_template("accounts/tokens.html", tokens=tokens, made=made, secret=secret), 201


@pages.post("/settings/tokens/<int:token_id>/revoke")
def revoke_token(token_id: int) -> ResponseReturnValue:
    """Closes one key."""
    accounts.revoke_api_token(current_account().id, token_id)
    return _done("That token opens nothing any more.", "accounts.list_tokens")


def _sign_in_page(error: str = "") -> str:
    return render_template("accounts/login.html", is_bare=True, error=error, has_owner=accounts.has_accounts())


def _start_session(account_id: int) -> None:
    """A fresh cookie for a fresh session: nothing of the visitor before is carried over."""
    if access.has_cookie():
        accounts.sign_out(session[access.COOKIE_KEY])
    session.clear()
    is_kept = "keep" in request.form
    session[access.COOKIE_KEY] = accounts.sign_in(
        account_id, user_agent=request.user_agent.string, address=request.remote_addr or "", is_kept=is_kept
    )
    session.permanent = is_kept


def _next_url() -> str:
    """Where the visitor was going, if that is on this hub; else the overview."""
    target = request.values.get("next", "")
    parts = urlsplit(target)
    is_here = target.startswith("/") and target[1:2] not in ("/", "\\") and not parts.netloc and target.isprintable()
    return target if is_here else "/"


def _new_password() -> str:
    password = request.form.get("password", "")
    if password != request.form.get("password_again", ""):
        raise Invalid("The two passwords are not the same.", field="password_again")
    return password


def _settings() -> dict[str, object]:
    account = current_account()
    return {
        "browsers": accounts.list_browser_sessions(account.id),
        "this_browser": g.browser_session_id,
        "zones": accounts.list_zones(),
    }


def _again(template: str, error: MusterError, **context: object) -> Response:
    """The form once more, with the sentence at the field that it concerns."""
    wrong = {getattr(error, "field", None): error.detail}
    return make_response(render_template(template, wrong=wrong, **context), 422)


def _done(sentence: str, endpoint: str) -> ResponseReturnValue:
    flash(sentence)
    return redirect(url_for(endpoint), code=303)
