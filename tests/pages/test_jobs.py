"""The ledger as pages."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.pages.sample import job_id
from webapp.features.accounts.models import Account

RUNNING = job_id("Pull studio", 0)
WAITING = job_id("Count 35 days again for Europe/Berlin", 1)
FAILED = job_id("Pull build-box", 95)


def test_list_says_each_state_in_words(browser: FlaskClient) -> None:
    page = browser.get("/jobs").text
    for word in ("Running", "Waiting", "Done", "Failed", "Cancelled"):
        assert word in page
    assert "cannot prove that it is build-box" in page
    assert 'hx-trigger="every 5s"' in page


def test_list_can_be_limited_to_a_state(browser: FlaskClient) -> None:
    page = browser.get("/jobs?status=failed").text
    assert "Pull build-box" in page
    assert "Pull all machines" not in page


def test_unknown_state_is_as_no_state(browser: FlaskClient) -> None:
    assert "Pull all machines" in browser.get("/jobs?status=nonsense").text


def test_poll_gets_the_rows_alone_and_nothing_when_nothing_changed(ask: Callable[..., TestResponse]) -> None:
    first = ask("/jobs", "jobs")
    assert first.text.startswith('<div id="jobs"')
    mark = first.text.split('"If-None-Match": "')[1].split('"')[0]
    assert ask("/jobs", "jobs", **{"If-None-Match": mark}).status_code == 204


def test_detail_tells_the_story(browser: FlaskClient) -> None:
    page = browser.get(f"/jobs/{FAILED}").text
    for words in ("Waiting for a worker.", "Its worker was lost", "attempt 2 of 3", "Try again"):
        assert words in page


def test_running_job_polls_and_a_finished_one_does_not(ask: Callable[..., TestResponse]) -> None:
    assert 'hx-trigger="every 2s"' in ask(f"/jobs/{RUNNING}", "job").text
    assert "hx-trigger" not in ask(f"/jobs/{FAILED}", "job").text


def test_waiting_job_can_be_cancelled_once(browser: FlaskClient) -> None:
    answer = browser.post(f"/jobs/{WAITING}/cancel")
    assert (answer.status_code, answer.location) == (303, f"/jobs/{WAITING}")
    assert "Cancelled before it started." in browser.get(f"/jobs/{WAITING}").text
    browser.post(f"/jobs/{WAITING}/cancel")
    assert "nothing to cancel" in browser.get(f"/jobs/{WAITING}").text


def test_failed_job_can_be_tried_again(browser: FlaskClient) -> None:
    browser.post(f"/jobs/{FAILED}/retry")
    assert "Queued again." in browser.get(f"/jobs/{FAILED}").text


@pytest.mark.parametrize("url", [f"/jobs/{RUNNING}", "/jobs/not-a-job"])
def test_stranger_finds_nothing(hub: Account, stranger: Account, client_of: Callable, url: str) -> None:
    client = client_of(stranger)
    assert client.get(url).status_code == 404
    assert "Nothing has been asked for" in client.get("/jobs").text


def test_stranger_cannot_cancel(hub: Account, stranger: Account, browser: FlaskClient, client_of: Callable) -> None:
    assert client_of(stranger).post(f"/jobs/{WAITING}/cancel").status_code == 404
    assert "Cancelled before" not in browser.get(f"/jobs/{WAITING}").text
