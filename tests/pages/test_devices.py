"""The list of machines, one machine, and what can be done with it."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.pages import fleet, story
from tests.pages.conftest import HTMX
from tests.pages.sample import job_id
from webapp.features.accounts.models import Account
from webapp.features.devices import service as devices

STUDIO = f"/devices/{story.STUDIO.id}"
BUILDBOX = f"/devices/{story.BUILDBOX.id}"


def test_list_has_every_machine(browser: FlaskClient) -> None:
    page = browser.get("/devices").text
    for machine in story.MACHINES:
        assert f'href="/devices/{machine.id}"' in page
    assert "48 min ago" in page


def test_list_tells_every_state_apart(fleet_browser: FlaskClient) -> None:
    page = fleet_browser.get("/devices").text
    for word in (
        *("Up to date", "Catching up", "Up to date, by relay", "Late", "Quarantining", "Off", "Silent", "Out of reach"),
        *("Not proven", "Pair again", "Disk full", "Failing", "New", "Not reached", "Unpaired", "Sends itself"),
    ):
        assert page.count(f"</svg>{word}</span>") == 1, word


def test_now_tells_the_road_and_why_it_is_not_the_direct_one(fleet_browser: FlaskClient) -> None:
    page = fleet_browser.get(f"/devices/{fleet.CASSINI.id}").text
    assert "by relay: over the connection that its collector opens" in page
    assert f"<dt>Direct road</dt><dd>{fleet.NOTHING} Since <time" in page
    assert "data-until>in 8 min</time>" in page
    assert page.count("Not direct: ") == 1 and page.count(">the same<") == 7


def test_now_tells_of_new_beginnings(fleet_browser: FlaskClient) -> None:
    page = fleet_browser.get(f"/devices/{fleet.CASSINI.id}").text
    assert "began anew with an empty database. 1,240 sessions that it no longer has are kept here." in page
    assert "An older copy of its collector's database was restored." in page
    assert "is being compared with the 12,502 sessions" in page
    assert "New beginnings" not in fleet_browser.get(f"/devices/{fleet.HUYGENS.id}").text


def test_trouble_says_since_when_and_when_it_is_tried_again(fleet_browser: FlaskClient) -> None:
    page = fleet_browser.get(f"/devices/{fleet.HUYGENS.id}").text
    head = page.split('id="device-state"')[1].split("</p>")[0]
    assert "neither road brings anything. <span" in head, "what each road said stands among the facts"
    assert f"<dt>Last problem</dt><dd>{fleet.SILENCE} Since" in page
    assert f"<dt>Direct road</dt><dd>{fleet.NOTHING}" in page
    assert "Since <time" in head and "data-until>in 40 s</time>" in head


def test_list_can_be_filtered_by_name(browser: FlaskClient) -> None:
    page = browser.get("/devices?q=STUD").text
    assert "studio" in page
    assert "thinkpad" not in page
    assert "No machine is called that." in browser.get("/devices?q=zzz").text


@pytest.mark.parametrize(
    ("sort", "first"), [("name", "build-box"), ("state", "build-box"), ("pulled", "studio"), ("today", "studio")]
)
def test_list_can_be_sorted_by_a_link(browser: FlaskClient, sort: str, first: str) -> None:
    assert f'href="/devices?sort={sort}"' in browser.get("/devices").text
    rows = browser.get(f"/devices?sort={sort}").text.split('id="machine-')[1:]
    assert f">{first}</a>" in rows[0]


def test_without_machines_the_next_step_is_named(app: None, owner: Account, client_of: Callable) -> None:
    page = client_of(owner).get("/devices").text
    assert "No machine is paired" in page
    assert 'href="/pairing"' in page


def test_detail_has_facts_and_the_last_ten_pulls(browser: FlaskClient) -> None:
    page = browser.get(BUILDBOX).text
    assert page.count("Failed") == 9
    assert page.count("Done") == 1
    assert page.count("cannot prove that it is build-box") >= 1
    assert "http://127.0.0.1:8001" in page


def test_facts_are_polled_alone(ask: Callable[..., TestResponse]) -> None:
    first = ask(BUILDBOX, "device-now")
    assert first.text.startswith('<div id="device-now"')
    mark = first.text.split('"If-None-Match": "')[1].split('"')[0]
    assert ask(BUILDBOX, "device-now", **{"If-None-Match": mark}).status_code == 204


def test_time_has_only_this_machines_sessions(browser: FlaskClient) -> None:
    page = browser.get(f"/devices/{story.THINKPAD.id}/time").text
    assert f'href="/sessions/{story.THINKPAD.id}/' in page
    assert f'href="/sessions/{story.STUDIO.id}/' not in page


def test_pull_now_without_javascript_goes_to_the_job_on_the_page(browser: FlaskClient) -> None:
    answer = browser.post(f"/devices/{story.THINKPAD.id}/pulls")
    assert answer.status_code == 303
    assert answer.location.startswith(f"/devices/{story.THINKPAD.id}?job=")
    page = browser.get(answer.location).text
    assert "Waiting for a worker" in page
    assert "disabled" in page


def test_pull_now_with_htmx_follows_the_job_until_it_ends(browser: FlaskClient, ask: Callable) -> None:
    first = browser.post(f"/devices/{story.THINKPAD.id}/pulls", headers={**HTMX, "HX-Target": "pull-now"}).text
    assert first.startswith('<div id="pull-now"')
    assert 'hx-trigger="every 1s"' in first
    done = ask(f"{STUDIO}?job={job_id('Pull studio', 42)}", "pull-now")
    assert "every 1s" not in done.text
    assert done.headers["HX-Trigger"] == "pulled"


def test_a_machine_that_is_unpaired_cannot_be_pulled(browser: FlaskClient, hub: Account) -> None:
    assert browser.post(f"{STUDIO}/unpair").status_code == 303
    page = browser.get(STUDIO).text
    assert "Pull now" not in page
    assert "Its sessions are still here." in page
    assert devices.get_device(hub.id, story.STUDIO.id).unpaired_at is not None


def test_unpairing_is_explained_before_it_is_done(browser: FlaskClient, hub: Account) -> None:
    assert "Unpair studio?" in browser.get(f"{STUDIO}/unpair").text
    assert devices.get_device(hub.id, story.STUDIO.id).unpaired_at is None


def test_rename(browser: FlaskClient) -> None:
    browser.post(f"{STUDIO}/name", data={"name": "  desk <b> "})
    page = browser.get(STUDIO).text
    assert "<h1>desk &lt;b&gt;</h1>" in page


def test_name_that_cannot_be_is_told(browser: FlaskClient) -> None:
    browser.post(f"{STUDIO}/name", data={"name": "   "})
    page = browser.get(STUDIO).text
    assert "1 to 200 characters" in page
    assert "<h1>studio</h1>" in page


def test_delete_wants_the_name(browser: FlaskClient) -> None:
    wrong = browser.post(f"{STUDIO}/delete", data={"name": "Studio"})
    assert wrong.status_code == 422
    assert "Type studio exactly" in wrong.text
    assert browser.get(STUDIO).status_code == 200


def test_delete_removes_machine_and_sessions(browser: FlaskClient) -> None:
    assert browser.post(f"{STUDIO}/delete", data={"name": "studio"}).location == "/devices"
    assert "everything that came from it are deleted" in browser.get("/devices").text
    assert browser.get(STUDIO).status_code == 404
    assert f"/sessions/{story.STUDIO.id}/" not in browser.get("/sessions").text


@pytest.mark.parametrize("path", ["", "/time", "/unpair", "/delete"])
def test_stranger_finds_no_machine(hub: Account, stranger: Account, client_of: Callable, path: str) -> None:
    assert client_of(stranger).get(f"{STUDIO}{path}").status_code == 404


@pytest.mark.parametrize("action", ["pulls", "name", "unpair", "delete"])
def test_stranger_can_do_nothing(hub: Account, stranger: Account, client_of: Callable, action: str) -> None:
    assert client_of(stranger).post(f"{STUDIO}/{action}", data={"name": "studio"}).status_code == 404
    device = devices.get_device(hub.id, story.STUDIO.id)
    assert (device.name, device.unpaired_at) == ("studio", None)
