"""A headless Chromium that shows pages from a disk, and what they asked for or complained of."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# A browser as root needs --no-sandbox; the others keep it from asking its maker for anything.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
PATIENCE = 120_000  # ms, of a busy machine


def program() -> str:
    """The path of Chromium; the test is skipped where there is none."""
    path = os.environ.get("TRTBENCH_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), "")
    if not path:
        pytest.skip("no Chromium: apt-get install chromium, or TRTBENCH_CHROMIUM=PATH")
    return path


@contextlib.contextmanager
def started() -> Iterator[Any]:
    """A browser of Playwright's."""
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program(), args=list(OPTIONS))
        yield browser
        browser.close()


class View:
    """A page that is open: ``requests`` and ``complaints`` are what it has caused so far."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1400, "height": 1000}} | options))
        self.context.set_default_timeout(PATIENCE)
        self.page = self.context.new_page()
        self.file = file
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", self._listen)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dialog)

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, address: str) -> Any:
        """Show a view by its address; the page when it is drawn."""
        self.page.goto("about:blank")
        self.page.goto(self.file.as_uri() + address)
        self.drawn()
        return self.page

    def drawn(self) -> None:
        """Wait until the view is there, plots included."""
        self.page.wait_for_selector("body[data-ready=yes]")

    def texts(self, selector: str) -> list[str]:
        """The visible texts of all elements."""
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

    def wider_than_the_screen(self) -> bool:
        """Whether the whole page scrolls sideways."""
        return bool(self.page.evaluate("document.scrollingElement.scrollWidth > document.documentElement.clientWidth"))
