"""Page or partial, and when a poll needs no answer."""

from flask import Flask
from flask.testing import FlaskClient

from webapp.blueprints import htmx


def ask(app: Flask, **headers: str):
    """The answer of a page whose live part is the shared flash area."""
    with app.test_request_context("/", headers=headers):
        return htmx.answer("components/_keys.html", {"flash": "components/_flash.html"})


def test_plain_request_gets_the_page(app: Flask) -> None:
    response = ask(app)
    assert b"<dialog" in response.data
    assert {"hx-request", "hx-target"} <= {name.lower() for name in response.vary}


def test_target_of_htmx_chooses_the_partial(app: Flask) -> None:
    response = ask(app, **{"HX-Request": "true", "HX-Target": "flash"})
    assert response.data.startswith(b'<div id="flash"')


def test_unknown_target_gets_the_page(app: Flask) -> None:
    assert b"<dialog" in ask(app, **{"HX-Request": "true", "HX-Target": "elsewhere"}).data


def test_unchanged_poll_has_no_answer(app: Flask) -> None:
    html = ask(app, **{"HX-Request": "true", "HX-Target": "flash"}).get_data(as_text=True)
    mark = htmx.fingerprint(html)
    response = ask(app, **{"HX-Request": "true", "HX-Target": "flash", "If-None-Match": mark})
    assert (response.status_code, response.data) == (204, b"")


def test_changed_poll_is_answered(app: Flask) -> None:
    response = ask(app, **{"HX-Request": "true", "HX-Target": "flash", "If-None-Match": "another"})
    assert response.status_code == 200


def test_ages_and_form_tokens_are_no_change() -> None:
    one = '<p><time datetime="x" title="y" data-ago>12 s ago</time><input name="csrf_token" value="a.b"></p>'
    two = '<p><time datetime="x" title="y" data-ago>17 s ago</time><input name="csrf_token" value="c.d"></p>'
    assert htmx.fingerprint(one) == htmx.fingerprint(two)
    assert htmx.fingerprint(one) != htmx.fingerprint(one.replace("<p>", "<p>new"))
    ahead = one.replace("data-ago>12 s ago", "data-until>in 12 s")
    assert htmx.fingerprint(ahead) == htmx.fingerprint(ahead.replace("in 12 s", "in 7 s"))


def test_after_a_post_the_browser_goes_on(app: Flask) -> None:
    with app.test_request_context("/", method="POST"):
        plain = htmx.go("/jobs")
    with app.test_request_context("/", method="POST", headers={"HX-Request": "true"}):
        moved = htmx.go("/jobs")
    assert (plain.status_code, plain.location) == (303, "/jobs")
    assert (moved.status_code, moved.headers["HX-Redirect"]) == (204, "/jobs")


def test_static_files_change_their_address_with_their_bytes(app: Flask, client_of) -> None:
    from webapp.blueprints.layout import asset

    with app.test_request_context("/"):
        url = asset("app.css")
    client: FlaskClient = client_of(None)
    response = client.get(url)
    assert "?v=" in url
    assert response.status_code == 200
    assert response.mimetype == "text/css"
