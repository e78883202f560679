"""The quarantine of a machine: what is wrong with each session, tried again or dismissed."""

from collections.abc import Callable

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.pages import fleet, story
from webapp.blueprints import quarantine as pages
from webapp.blueprints.rejections import cut_out, explain
from webapp.database import transaction
from webapp.extensions import db
from webapp.features.accounts.models import Account
from webapp.features.sessions import quarantine
from webapp.features.sessions.models import QuarantinedSession, StoredSession
from webapp.features.sessions.parsing import reject

URL = f"/devices/{fleet.EQUINOX.id}/quarantine"


def list_ids() -> list[int]:
    db.session.rollback()
    wanted = select(QuarantinedSession.id).where(QuarantinedSession.dismissed_at.is_(None))
    return list(db.session.scalars(wanted.order_by(QuarantinedSession.id)))


def test_each_has_its_reason_its_pull_and_its_text(fleet_browser: FlaskClient) -> None:
    page = fleet_browser.get(URL).text
    assert "6 sessions could not be accepted and wait here" in page
    assert "linesAdded is not acceptable. Expected: integer 0-9007199254740991." in page
    assert "<mark>&#34;linesAdded&#34;:&#34;three&#34;</mark>" in page
    assert "projectName: has a NUL character." in page
    assert page.count(", direct</td>") == 6
    assert 'Quarantine <span class="count">6</span>' in page
    assert page.count(">Try again<") == 5, "the one that was cut cannot be tried again"


def test_the_raw_text_cannot_become_part_of_the_page(fleet_browser: FlaskClient) -> None:
    page = fleet_browser.get(URL).text
    assert "/home/ada/&lt;b&gt;x&lt;/b&gt;.py" in page and "<b>x</b>" not in page
    assert "\u202e" not in page and "\\u202e txt.exe" in page


def test_without_any_all_is_well(fleet_browser: FlaskClient) -> None:
    page = fleet_browser.get(f"/devices/{fleet.CASSINI.id}/quarantine").text
    assert "Nothing is in quarantine" in page and "Try all again" not in page
    assert 'class="count"' not in page


def test_try_again_stores_what_is_acceptable_now(fleet_browser: FlaskClient) -> None:
    _, told = next(story.tell())
    with transaction() as session:
        good = reject(msgspec.json.encode(told), "It was refused by an old rule.")
        quarantine.quarantine(session, fleet.EQUINOX.id, [good], None)
    newest = list_ids()[-1]
    answer = fleet_browser.post(f"{URL}/{newest}/retry")
    assert (answer.status_code, answer.location) == (303, URL)
    assert "1 session accepted and stored." in fleet_browser.get(URL).text
    assert newest not in list_ids()
    assert db.session.get(StoredSession, (fleet.EQUINOX.id, told.id)) is not None


def test_try_all_says_that_they_are_still_not_acceptable(fleet_browser: FlaskClient) -> None:
    assert fleet_browser.post(f"{URL}/retry").location == URL
    assert "Still not acceptable: 5 sessions." in fleet_browser.get(URL).text
    assert len(list_ids()) == 6


def test_one_that_was_cut_is_refused_in_words(fleet_browser: FlaskClient) -> None:
    fleet_browser.get(URL)
    db.session.rollback()
    cut = db.session.scalars(select(QuarantinedSession.id).where(QuarantinedSession.is_whole.is_(False))).one()
    fleet_browser.post(f"{URL}/{cut}/retry")
    assert "Not all of its text was kept" in fleet_browser.get(URL).text


def test_dismissing_asks_first(fleet_browser: FlaskClient) -> None:
    one = list_ids()[1]
    page = fleet_browser.get(f"{URL}/{one}/dismiss").text
    assert "Dismiss this session of equinox?" in page and "linesAdded is not acceptable" in page
    assert one in list_ids()
    assert fleet_browser.post(f"{URL}/{one}/dismiss").location == URL
    assert one not in list_ids()
    assert "5 sessions could not be accepted" in fleet_browser.get(URL).text
    assert fleet_browser.get(f"{URL}/{one}/dismiss").status_code == 404


def test_long_lists_have_pages(fleet_browser: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PER_PAGE", 4)
    first = fleet_browser.get(URL).text
    older = first.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
    rest = fleet_browser.get(older).text
    assert (first.count('id="raw-'), rest.count('id="raw-')) == (4, 2)
    assert fleet_browser.get(f"{URL}?cursor=nonsense").status_code == 400


def test_a_full_quarantine_says_so(fleet_browser: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "KEEP_PER_DEVICE", 6)
    page = fleet_browser.get(URL).text
    assert "The quarantine is full." in page and "beyond" not in page
    monkeypatch.setattr(pages, "COUNT_PER_DEVICE", 6)
    assert "and beyond 6 nothing" in fleet_browser.get(URL).text


@pytest.mark.parametrize("path", ["", "/1/dismiss"])
def test_a_stranger_finds_nothing(
    fleet_browser: FlaskClient, stranger: Account, client_of: Callable, path: str
) -> None:
    assert client_of(stranger).get(URL + path).status_code == 404


@pytest.mark.parametrize("path", ["/retry", "/1/retry", "/1/dismiss"])
def test_a_stranger_can_do_nothing(
    fleet_browser: FlaskClient, stranger: Account, client_of: Callable, path: str
) -> None:
    before = list_ids()
    assert client_of(stranger).post(URL + path).status_code == 404
    assert list_ids() == before


@pytest.mark.parametrize(
    ("reason", "text", "sentence", "marked"),
    [
        ("Object missing required field `sessionStartTime`", "{}", "sessionStartTime is missing. Expected: RFC", ""),
        ("Expected `int` >= 0 - at `$.linesAdded`", '{"linesAdded" : -4}', "linesAdded is not", '"linesAdded" : -4'),
        ("JSON is malformed: trailing comma in object (byte 10)", '{"id":"x",}', "It is no readable JSON.", ",}"),
        ("JSON is malformed: invalid utf-16 surrogate pair (byte 12)", '{"a":"\\ud800x"}', "It holds half of", "0x"),
        ("Input data was truncated", '{"id', "It ends in the middle", ""),
        ("sessionEndTime: before sessionStartTime.", '{"sessionEndTime":"a\\"b"}', "sessionEndTime: before", '"sess'),
        ("It is larger than 64 KiB (70000 bytes).", "{" * 9000, "It is larger than 64 KiB", ""),
        ("Something new.", "", "Something new.", ""),
        ("Expected `str` - at `$.ai[...]`", '{"ai":{"x":1}}', "ai[...] is not acceptable", '"ai":{"x":1'),
    ],
)
def test_reasons_in_plain_words(reason: str, text: str, sentence: str, marked: str) -> None:
    assert explain(reason).startswith(sentence)
    excerpt = cut_out(text, reason)
    assert excerpt.marked.startswith(marked) if marked else excerpt.marked == ""
    assert len(excerpt.before) + len(excerpt.marked) + len(excerpt.after) <= 3000
    assert excerpt.is_part == (len(text) > 3000)


def test_the_excerpt_is_around_what_is_wrong() -> None:
    text = '{"note":"' + "y" * 20_000 + '","linesAdded":"three","more":"' + "z" * 20_000 + '"}'
    excerpt = cut_out(text, "Expected `int`, got `str` - at `$.linesAdded`")
    assert (excerpt.marked, excerpt.is_part) == ('"linesAdded":"three"', True)
    assert len(excerpt.before) == 1000 and excerpt.after.startswith(',"more":"zz')
