"""What app.js and htmx add to the pages, in a real browser: polls, opening in place, keys, the countdown."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.e2e import browser
from tests.pages import story
from tests.pages.screenshots import running_hub, sign_in

pytestmark = pytest.mark.e2e

DAY = "/sessions?day=2026-11-17"


@pytest.fixture(scope="module")
def hub() -> Iterator[tuple[str, dict[str, str]]]:
    """The sample hub's address, and the address of a pairing code."""
    with running_hub() as running:
        yield running


@pytest.fixture(scope="module")
def tab(hub: tuple[str, dict[str, str]]) -> Iterator[Page]:
    """One signed-in tab."""
    with browser.tab() as page:
        page.clock.install(time=story.NOW)
        sign_in(page, hub[0], "ada")
        yield page


@pytest.fixture
def page(hub: tuple[str, dict[str, str]], tab: Page) -> Page:
    """The tab on the overview, with nothing complained about so far."""
    tab.goto(hub[0] + "/")
    return tab


def test_unchanged_overview_is_polled_without_an_answer_and_keeps_what_is_open(page: Page) -> None:
    page.locator("#days-table summary").click()
    with page.expect_response(lambda answer: answer.url.endswith("days=30")):
        page.clock.run_for(5100)
    with page.expect_response(lambda answer: answer.status == 204):
        page.clock.run_for(5100)
    expect(page.locator("#days-table")).to_have_attribute("open", "")


def test_keys_go_to_pages_and_show_themselves(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("dialog#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog#keys")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/devices")
    page.keyboard.press("/")
    expect(page.locator("input[type=search]")).to_be_focused()


def test_session_opens_from_the_picture_and_closes_in_place(hub: tuple[str, dict[str, str]], page: Page) -> None:
    page.goto(hub[0] + DAY)
    page.locator(".lane svg a").nth(3).click()
    expect(page.locator(".opened")).to_have_count(1)
    assert page.url.endswith(DAY)
    page.locator("tr.is-open a[aria-expanded]").click()
    expect(page.locator(".opened")).to_have_count(0)
    page.keyboard.press("[")
    page.wait_for_url("**day=2026-11-16")


def test_ages_and_countdown_run_on_by_themselves(hub: tuple[str, dict[str, str]], page: Page) -> None:
    age = page.locator(f"tr:has(#machine-{story.THINKPAD.id}) time")
    expect(age).to_have_text("19 h ago")
    page.clock.run_for(3_600_000)
    expect(age).to_have_text("20 h ago")
    page.goto(hub[0] + hub[1]["pairing-code"])
    expect(page.locator("[data-left]")).to_have_text(re.compile(r"\d+:\d\d left"))
    expect(page.locator("[data-copy]")).to_be_visible()


def test_the_longest_name_makes_no_page_wider_than_the_window(hub: tuple[str, dict[str, str]], page: Page) -> None:
    machine = f"{hub[0]}/devices/{story.STUDIO.id}"

    def rename(name: str) -> None:
        page.goto(machine)
        page.locator(".menu summary").click()
        page.fill("#name", name)
        page.get_by_role("button", name="Rename").click()
        expect(page.locator("h1")).to_have_text(name)

    size = page.viewport_size
    rename("W" * 100)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 844})
        for url in (f"{hub[0]}/", f"{hub[0]}/devices", machine, f"{machine}/coverage", f"{machine}/import"):
            page.goto(url)
            too_wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert page.evaluate(too_wide) == 0, (url, width)
    page.set_viewport_size(size or {"width": 1280, "height": 900})
    rename("studio")


def test_menus_close_when_one_looks_away(page: Page) -> None:
    page.locator(".menu summary").click()
    expect(page.locator(".menu")).to_have_attribute("open", "")
    page.locator("h1").click()
    expect(page.locator(".menu[open]")).to_have_count(0)


def test_pages_work_without_javascript(hub: tuple[str, dict[str, str]], tab: Page) -> None:
    assert tab.context.browser
    plain = tab.context.browser.new_context(java_script_enabled=False).new_page()
    sign_in(plain, hub[0], "ada")
    plain.goto(hub[0] + DAY)
    plain.locator("table.sessions a[aria-expanded]").first.click()
    expect(plain.locator("dl.facts")).to_contain_text("brought by the pull of")
    plain.goto(hub[0] + "/pairing")
    plain.locator("#make-code").click()
    expect(plain.locator("#pair-command")).to_contain_text("-m collector pair")
    expect(plain.locator("[data-left]")).to_contain_text("valid until")
    plain.context.close()
