"""Three days of a machine: switched off, pulled in two halves, one record corrupt. Real processes, a real browser."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import requests
from playwright.sync_api import Page, expect

from collector import wire
from tests.collector_server import Received, Reply
from tests.collectors import ExactCollector, Json, make_session
from tests.e2e import browser, muster
from tests.e2e.api import Api, make_owner
from tests.e2e.muster import Muster

pytestmark = pytest.mark.e2e

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
CORRUPT, OFF, CUT = (TODAY - timedelta(days=days) for days in (1, 2, 3))
SECONDS = 60


class HalfCollector(ExactCollector):
    """Breaks off every pull after its first page of four sessions, until it is healed."""

    def __init__(self) -> None:
        super().__init__()
        self.since_ms = wire.to_ms(TODAY - timedelta(days=6))
        self.ran_seconds = {f"{TODAY - timedelta(days=back):%Y-%m-%d}": 28_800 for back in (6, 5, 4, 3, 1, 0)}
        self.most_per_page = 4
        self.is_healed = False
        self.put(*make_day(CORRUPT, 1), make_day(CORRUPT, 2)[1] | {"totalDuration": -7}, *make_day(CUT, 6))

    def answer(self, request: Received) -> Reply:
        """As any collector, but the second page is nothing but an error."""
        if request.path == "/api/sessions/export" and request.json().get("cursor") and not self.is_healed:
            return Reply({"title": "Broken", "status": 500}, 500)
        return super().answer(request)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """Muster, freshly started."""
    with muster.running(tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture(scope="module")
def api(hub: Muster) -> Api:
    """The hub's API as its owner's scripts use it."""
    return make_owner(hub)


def test_three_days_are_told_apart(hub: Muster, api: Api) -> None:
    with HalfCollector() as collector, browser.tab() as page:
        pair(api, collector)
        wait_until(lambda: "The pull broke off" in (day_of(api, collector, CUT)["reason"] or ""))
        cut = day_of(api, collector, CUT)
        assert cut["status"] == "hole"
        assert (cut["held"], cut["sessions"]) == (2, 6)
        assert cut["reason"].startswith("4 sessions are still on the machine. The pull broke off: ")
        assert cut["next_try_at"] is not None
        sign_in(hub, page)
        page.goto(f"{hub.url}/devices/{collector.device_id}/coverage")
        expect_shape(page, CUT, "hole")
        expect(page.locator("#holes-title")).to_have_text("1 hole")

        collector.is_healed = True
        page.get_by_role("button", name="Refill").click()
        expect_shape(page, CUT, "complete")
        expect_shape(page, OFF, "off")
        expect_shape(page, CORRUPT, "complete", "marked")
        expect(page.locator("#holes-title")).to_have_count(0)
        assert [day_of(api, collector, day)["status"] for day in (CUT, OFF, CORRUPT)] == ["complete", "off", "complete"]
        corrupt = day_of(api, collector, CORRUPT)
        assert (corrupt["sessions"], corrupt["held"], corrupt["quarantined"]) == (2, 1, 1)


def make_day(day: datetime, count: int) -> list[Json]:
    """The first sessions of a day."""
    first = day.toordinal() * 1000
    start_ms = wire.to_ms(day + timedelta(hours=9))
    return [make_session(first + number, start_ms=start_ms + number * 1_200_000) for number in range(count)]


def pair(api: Api, collector: ExactCollector) -> None:
    """Redeems a fresh code for the collector."""
    claim = {
        "code": api.post("/api/pair/codes").json()["code"],
        "deviceId": collector.device_id,
        "name": "half",
        "platform": "linux",
        "version": "1.0",
        "port": collector.port,
    }
    answer = requests.post(f"{api.url}/api/pair/claim", json=claim, timeout=10)
    assert answer.status_code == 200, answer.text
    collector.pull_secret = answer.json()["pullSecret"]


def day_of(api: Api, collector: ExactCollector, day: datetime) -> Json:
    """What the API says of a day."""
    text = f"{day:%Y-%m-%d}"
    told: Json = api.get(f"/api/devices/{collector.device_id}/coverage?from={text}&to={text}").json()
    assert told["zone"] == "UTC"
    return dict(told["days"][0])


def wait_until(is_so: Callable[[], bool]) -> None:
    """Fails when it has not become so within a minute."""
    end = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < end, f"not so after {SECONDS} s"
        time.sleep(0.2)


def expect_shape(page: Page, day: datetime, *shapes: str) -> None:
    """The cell of the day wears these shapes, within a minute and without a reload by hand."""
    for shape in shapes:
        cell = page.locator(f'[id="cover-{day:%Y-%m-%d}"] path.cover-{shape}')
        expect(cell).to_have_count(1, timeout=SECONDS * 1000)


def sign_in(hub: Muster, page: Page) -> None:
    """As the owner."""
    page.goto(f"{hub.url}/login")
    page.fill("#name", "ada")
    page.fill("#password", "correct horse battery")
    page.click("button.primary")
    page.wait_for_selector(".side")
