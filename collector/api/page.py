"""The collector's own page: one column, for the person at this machine, and forms that work without JavaScript."""

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for

from collector import tickets
from collector.api.access import cookie_name, has_visit
from collector.api.page_facts import read_facts
from collector.api.problems import Problem
from collector.invocation import command
from collector.link.pairing import PairingError, pair, unpair
from collector.paths import PathError, watch_path
from collector.running import current

DONE = {
    "paired": "Paired. The hub's first pull is on the way.",
    "unpaired": "Unpaired. What this machine recorded stays here.",
    "untold": "Unpaired here. The hub could not be told; remove this machine on its page too.",
    "watching": "The folder is watched from now on.",
    "forgotten": "The folder is no longer watched. What was recorded there stays.",
    "scanning": "Looking through the folders.",
    "importing": "Reading the commit history. Past sessions appear here as they are found.",
}
"""What a form says after it worked: the key is in the URL, the sentence is not."""

pages = Blueprint("page", __name__)


@pages.before_request
def check_page() -> Response | None:
    """Every form needs the cookie and, because cookies do not know ports, an Origin that is this page's own."""
    if request.method == "POST" and not (has_visit() and "Origin" in request.headers):
        return make_response(render_locked(), 401)
    return None


@pages.get("/")
def show_page() -> str:
    """The page, or without the cookie one sentence that says how to open it."""
    return render_page(done=DONE.get(request.args.get("done", ""))) if has_visit() else render_locked()


@pages.get("/open/<ticket>")
def open_page(ticket: str) -> Response:
    """Swaps a one-time ticket for the cookie."""
    cookie = tickets.redeem_ticket(current().store, ticket)
    if cookie is None:
        return make_response(render_template("locked.html", is_stale=True, **locked_facts()), 404)
    # A page that moves on by itself, not a redirect: a Strict cookie does not travel with a redirect from elsewhere.
    response = make_response(render_template("opened.html"))
    response.set_cookie(cookie_name(), cookie, httponly=True, samesite="Strict", path="/")
    return response


@pages.post("/page/pair")
def pair_hub() -> Response:
    """Redeems a code that a person typed in."""
    hub_url, code = field("hub_url", 500), field("code", 64)
    try:
        pair(current().store, hub_url, code, current().port)
    except PairingError as error:
        return make_response(render_page(pair_error=str(error), hub_url=hub_url, code=code), 422)
    current().poller.wake()
    return go_on("paired")


@pages.post("/page/unpair")
def unpair_hub() -> Response:
    """Ends the link."""
    untold = unpair(current().store)
    current().poller.wake()
    return go_on("unpaired" if untold is None else "untold")


@pages.post("/page/paths")
def add_path() -> Response:
    """Watches another folder."""
    path = field("path", 4096)
    try:
        watch_path(current().store, path)
    except PathError as error:
        return make_response(render_page(path_error=str(error), path=path), 422)
    current().filesystem.rescan()
    return go_on("watching")


@pages.post("/page/paths/<int:path_id>/remove")
def remove_path(path_id: int) -> Response:
    """Stops watching a folder."""
    current().store.remove_path(path_id)
    current().filesystem.rescan()
    return go_on("forgotten")


@pages.post("/page/scan")
def scan() -> Response:
    """Looks through the folders now."""
    current().filesystem.rescan()
    return go_on("scanning")


@pages.post("/page/import-git")
def import_git() -> Response:
    """Derives past sessions from the commit history."""
    current().history.start()
    return go_on("importing")


def render_page(**told: str | None) -> str:
    """The whole page; `told` is what a form has to say."""
    return render_template("page.html", facts=read_facts(current()), told=told)


def render_locked() -> str:
    """One sentence for whoever has no cookie, and the way to the hub."""
    return render_template("locked.html", is_stale=False, **locked_facts())


def locked_facts() -> dict[str, str | None]:
    """What may be told to anybody on this machine."""
    link = current().store.find_link()
    return {
        "command": command("open"),
        "hub_url": None if link is None else link.hub_url,
        "hub_name": None if link is None else link.hub_name,
    }


def field(name: str, longest: int) -> str:
    """A form's field; 422 for one that is far too long."""
    value = request.form.get(name, "").strip()
    if len(value) > longest:
        raise Problem(422, f"{name}: at most {longest} characters.", field=name)
    return value


def go_on(done: str) -> Response:
    """Back to the page, with what to say there."""
    return make_response(redirect(url_for("page.show_page", done=done), code=303))
