"""A real browser: Debian's Chromium, driven by Playwright; screenshots go where TESTS_SCREENSHOTS says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.needs import needed


@contextmanager
def a_browser(*, dark: bool = False, scripts: bool = True, failing: bool = False) -> Iterator[Page]:
    """A page of a browser that has nothing of another's; ``failing``: requests that fail are what is looked at."""
    chromium = needed("chromium", "chromium", "Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(
            viewport={"width": 1280, "height": 900}, color_scheme="dark" if dark else "light",
            java_script_enabled=scripts, accept_downloads=True,
        )  # fmt: skip
        page.set_default_timeout(20_000)
        wrong: list[str] = []
        expected = "Failed to load resource" if failing else None
        page.on(
            "console",
            lambda said: (
                wrong.append(said.text)
                if said.type == "error" and not (expected and said.text.startswith(expected))
                else None
            ),
        )
        page.on("pageerror", lambda problem: wrong.append(str(problem)))
        yield page
        browser.close()
        assert wrong == [], wrong  # what a browser says of a page


def shot(page: Page, name: str) -> None:
    """Keep what the page looks like, where somebody wants to see it."""
    folder = os.environ.get("TESTS_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
