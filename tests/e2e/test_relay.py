"""A machine that the hub cannot reach is pulled over the connection that it opens itself, by itself, and back again.

Real processes: the collector listens on an address where the hub does not look, as behind NAT or a firewall.
"""

import json
import time
from collections.abc import Iterator

import pytest
import requests

from tests.collectors import Json
from tests.e2e import muster
from tests.e2e.api import Api, make_owner
from tests.e2e.muster import Muster

pytestmark = pytest.mark.e2e

FILES = 300
FIRST_SECONDS, ALL_SECONDS = 10, 30
HIDDEN = "127.0.0.9"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """Muster whose collector is out of the hub's reach."""
    with muster.running(tmp_path_factory.mktemp("home"), collector_host=HIDDEN, PULL_INTERVAL="5") as started:
        yield started


@pytest.fixture(scope="module")
def api(hub: Muster) -> Api:
    """The hub's API as its owner's scripts use it."""
    return make_owner(hub)


def test_unreachable_machine_is_pulled_by_the_relay(hub: Muster, api: Api) -> None:
    work_on_files(hub)
    code = api.post("/api/pair/codes").json()["code"]
    began = time.monotonic()
    paired = hub.collector("pair", hub.url, code)
    assert paired.returncode == 0, paired.stdout + paired.stderr
    first = all_there = None
    while all_there is None and time.monotonic() - began < ALL_SECONDS:
        names = {session["fileName"] for session in list_sessions(api)}
        took = time.monotonic() - began
        first = took if first is None and names else first
        all_there = took if {f"part_{number}.py" for number in range(FILES)} <= names else None
        time.sleep(0.1)
    print(f"\nrelay: first sessions after {first} s, {FILES} of {FILES} after {all_there} s")
    assert first is not None
    assert first <= FIRST_SECONDS
    assert all_there is not None
    stored = list_sessions(api)
    assert len({session["id"] for session in stored}) == len(stored)


def test_hub_says_which_road_and_why(api: Api) -> None:
    end = time.monotonic() + ALL_SECONDS
    while (device := api.get("/api/devices").json()["devices"][0])["road"] is None and time.monotonic() < end:
        time.sleep(0.2)
    assert device["road"] == "relay"
    assert (device["state"]["level"], device["state"]["word"]) == ("ok", "Up to date, by relay")
    assert "connection that it opens itself" in device["state"]["sentence"]


def work_on_files(hub: Muster) -> None:
    """A day of heartbeats in which each of FILES files is worked on for a while."""
    told = json.loads(hub.collector("status", "--json").stdout)["wakatime"]
    now = time.time()
    beats: list[Json] = [
        {"entity": f"/home/ada/code/part_{number // 2}.py", "type": "file", "category": "coding", "is_write": True,
         "time": now - 86_400 + number * 60}
        for number in range(2 * FILES + 1)
    ]  # fmt: skip
    for place in range(0, len(beats), 100):
        answer = requests.post(
            told["apiUrl"] + "/users/current/heartbeats.bulk",
            json=beats[place : place + 100], auth=(told["apiKey"], ""), timeout=10,
        )  # fmt: skip
        assert answer.status_code in (201, 202), answer.text


def list_sessions(api: Api) -> list[Json]:
    """Every session that the hub has."""
    found: list[Json] = []
    cursor = ""
    while True:
        query = "sync_from_collector=false&limit=500" + (f"&cursor={cursor}" if cursor else "")
        answer = api.get(f"/api/sessions?{query}").json()
        found += answer["sessions"]
        cursor = answer["next_cursor"]
        if not answer["has_more"]:
            return found
