"""Pictures of every page of the sample hub: `python -m tests.pages.screenshots OUTDIR [PAGE ...]`.

Each at 1280 and 390 pixels, light and dark, as of the hour in which the story ends. Prints the browser's complaints.
"""

import datetime
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask_migrate import upgrade
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from werkzeug.serving import make_server

from tests.e2e.browser import NAMES
from tests.pages import fleet, sample, story
from webapp import create_app, read_config
from webapp.extensions import limiter
from webapp.features.accounts.service import create_account
from webapp.features.devices.service import create_code
from webapp.features.jobs import service as jobs
from webapp.lib import clock

ROOT = Path(__file__).parent.parent.parent
PERSON, PASSWORD = "ada", "a long enough password"
PAGES = {
    "overview": "/",
    "overview-7-days": "/?days=7",
    "machines": "/devices",
    "machine": f"/devices/{story.STUDIO.id}",
    "machine-in-trouble": f"/devices/{story.BUILDBOX.id}",
    "machine-time": f"/devices/{story.THINKPAD.id}/time",
    "machine-import": f"/devices/{story.STUDIO.id}/import",
    "machine-coverage": f"/devices/{story.STUDIO.id}/coverage",
    "machine-coverage-away": f"/devices/{story.THINKPAD.id}/coverage",
    "machine-coverage-broken": f"/devices/{story.BUILDBOX.id}/coverage",
    "machine-unpair": f"/devices/{story.STUDIO.id}/unpair",
    "machine-delete": f"/devices/{story.STUDIO.id}/delete",
    "pairing": "/pairing",
    "sessions-day": "/sessions?day=2026-11-17",
    "sessions-today": "/sessions?day=today",
    "sessions-all": "/sessions?project=windrose",
    "jobs": "/jobs",
    "job-running": f"/jobs/{sample.job_id('Pull studio', 0)}",
    "job-failed": f"/jobs/{sample.job_id('Pull build-box', 95)}",
    "settings": "/settings",
    "tokens": "/settings/tokens",
    "not-found": "/nothing/here",
}
FLEET_PAGES = {
    "fleet-overview": "/",
    "fleet-machines": "/devices?sort=state",
    "fleet-relayed": f"/devices/{fleet.CASSINI.id}",
    "fleet-out-of-reach": f"/devices/{fleet.HUYGENS.id}",
    "fleet-silent": f"/devices/{fleet.GALILEO.id}",
    "fleet-quarantine": f"/devices/{fleet.EQUINOX.id}/quarantine",
    "fleet-quarantine-empty": f"/devices/{fleet.CASSINI.id}/quarantine",
    "fleet-dismiss": f"/devices/{fleet.EQUINOX.id}/quarantine/3/dismiss",
}
"""Pages of somebody with a machine in every state."""
SHAPES = [(width, theme) for width in (1280, 390) for theme in ("light", "dark")]


@contextmanager
def running_hub() -> Iterator[tuple[str, dict[str, str]]]:
    """A hub with the sample in it, its clock set to the story's end; its address, and pages that only now have one."""
    started, real = time.monotonic(), (clock.utc_now, clock.now_ms)
    clock.utc_now = lambda: story.NOW + datetime.timedelta(seconds=time.monotonic() - started)
    clock.now_ms = lambda: int(clock.utc_now().timestamp() * 1000)
    folder = tempfile.mkdtemp()
    app = create_app(read_config({"MUSTER_DATA_DIR": folder, "REDIS_URL": "unix:///nowhere.sock"}))
    app.before_request(stay_alive)
    with app.app_context():
        upgrade(directory=str(ROOT / "migrations"))
        account = create_account(PERSON, PASSWORD, is_admin=True, timezone="Europe/Berlin")
        create_account("newcomer", PASSWORD, timezone="Europe/Berlin")
        fleet.fill(create_account("grace", PASSWORD, timezone="Europe/Berlin").id)
        sample.fill(account.id)
        pages = {"pairing-code": f"/pairing/{create_code(account.id)[1]}"}
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.port}", pages
    finally:
        server.shutdown()
        clock.utc_now, clock.now_ms = real
        shutil.rmtree(folder)


def stay_alive() -> None:
    """The sample's processes live as long as anybody looks."""
    for name, role in sample.PROCESSES.items():
        jobs.beat(name, role)


@contextmanager
def window(browser: Browser, width: int, theme: str) -> Iterator[Page]:
    """A page of that width and theme, at the story's hour, that prints complaints."""
    context: BrowserContext = browser.new_context(
        viewport={"width": width, "height": 900 if width > 900 else 844},
        color_scheme=theme,
        device_scale_factor=1 if width > 900 else 2,
    )
    page = context.new_page()
    page.clock.install(time=story.NOW)
    page.on("pageerror", lambda error: print(f"{page.url}: {error}"))
    page.on("console", lambda message: message.type in ("error", "warning") and print(f"{page.url}: {message.text}"))
    yield page
    context.close()


def sign_in(page: Page, url: str, name: str) -> None:
    """Through the form, as a person would, and more often in a minute than a person may."""
    limiter.reset()
    page.context.clear_cookies()
    page.goto(f"{url}/login")
    page.fill("#name", name)
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    page.wait_for_selector(".side, footer")


def shoot(page: Page, path: Path, *, is_whole: bool = True) -> None:
    """One picture, and a complaint when the page is wider than the window."""
    page.wait_for_load_state("networkidle")
    if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
        print(f"{page.url}: wider than the window at {page.viewport_size}")
    page.screenshot(path=path, full_page=is_whole)


def shoot_all(page: Page, url: str, pages: dict[str, str], folder: Path, suffix: str) -> None:
    """Every page in one width and theme."""
    sign_in(page, url, PERSON)
    for name, path in pages.items():
        if name in FLEET_PAGES:
            continue
        page.goto(url + path)
        shoot(page, folder / f"{name}-{suffix}.png", is_whole=suffix.startswith("1280"))
    shoot_fleet(page, url, [name for name in FLEET_PAGES if name in pages], folder, suffix)
    sign_in(page, url, PERSON)
    page.goto(f"{url}/sessions?day=2026-11-17")
    page.locator("table.sessions a[aria-expanded]").nth(2).click()
    page.wait_for_selector(".opened")
    shoot(page, folder / f"session-opened-{suffix}.png", is_whole=False)
    sign_in(page, url, "newcomer")
    shoot(page, folder / f"first-steps-{suffix}.png")
    page.context.clear_cookies()
    page.goto(f"{url}/login")
    shoot(page, folder / f"sign-in-{suffix}.png")


def shoot_fleet(page: Page, url: str, names: list[str], folder: Path, suffix: str) -> None:
    """The pages of somebody with a machine in every state; the first text of the quarantine is open."""
    if names:
        sign_in(page, url, "grace")
    for name in names:
        page.goto(url + FLEET_PAGES[name])
        if name == "fleet-quarantine":
            page.locator("details.table > summary").nth(1).click()
        shoot(page, folder / f"{name}-{suffix}.png")


def main(folder: Path, names: list[str]) -> None:
    """All pictures, or those of the pages named."""
    folder.mkdir(parents=True, exist_ok=True)
    program = next(path for name in NAMES if (path := shutil.which(name)))
    with running_hub() as (url, more), sync_playwright() as playwright:
        pages = {name: path for name, path in (PAGES | FLEET_PAGES | more).items() if not names or name in names}
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, theme in SHAPES:
            with window(browser, width, theme) as page:
                shoot_all(page, url, pages, folder, f"{width}-{theme}")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
