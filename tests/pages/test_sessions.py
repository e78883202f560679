"""A day, all days, and one session."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.pages import story
from webapp.features.accounts.models import Account

DAY = "/sessions?day=2026-11-17"


def session_urls(html: str) -> list[str]:
    """The sessions in a table, in order."""
    return re.findall(r'<a href="(/sessions/[^"]+)" hx-get="[^"]+" hx-target="closest tbody"', html)


def test_day_is_a_picture_and_a_table_of_the_same_sessions(browser: FlaskClient) -> None:
    page = browser.get(DAY).text
    drawn = set(re.findall(r'<a href="(/sessions/[^"]+)" hx-get="[^"]+" hx-target="\[id=', page))
    assert "Tuesday 17 November 2026" in page
    assert drawn == set(session_urls(page))
    assert len(drawn) > 10


def test_agents_have_a_thin_lane(browser: FlaskClient) -> None:
    assert '<svg class="thin"' in browser.get(DAY).text


def test_days_before_and_after_are_links_that_keep_the_filters(browser: FlaskClient) -> None:
    page = browser.get(f"{DAY}&project=tidepool").text
    assert 'href="/sessions?day=2026-11-16&amp;project=tidepool"' in page
    assert 'href="/sessions?day=2026-11-18&amp;project=tidepool"' in page
    assert f'href="/sessions?day=2026-11-17&amp;device={story.STUDIO.id}&amp;project=tidepool"' in page


def test_today_has_no_day_after_it(browser: FlaskClient) -> None:
    page = browser.get("/sessions?day=today").text
    assert "<h1>Today</h1>" in page
    assert "Next day" not in page


@pytest.mark.parametrize(
    ("query", "wanted", "unwanted"),
    [
        (f"device={story.THINKPAD.id}", f"/sessions/{story.THINKPAD.id}/", f"/sessions/{story.STUDIO.id}/"),
        ("project=windrose", "lib.rs", "Fleet.tsx"),
        ("language=TypeScript", "Fleet.tsx", "lib.rs"),
    ],
)
def test_filters(browser: FlaskClient, query: str, wanted: str, unwanted: str) -> None:
    page = browser.get(f"{DAY}&{query}").text
    assert wanted in page
    assert unwanted not in page


def test_filter_that_fits_nothing_offers_all_days(browser: FlaskClient) -> None:
    page = browser.get(f"{DAY}&project=nothing").text
    assert "Nothing fits on this day" in page
    assert 'href="/sessions?project=nothing"' in page


@pytest.mark.parametrize("day", ["2026-13-01", "yesterday", "1601-01-01", "0000-00-00", "9999-12-31"])
def test_day_that_is_none_is_refused_in_words(browser: FlaskClient, day: str) -> None:
    answer = browser.get(f"/sessions?day={day}")
    assert answer.status_code == 400
    assert "day:" in answer.text


def test_all_days_go_on_by_cursor_and_never_repeat(browser: FlaskClient) -> None:
    first = browser.get("/sessions").text
    older = re.search(r'href="(/sessions\?cursor=[^"]+)" rel="next"', first)
    assert older
    second = browser.get(older[1]).text
    assert len(session_urls(first)) == 100
    assert not set(session_urls(first)) & set(session_urls(second))
    assert "Newest" in second


def test_cursor_of_another_list_is_refused(browser: FlaskClient) -> None:
    assert browser.get("/sessions?cursor=nonsense").status_code == 400


def test_session_opens_and_closes_in_place(browser: FlaskClient, ask: Callable[..., TestResponse]) -> None:
    url = session_urls(browser.get(DAY).text)[0]
    opened = ask(url, "x").text
    assert opened.startswith('<tbody id="s-')
    assert "brought by the pull of" in opened
    assert f'hx-get="{url}?closed=1"' in opened
    closed = ask(f"{url}?closed=1", "x").text
    assert closed.count("<tr") == 1


def test_session_has_a_page_of_its_own(browser: FlaskClient) -> None:
    url = session_urls(browser.get(f"{DAY}&project=tidepool").text)[0]
    page = browser.get(url).text
    for words in ("exact-cursor", "/code/tidepool/", "Seen by", "brought by the pull of"):
        assert words in page


def test_stranger_finds_no_session(browser: FlaskClient, stranger: Account, client_of: Callable) -> None:
    url = session_urls(browser.get(DAY).text)[0]
    other = client_of(stranger)
    assert other.get(url).status_code == 404
    assert other.get(f"{url}?closed=1", headers={"HX-Request": "true"}).status_code == 404
    assert session_urls(other.get("/sessions").text) == []


def test_names_from_machines_are_escaped(browser: FlaskClient) -> None:
    page = browser.get("/sessions?project=%3Cscript%3Ealert(1)%3C/script%3E").text
    assert "<script>alert" not in page
