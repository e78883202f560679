"""A newcomer's first hour: start, own, pair, work, see it. Real processes, a real browser, a real WakaTime client."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import browser, muster
from tests.e2e.muster import Muster

pytestmark = pytest.mark.e2e

WAKATIME = Path(__file__).parent / "wakatime_client.py"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """Muster, freshly started; its routine pulls come three times as often, so that nobody waits a minute for them."""
    with muster.running(tmp_path_factory.mktemp("home"), PULL_INTERVAL="20") as started:
        yield started


@pytest.fixture(scope="module")
def page(hub: Muster) -> Iterator[Page]:
    """One browser tab, kept over the whole story."""
    with browser.tab() as tab:
        yield tab


def test_owner_is_made_through_the_printed_link(hub: Muster, page: Page) -> None:
    page.goto(hub.setup_link)
    page.get_by_label("Name").fill("ada")
    page.locator("[name=password]").fill("correct horse battery")
    page.locator("[name=password_again]").fill("correct horse battery")
    page.locator("main form button").first.click()
    expect(page.get_by_role("link", name="Pair a machine").first).to_be_visible()


def test_machine_is_paired_in_under_a_minute(hub: Muster, page: Page) -> None:
    start = time.monotonic()
    page.goto(f"{hub.url}/pairing")
    page.locator("#make-code").click()
    code = page.url.rsplit("/", 1)[1]
    paired = hub.collector("pair", hub.url, code)
    assert paired.returncode == 0, paired.stdout + paired.stderr
    expect(page.get_by_text("Paired").first).to_be_visible(timeout=10_000)
    assert time.monotonic() - start < 60
    assert page.locator("[hx-get*='/pairing/']").count() == 0, "a claimed code must stop polling"


def test_saved_file_and_heartbeat_arrive(hub: Muster, page: Page) -> None:
    beacon = hub.code_folder / "lighthouse" / "beacon.py"
    save_until(lambda: _is_on_overview(page, hub, "lighthouse"), beacon)
    send_heartbeats(hub, beacon)
    page.goto(f"{hub.url}/devices")
    page.locator("main").get_by_role("link").filter(has_text=device_name(page)).first.click()
    page.get_by_role("button", name="Pull now").click()
    page.goto(f"{hub.url}/sessions")
    expect(page.locator("main")).to_contain_text("beacon.py", timeout=10_000)


def test_hub_holds_exactly_what_the_collector_has(hub: Muster, page: Page) -> None:
    answer = page.request.get(f"{hub.url}/api/sessions?sync_from_collector=false&limit=500").json()
    names = {session["fileName"] for session in answer["sessions"]}
    assert "beacon.py" in names
    sources = {source for session in answer["sessions"] for source in session["sources"]}
    assert {"wakatime", "filesystem"} & sources


def device_name(page: Page) -> str:
    """The name of the one paired machine."""
    devices = page.request.get(page.url.split("/devices")[0] + "/api/devices").json()["devices"]
    assert len(devices) == 1
    return str(devices[0]["name"])


def save_until(is_there: Callable[[], bool], path: Path, seconds: float = 60) -> None:
    """Saves a file again and again, as somebody at work does, until it is seen; fails after a minute."""
    end = time.monotonic() + seconds
    for turn in range(1_000):
        path.write_text(f"print('light', {turn})\n")
        if is_there():
            return
        assert time.monotonic() < end, "the saved file was not on the overview within a minute"
        time.sleep(2)


def send_heartbeats(hub: Muster, entity: Path) -> None:
    """Two heartbeats, a moment apart, by the real WakaTime client with the lines that `collector status` prints."""
    import json

    facts = json.loads(hub.collector("status", "--json").stdout)["wakatime"]
    now = time.time()
    for moment in (now - 120, now - 60):
        words = ["--entity", str(entity), "--key", facts["apiKey"], "--time", f"{moment:.3f}"]
        words += [
            "--api-url",
            facts["apiUrl"] + "/users/current/heartbeats.bulk",
            "--plugin",
            "vim/9.0 vim-wakatime/11",
        ]
        sent = subprocess.run(
            [sys.executable, str(WAKATIME), *words],
            env=muster.environment(hub.home, hub.port, hub.collector_port) | {"WAKATIME_HOME": str(hub.home)},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert sent.returncode == 0, sent.stdout + sent.stderr


def _is_on_overview(page: Page, hub: Muster, text: str) -> bool:
    page.goto(hub.url + "/")
    return page.locator("main").get_by_text(text).count() > 0
