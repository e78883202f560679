"""The collector's page and the local user's calls: who sees it, what its forms do, what they say when they cannot."""

import shutil
import time
from pathlib import Path

import pytest
import time_machine
from flask.testing import FlaskClient

from collector import status, tickets, wire
from collector.running import Running
from collector.status import report
from collector.store import Link, Store
from tests.collector.api_fixtures import *  # noqa: F403 - fixtures
from tests.collector.api_fixtures import ORIGIN, make_link, make_observation
from tests.collector.fake_hub import FakeHub, fake_hub  # noqa: F401 - fixture

FROM_PAGE = {"Origin": ORIGIN}


@pytest.fixture
def visitor(client: FlaskClient, store: Store) -> FlaskClient:
    """A browser that has opened the page with a ticket."""
    assert client.get(f"/open/{tickets.mint_ticket(store)}").status_code == 200
    return client


def test_without_the_cookie_one_sentence_and_nothing_else(client: FlaskClient, store: Store) -> None:
    text = client.get("/").text
    assert "-m collector open" in text
    assert store.wakatime_key() not in text
    assert store.identity.device_id not in text
    assert "Pair" not in text


def test_without_the_cookie_a_paired_collector_leads_to_its_hub(client: FlaskClient, link: Link) -> None:
    text = client.get("/").text
    assert f'href="{link.hub_url}"' in text
    assert "Go to Home" in text
    assert link.token not in text


def test_a_ticket_opens_the_page_once(client: FlaskClient, store: Store) -> None:
    ticket = tickets.mint_ticket(store)
    assert client.get(f"/open/{ticket}").status_code == 200
    assert store.wakatime_key() in client.get("/").text
    other = client.application.test_client()
    assert other.get(f"/open/{ticket}").status_code == 404
    assert "Set-Cookie" not in other.get(f"/open/{ticket}").headers
    assert store.wakatime_key() not in other.get("/").text


def test_tickets_and_visits_end(client: FlaskClient, store: Store) -> None:
    with time_machine.travel(1_767_618_000, tick=False) as clock:
        late, good = tickets.mint_ticket(store), tickets.mint_ticket(store)
        clock.shift(tickets.TICKET_SECONDS - 1)
        client.get(f"/open/{good}")
        clock.shift(1)
        assert client.get(f"/open/{late}").status_code == 404
        assert store.wakatime_key() in client.get("/").text
        clock.shift(tickets.VISIT_SECONDS)
        assert store.wakatime_key() not in client.get("/").text


def test_no_secret_of_a_browser_is_on_disk(client: FlaskClient, store: Store) -> None:
    ticket = tickets.mint_ticket(store)
    cookie = client.get(f"/open/{ticket}").headers["Set-Cookie"].split("=")[1].split(";")[0]
    for file in store.path.parent.iterdir():
        assert ticket.encode() not in file.read_bytes()
        assert cookie.encode() not in file.read_bytes()


def test_the_page_has_no_inline_script_or_style(visitor: FlaskClient) -> None:
    text = visitor.get("/").text
    assert "<style" not in text
    assert " style=" not in text
    assert " onclick" not in text
    assert text.count("<script") == text.count("<script src=") == 1


def test_pairing_from_the_page(visitor: FlaskClient, running: Running, fake_hub: FakeHub) -> None:  # noqa: F811
    form = {"hub_url": fake_hub.url, "code": "k7m-2qx"}
    answer = visitor.post("/page/pair", data=form, headers=FROM_PAGE)
    assert (answer.status_code, answer.location) == (303, "/?done=paired")
    assert "Paired. The hub&#39;s first pull is on the way." in visitor.get(answer.location).text
    link = running.store.find_link()
    assert link is not None
    assert link.hub_url == fake_hub.url
    assert fake_hub.claims[0]["code"] == "K7M2QX"
    assert fake_hub.claims[0]["port"] == running.port


def test_a_code_that_the_hub_does_not_know(visitor: FlaskClient, store: Store, fake_hub: FakeHub) -> None:  # noqa: F811
    form = {"hub_url": fake_hub.url, "code": "AAAAAA"}
    answer = visitor.post("/page/pair", data=form, headers=FROM_PAGE)
    assert answer.status_code == 422
    assert "The hub does not know this code" in answer.text
    assert 'value="AAAAAA"' in answer.text
    assert store.find_link() is None


@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}, {"Origin": "http://127.0.0.1:3000"}])
def test_no_other_site_can_pair(visitor: FlaskClient, store: Store, headers: dict[str, str]) -> None:
    answer = visitor.post("/page/pair", data={"hub_url": "http://evil.example", "code": "K7M2QX"}, headers=headers)
    assert answer.status_code in (401, 403)
    assert store.find_link() is None


def test_unpairing_from_the_page(visitor: FlaskClient, store: Store, fake_hub: FakeHub) -> None:  # noqa: F811
    store.save_link(make_link(store, fake_hub.url))
    fake_hub.token = "the device token"
    answer = visitor.post("/page/unpair", headers=FROM_PAGE)
    assert answer.location == "/?done=unpaired"
    assert store.find_link() is None
    assert fake_hub.unpaired == 1


def test_unpairing_while_the_hub_is_away(visitor: FlaskClient, store: Store) -> None:
    store.save_link(make_link(store, "http://127.0.0.1:9"))
    assert visitor.post("/page/unpair", headers=FROM_PAGE).location == "/?done=untold"
    assert store.find_link() is None


def test_folders_from_the_page(visitor: FlaskClient, store: Store, tmp_path: Path) -> None:
    assert visitor.post("/page/paths", data={"path": str(tmp_path)}, headers=FROM_PAGE).status_code == 303
    assert str(tmp_path) in visitor.get("/").text
    path_id = store.list_paths()[0].id
    assert visitor.post(f"/page/paths/{path_id}/remove", headers=FROM_PAGE).location == "/?done=forgotten"
    assert store.list_paths() == []


def test_past_commits_from_the_page(visitor: FlaskClient, running: Running, tmp_path: Path) -> None:
    assert "Import past sessions" not in visitor.get("/").text  # there is no folder to look in
    running.store.add_path(tmp_path)
    assert "Import past sessions" in visitor.get("/").text
    assert visitor.post("/page/import-git", headers=FROM_PAGE).location == "/?done=importing"
    deadline = time.monotonic() + 10
    while running.history.is_running:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert "Import again" in visitor.get("/").text


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("code", "is not a full path"),
        ("/no/such/folder", "There is no folder /no/such/folder."),
        ("/", "holds the whole system"),
        ("/etc/..", "holds the whole system"),
        ("a\x00b", "a path has no NUL character"),
        ("", "is not a full path"),
        ("<script>alert(1)</script>", "&lt;script&gt;"),
    ],
)
def test_folders_that_cannot_be_watched(visitor: FlaskClient, store: Store, path: str, sentence: str) -> None:
    answer = visitor.post("/page/paths", data={"path": path}, headers=FROM_PAGE)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "<script>alert" not in answer.text
    assert store.list_paths() == []


def test_a_field_that_is_far_too_long(visitor: FlaskClient) -> None:
    answer = visitor.post("/page/paths", data={"path": "/" + "x" * 5000}, headers=FROM_PAGE)
    assert answer.status_code == 422


def test_errors_are_pages_for_browsers(client: FlaskClient) -> None:
    accepts = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"
    answer = client.get("/nowhere", headers={"Accept": accepts})
    assert answer.status_code == 404
    assert answer.mimetype == "text/html"
    assert "There is nothing at this address." in answer.text


def test_local_calls_with_the_token(
    client: FlaskClient, running: Running, as_user: dict[str, str], tmp_path: Path
) -> None:
    status = client.get("/status", headers=as_user).json
    assert status["running"] is True
    assert status["paired"] is False
    assert status["port"] == running.port
    assert status["wakatime"] == {
        "apiUrl": "http://127.0.0.1:8001/api/v1",
        "apiKey": running.store.wakatime_key(),
    }
    assert set(status["sources"]) == {"filesystem", "wakatime", "git"}
    assert "localToken" not in status
    added = client.post("/paths", json={"path": str(tmp_path)}, headers=as_user)
    assert added.status_code == 201
    again = client.post("/paths", json={"path": str(tmp_path)}, headers=as_user)
    assert again.json == added.json
    assert client.get("/paths", headers=as_user).json == {"paths": [added.json]}
    assert client.post("/scan/trigger", json={"path": str(tmp_path)}, headers=as_user).status_code == 202
    assert client.post("/scan/trigger", json={"path": "/other"}, headers=as_user).status_code == 404
    assert client.delete(f"/paths/{added.json['id']}", headers=as_user).status_code == 204
    assert client.delete(f"/paths/{added.json['id']}", headers=as_user).status_code == 404
    assert client.get("/config", headers=as_user).json["port"] == running.port


def test_the_hub_is_told_no_path_and_no_secret(running: Running, tmp_path: Path) -> None:
    running.store.add_path(tmp_path)
    running.store.add_observations([make_observation()])
    running.filesystem.rescan()
    told = report(running)
    assert told["port"] == running.port
    assert told["sources"]["wakatime"] == {
        "state": "receiving",
        "lastHeartbeatAt": "2026-01-05T13:00:00.000Z",
        "editor": "vim",
    }
    assert set(told["sources"]["filesystem"]) == {"state", "lastAt"}
    for secret in (str(tmp_path), "a.py", running.store.wakatime_key(), running.store.local_token()):
        assert secret not in str(told)


def test_the_hub_is_told_that_the_disk_is_full(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(running.config.directory).free
    monkeypatch.setattr(status, "FULL_BYTES", free // 2)
    assert report(running)["disk"] == {"isFull": False}
    monkeypatch.setattr(status, "FULL_BYTES", free * 2)
    assert report(running)["disk"] == {"isFull": True}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "path: the full path of a folder, at most 4096 characters"),
        ({"path": 5}, "path: the full path of a folder, at most 4096 characters"),
        ({"path": "/", "recursive": "yes"}, "recursive: true"),
        ({"path": "/", "recursive": False}, "recursive: only true; a folder is watched with what is below it."),
        ({"path": "/nope"}, "path: There is no folder /nope."),
        ({"path": "/", "depth": 1}, "depth: unknown field. Known are path, recursive."),
    ],
)
def test_path_requests_that_cannot_be_used(
    client: FlaskClient, as_user: dict[str, str], body: dict[str, object], detail: str
) -> None:
    answer = client.post("/paths", json=body, headers=as_user)
    assert (answer.status_code, answer.json["detail"]) == (422, detail)


def test_the_page_tells_when_the_hub_is_away(visitor: FlaskClient, running: Running, link: Link) -> None:
    running.poller.trouble = "Nothing answers at http://127.0.0.1:8000."
    text = visitor.get("/").text
    assert "Paired, but out of touch" in text
    assert "Nothing is lost" in text
    running.poller.trouble, running.poller.last_answer_ms = None, wire.now_ms()
    assert "In touch with Home." in visitor.get("/").text
