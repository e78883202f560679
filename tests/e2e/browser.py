"""A tab in this machine's Chrome or Chromium. Without one the tests say so, or fail where a browser is required."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]


def find_browser() -> str:
    """The path of a Chrome or Chromium; skips the test, or fails it when MUSTER_REQUIRE_BROWSER is set."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found:
        return found
    message = "no Chrome or Chromium on this machine: the browser tests did not run"
    if os.environ.get("MUSTER_REQUIRE_BROWSER"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def tab() -> Iterator[Page]:
    """One tab at 1280 x 900 whose waits end after ten seconds."""
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chrome = playwright.chromium.launch(executable_path=find_browser(), args=[*sandbox, *QUIET])
        page = chrome.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(10_000)
        yield page
        chrome.close()
