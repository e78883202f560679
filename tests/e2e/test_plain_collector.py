"""Plain collectors, that know only `sessions`, `hasMore` and `lastSyncTime`, pulled completely by the real worker."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
import requests

from collector import wire
from tests.collectors import Json, PlainCollector, make_plain_session
from tests.e2e import muster
from tests.e2e.api import Api, make_owner
from tests.e2e.muster import Muster

pytestmark = pytest.mark.e2e

SESSIONS = 250
PER_SECOND = 7
"""So many change in the same second; 100 is no multiple of it, so every page edge cuts through a tie."""
GROWING = range(0, SESSIONS, 3)
START_MS = wire.now_ms() // 1000 * 1000 - 3_600_000
PULL_SECONDS = 30


class StartCollector(PlainCollector):
    """Means the start of a session by `since`, inclusively, and tells the time of day as `lastSyncTime`."""

    def export(self, asked: Json) -> Json:
        """One page, by start."""
        since_ms = wire.parse_ms(asked["since"]) if asked.get("since") else 0
        newer = sorted((one for one in self.sessions if _start_ms(one) >= since_ms), key=_start_ms)
        page = newer[: min(asked.get("limit", 100), self.most_per_page)]
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return {"sessions": page, "hasMore": len(newer) > len(page), "lastSyncTime": now}


COLLECTORS: dict[str, Callable[[], PlainCollector]] = {
    "changed after": PlainCollector,
    "changed at or after": lambda: PlainCollector(is_since_exclusive=False),
    "started at or after": StartCollector,
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """Muster, freshly started."""
    with muster.running(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture(scope="module")
def api(hub: Muster) -> Api:
    """The hub's API as its owner's scripts use it."""
    return make_owner(hub)


@pytest.mark.parametrize("meaning", COLLECTORS)
def test_plain_collector_is_pulled_completely(api: Api, meaning: str) -> None:
    with COLLECTORS[meaning]() as collector:
        for number in range(SESSIONS):
            collector.put(_changed_ms(number), _make(number))
        pair(api, collector)
        pull(api, collector)
        assert_same(api, collector)
        for number in GROWING:
            collector.put(_changed_ms(SESSIONS + number), _make(number) | {"totalDuration": 540, "totalEdits": 30})
        pull(api, collector)
        assert_same(api, collector)


def pair(api: Api, collector: PlainCollector) -> None:
    """Redeems a fresh code for the collector."""
    claim = {
        "code": api.post("/api/pair/codes").json()["code"],
        "deviceId": collector.device_id,
        "name": collector.name,
        "platform": "linux",
        "version": "1.0",
        "port": collector.port,
    }
    answer = requests.post(f"{api.url}/api/pair/claim", json=claim, timeout=10)
    assert answer.status_code == 200, answer.text
    collector.pull_secret = answer.json()["pullSecret"]


def pull(api: Api, collector: PlainCollector) -> None:
    """Pulls now, through the queue and the worker, and waits for the end of it."""
    job_id = api.post(f"/api/sessions/sync?device={collector.device_id}").json()["job_id"]
    end = time.monotonic() + PULL_SECONDS
    while (job := api.get(f"/api/jobs/{job_id}").json())["status"] in ("queued", "running"):
        assert time.monotonic() < end, f"not pulled within {PULL_SECONDS} s: {job}"
        time.sleep(0.1)
    assert (job["status"], job["error"]) == ("succeeded", None)


def assert_same(api: Api, collector: PlainCollector) -> None:
    """Fails unless the hub has every session of the collector once, as it is there."""
    stored = list(list_stored(api, collector.device_id))
    assert len(stored) == SESSIONS
    assert {_text(session) for session in stored} == {_text(session) for session in collector.sessions}


def list_stored(api: Api, device_id: str) -> Iterator[Json]:
    """The sessions of the device that the hub has, page by page."""
    cursor = ""
    while True:
        query = f"device={device_id}&limit=100&sync_from_collector=false"
        answer = api.get(f"/api/sessions?{query}" + (f"&cursor={cursor}" if cursor else "")).json()
        yield from answer["sessions"]
        cursor = answer["next_cursor"]
        if not answer["has_more"]:
            return


def _make(number: int) -> Json:
    """The `number`-th session; seven begin together, and every third is still going on."""
    is_growing = number in GROWING
    session = make_plain_session(number, start_ms=_changed_ms(number), minutes=4, isActive=is_growing)
    return session | ({"sessionEndTime": None} if is_growing else {})


def _changed_ms(number: int) -> int:
    return START_MS + number // PER_SECOND * 1000


def _start_ms(session: Json) -> int:
    return wire.parse_ms(session["sessionStartTime"])


def _text(session: Json) -> str:
    return json.dumps(session, sort_keys=True)
