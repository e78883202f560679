"""The first page."""

import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.pages import story
from webapp.features.accounts.models import Account


def test_first_page_counts_today_the_week_and_agents(browser: FlaskClient) -> None:
    page = browser.get("/").text
    assert re.search(r"<dt>Today</dt><dd><a [^>]*>\d h \d\d m</a>", page)
    for words in ("This week", "Last 30 days", "Agents today"):
        assert words in page


@pytest.mark.parametrize(("query", "count"), [("", 30), ("?days=7", 7), ("?days=90", 90), ("?days=12", 30)])
def test_every_day_is_a_bar_that_leads_to_it(browser: FlaskClient, query: str, count: int) -> None:
    page = browser.get(f"/{query}").text
    assert len(re.findall(r'id="day-\d{4}-\d\d-\d\d" href="/sessions\?day=\d{4}-\d\d-\d\d"', page)) == count
    assert 'id="day-2026-11-19"' in page


def test_projects_and_languages_lead_to_their_sessions(browser: FlaskClient) -> None:
    page = browser.get("/").text
    assert 'href="/sessions?project=tidepool"' in page
    assert 'href="/sessions?language=Python"' in page


def test_a_project_has_one_colour_everywhere(browser: FlaskClient) -> None:
    def colours(html: str) -> set[str]:
        swatch = r'<rect class="(p\d+)" width="10" height="10" rx="2"/></svg>(?:<a [^>]*>)?tidepool'
        return set(re.findall(swatch, html))

    found = colours(browser.get("/").text)
    assert len(found) == 1
    assert colours(browser.get("/sessions?day=2026-11-19").text) == found
    assert colours(browser.get("/sessions?day=2026-11-10&project=tidepool").text) == found


def test_one_machine_can_be_chosen_and_stays_chosen(browser: FlaskClient) -> None:
    page = browser.get(f"/?device={story.THINKPAD.id}").text
    assert "<summary data-search>thinkpad</summary>" in page
    assert f'href="/?days=7&amp;device={story.THINKPAD.id}"' in page


def test_machines_have_a_word_and_a_shape(browser: FlaskClient) -> None:
    page = browser.get("/").text
    for machine in story.MACHINES:
        row = page.split(f'id="machine-{machine.id}"')[1].split("</tr>")[0]
        assert '<svg class="shape"' in row
        assert re.search(r"</svg>\w+", row)


def test_unfinished_jobs_are_shown(browser: FlaskClient) -> None:
    page = browser.get("/").text
    assert "Storing page 3" in page
    assert 'value="1200"' in page


def test_live_part_is_answered_alone_and_not_twice(ask: Callable[..., TestResponse]) -> None:
    first = ask("/?days=30", "overview-live")
    assert first.text.startswith('<div id="overview-live"')
    mark = first.text.split('"If-None-Match": "')[1].split('"')[0]
    assert ask("/?days=30", "overview-live", **{"If-None-Match": mark}).status_code == 204
    assert ask("/?days=7", "overview-live", **{"If-None-Match": mark}).status_code == 200


def test_newcomer_sees_three_steps(app: None, at_noon: None, owner: Account, client_of: Callable) -> None:
    page = client_of(owner).get("/").text
    assert page.count('<li class="next">') == 1
    assert 'href="/pairing"' in page
    assert 'id="overview-live"' in page
    assert "Hours per day" not in page


def test_stranger_sees_nothing_of_it(hub: Account, stranger: Account, client_of: Callable) -> None:
    page = client_of(stranger).get("/").text
    for word in ("studio", "tidepool", "Storing page 3"):
        assert word not in page
    assert client_of(stranger).get(f"/?device={story.STUDIO.id}").status_code in (200, 404)
