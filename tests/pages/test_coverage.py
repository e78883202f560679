"""The *Coverage* tab, the strips of the list, and the line on the overview."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.pages import story
from tests.pages.conftest import HTMX
from webapp.blueprints.charts.strip import draw_days, draw_small
from webapp.blueprints.coverage import say
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.jobs.models import Job
from webapp.features.sessions.coverage import DeviceCoverage, Mark, ShownDay, derive_status, read_coverage, sum_up
from webapp.features.sessions.models import CoverageState, CoveredDay, PullState

STUDIO = f"/devices/{story.STUDIO.id}/coverage"
THINKPAD = f"/devices/{story.THINKPAD.id}/coverage"
BUILDBOX = f"/devices/{story.BUILDBOX.id}/coverage"
TODAY = date(2026, 11, 19)


def shape(day: date, page: str) -> set[str]:
    """The shapes that the cell of a day wears."""
    cell = page.split(f'id="cover-{day}"', 1)[1].split("</a>", 1)[0]
    return {part.split('"', 1)[0] for part in cell.split('class="cover-')[1:]}


def test_page_says_how_far_the_proof_goes_and_shows_each_day(browser: FlaskClient) -> None:
    page = browser.get(STUDIO).text
    assert "Everything since 28 August is proven, except 2 days." in page
    assert page.count('id="cover-') == 90
    assert shape(TODAY, page) == {"complete"}
    assert shape(TODAY - timedelta(days=9), page) == {"hole"}
    assert shape(TODAY - timedelta(days=14), page) == {"complete", "marked"}
    assert shape(date(2026, 11, 15), page) == {"off"}
    assert shape(date(2026, 8, 23), page) == {"unknown"}


def test_holes_say_why_and_when_the_next_try_is(browser: FlaskClient) -> None:
    page = browser.get(STUDIO).text
    holes = page.split('id="holes-title"', 1)[1]
    assert "2 holes" in holes
    assert "9 of 11 sessions are here." in holes
    assert "in 18 min" in holes
    assert f'action="{STUDIO}/refill"' in holes


def test_a_machine_that_is_away_waits_and_is_not_red(browser: FlaskClient) -> None:
    page = browser.get(THINKPAD).text
    assert "Everything from 28 August to 17 November is proven. Not heard of since 18 November, 21:42." in page
    assert shape(TODAY, page) == shape(TODAY - timedelta(days=1), page) == {"waiting"}
    assert "holes-title" not in page


def test_a_pull_that_broke_off_names_its_problem_live(browser: FlaskClient) -> None:
    page = browser.get(BUILDBOX).text
    assert "12 sessions are still on the machine. The pull broke off: Another program answers on port 8001" in page
    assert "in 48 s" in page
    with transaction() as session:
        session.get_one(PullState, story.BUILDBOX.id).problem = None
    assert "The pull broke off" not in browser.get(BUILDBOX).text


def test_the_poll_gives_the_same_partial_and_then_nothing_new(
    browser: FlaskClient, ask: Callable[..., TestResponse]
) -> None:
    first = ask(STUDIO, "device-coverage")
    assert first.text.lstrip().startswith('<div id="device-coverage"')
    mark = first.text.split('"If-None-Match": "', 1)[1].split('"', 1)[0]
    assert ask(STUDIO, "device-coverage", **{"If-None-Match": mark}).status_code == 204


def test_check_now_and_refill_make_jobs_and_follow_them(browser: FlaskClient, hub: Account) -> None:
    with transaction() as session:
        session.query(Job).delete()
    for call, kind in (("check", "sessions.pull_device"), ("refill", "sessions.refill")):
        answer = browser.post(f"{STUDIO}/{call}")
        assert answer.status_code == 303
        db.session.rollback()
        job = db.session.scalars(select(Job).where(Job.type == kind)).one()
        assert answer.location == f"{STUDIO}?job={job.id}"
        page = browser.get(answer.location).text
        assert f"/jobs/{job.id}" in page and "every 1s" in page
    state = db.session.get_one(CoverageState, story.STUDIO.id)
    assert state.due_at == story.NOW and state.due_from is None


def test_nothing_to_refill_is_said_in_a_sentence(browser: FlaskClient) -> None:
    assert browser.post(f"{THINKPAD}/refill").location == THINKPAD
    assert "This machine has no hole to fill." in browser.get(THINKPAD).text


def test_a_stranger_sees_none_of_it(browser: FlaskClient, client_of: Callable[..., FlaskClient], stranger: Account):
    other = client_of(stranger)
    assert other.get(STUDIO).status_code == 404
    assert other.post(f"{STUDIO}/check").status_code == 404
    assert other.post(f"{STUDIO}/refill").status_code == 404


@pytest.mark.parametrize(("problem", "cursor"), [("unsupported", "sample"), (None, None)])
def test_a_collector_that_cannot_be_asked_is_told_about(
    browser: FlaskClient, problem: str | None, cursor: str | None
) -> None:
    with transaction() as session:
        session.query(CoveredDay).filter_by(device_id=story.STUDIO.id).delete()
        state = session.get_one(CoverageState, story.STUDIO.id)
        state.checked_at = state.hole_from = None
        state.problem = problem
        session.get_one(PullState, story.STUDIO.id).cursor = cursor
    page = browser.get(STUDIO).text
    assert "Nothing can be proven of this machine: its collector cannot say what it holds of each day." in page
    assert 'id="cover-' not in page


def test_list_and_overview_carry_a_strip_for_each_machine(browser: FlaskClient) -> None:
    for url in ("/devices", "/"):
        page = browser.get(url).text
        assert page.count('class="strip"') == 3
        assert 'aria-label="Last 30 days: 20 proven, 8 machine off, 2 hole"' in page
    assert "Coverage: 26 of 30 days proven on all machines; " in page
    assert f'<a href="{STUDIO}">2 holes on studio</a>' in page


def test_tables_and_pictures_say_the_same(browser: FlaskClient) -> None:
    table = browser.get(STUDIO).text.split('id="coverage-table"', 1)[1].split("</table>", 1)[0]
    assert table.count('class="cover-word hole"') == 2
    assert table.count('class="cover-word off"') == 24
    assert table.count('class="cover-word complete"') == 58


def test_a_hub_with_htmx_gets_no_redirect_body(browser: FlaskClient) -> None:
    assert browser.post(f"{STUDIO}/check", headers=HTMX).headers["HX-Redirect"].startswith(STUDIO)


@pytest.mark.parametrize(
    ("written", "day", "checked", "shown"),
    [
        ("complete", 0, 0, "complete"),
        ("complete", 1, 0, "complete"),
        ("complete", 1, 1, "waiting"),  # it was not over when it was last compared
        ("hole", 1, 1, "hole"),
        (None, 0, 1, "waiting"),
        (None, 5, 0, "unknown"),
        (None, 0, None, "waiting"),
        (None, 3, None, "unknown"),
        ("hole", 3, None, "hole"),
        (None, -1, 0, "unknown"),
    ],
)
def test_what_a_day_is_shown_as(written: str | None, day: int, checked: int | None, shown: str) -> None:
    last = TODAY - timedelta(days=checked) if checked is not None else None
    assert derive_status(written, TODAY - timedelta(days=day), last, TODAY) == shown


def test_small_strip_joins_the_days_of_a_status_in_one_path() -> None:
    marks = [Mark(TODAY, status, marked) for status, marked in (("complete", False), ("hole", False), ("off", True))]
    drawn = draw_small(marks)
    assert dict(drawn.paths) == {
        "cover-complete": "M0 0h4v12h-4z",
        "cover-hole": "M5 0h4v4h-4zM5 8h4v4h-4z",
        "cover-off": "M10 8h4v4h-4z",
        "cover-marked": "M10 0h4v3.5h-4z",
    }
    assert (drawn.width, drawn.words) == (14, "Last 3 days: 1 proven, 1 machine off, 1 hole")


def test_tooltip_tells_what_is_only_here() -> None:
    (cell,) = draw_days([ShownDay(TODAY, "complete", 4, 3, 1, 2)])
    assert cell.tip == "Thu 19 Nov: proven\n3 of 4 sessions here\n1 in quarantine\n2 kept only here"


def test_summary_counts_days_that_every_machine_can_prove() -> None:
    def strip(*statuses: str) -> list[Mark]:
        return [Mark(TODAY - timedelta(days=back), status, False) for back, status in enumerate(statuses)]

    summary = sum_up({"a": strip("complete", "off", "hole"), "b": strip("complete", "waiting", "unknown", "unknown")})
    assert summary is not None
    assert (summary.days, summary.proven, summary.holes) == (3, 1, {"a": 1})
    assert sum_up({}) is None
    assert sum_up({"a": strip("unknown")}) is None


@pytest.mark.parametrize(
    ("since", "waiting", "sentence"),
    [
        (TODAY, 0, "Everything of today is proven."),
        (date(2025, 12, 24), 0, "Everything since 24 December 2025 is proven."),
        (TODAY, 1, "It is compared with the next pull."),
        (TODAY - timedelta(days=1), 1, "Everything of 18 November is proven. It is compared with the next pull."),
    ],
)
def test_sentence_on_top(since: date, waiting: int, sentence: str) -> None:
    days = [ShownDay(TODAY, "waiting", reason="It is compared with the next pull.")] * waiting
    covered = DeviceCoverage("UTC", None, story.NOW, None, None, days, [], since)
    assert say(covered, "collector", TODAY) == sentence


def test_sentence_on_top_when_every_day_has_a_hole() -> None:
    holes = [ShownDay(TODAY - timedelta(days=back), "hole") for back in range(2)]
    covered = DeviceCoverage("UTC", None, story.NOW, None, None, holes, holes, TODAY - timedelta(days=1))
    assert say(covered, "collector", TODAY) == "Not one day is proven yet."


def test_a_machine_unseen_for_a_month_still_has_its_strip(hub: Account) -> None:
    with transaction() as session:
        session.query(CoveredDay).filter_by(device_id=story.THINKPAD.id).delete()
    strips = read_coverage(hub.id, 30)
    assert {mark.status for mark in strips[story.THINKPAD.id]} == {"unknown", "waiting"}
