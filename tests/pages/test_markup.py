"""What every rendered page keeps: strict CSP without anything inline, one heading, labelled regions, no dead links."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from tests.pages import story
from tests.pages.sample import job_id
from webapp.features.accounts.models import Account

PAGES = (
    "/",
    "/?days=90",
    "/devices",
    f"/devices/{story.BUILDBOX.id}",
    f"/devices/{story.STUDIO.id}",
    f"/devices/{story.STUDIO.id}/time",
    f"/devices/{story.STUDIO.id}/unpair",
    f"/devices/{story.STUDIO.id}/delete",
    "/pairing",
    "/sessions",
    "/sessions?day=2026-11-17",
    "/sessions?day=2026-01-01",
    "/jobs",
    f"/jobs/{job_id('Pull build-box', 95)}",
    "/settings",
    "/settings/tokens",
    "/nothing/here",
)


@pytest.mark.parametrize("url", PAGES)
def test_page_has_nothing_inline(browser: FlaskClient, url: str) -> None:
    answer = browser.get(url)
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|<script(?![^>]*src=)", answer.text)


@pytest.mark.parametrize("url", PAGES)
def test_page_is_one_document_for_people(browser: FlaskClient, url: str) -> None:
    page = browser.get(url).text
    assert page.startswith("<!doctype html>")
    assert page.count("<h1") == 1
    assert page.count('<main id="main"') == 1
    assert re.search(r"<title>[^<]+ · Muster</title>", page)
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert sorted(ids) == sorted(set(ids)), "an id stands twice"
    for name in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert name in ids
    for name in re.findall(r'<label for="([^"]+)"', page):
        assert name in ids


def test_links_of_the_pages_lead_somewhere(browser: FlaskClient) -> None:
    urls = {url for page in ("/", "/devices", "/jobs", "/pairing") for url in links(browser.get(page).text)}
    broken = {url: status for url in sorted(urls) if (status := browser.get(url).status_code) not in (200, 204)}
    assert len(urls) > 40
    assert broken == {}


def links(html: str) -> set[str]:
    """The addresses on this hub that a page links to."""
    found = re.findall(r'\shref="(/[^"]*)"', html)
    return {url.replace("&amp;", "&") for url in found if not url.startswith("/static/")}


def test_navigation_marks_where_one_is(browser: FlaskClient) -> None:
    for url, word in (("/", "Overview"), ("/pairing", "Machines"), ("/sessions", "Sessions"), ("/jobs", "Jobs")):
        current = re.findall(r'data-go="\w"[^>]*>|aria-current="page"[^>]*data-go', browser.get(url).text)
        here = re.search(r'aria-current="page" data-go="\w"[^>]*>.*?<span>(\w+)</span>', browser.get(url).text, re.S)
        assert len(current) == 4
        assert here
        assert here[1] == word


@pytest.mark.parametrize("url", ["/", "/devices", "/sessions", "/jobs", "/pairing"])
def test_nobody_in_particular_is_sent_to_sign_in(app: None, owner: Account, client_of: Callable, url: str) -> None:
    client = client_of(None)
    plain = client.get(url)
    live = client.get(url, headers={"HX-Request": "true", "HX-Target": "jobs"})
    assert plain.status_code == 303
    assert plain.location.startswith("/login")
    assert (live.status_code, live.headers["HX-Redirect"]) == (401, "/login")


def test_missing_page_says_what_to_do(browser: FlaskClient) -> None:
    answer = browser.get("/nothing/here")
    assert answer.status_code == 404
    assert "Nothing here" in answer.text
    assert 'href="/sessions"' in answer.text
