"""A real Chromium, offline, that notes whatever a page does wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.report.runs import explain_run, make_run

_INSTALLED = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_LOCAL = ("file:", "data:", "blob:", "about:")


# Scoped to this folder: where Playwright runs, an event loop runs, and asyncio.run() fails.
@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="package")
def browser(playwright: Playwright) -> Iterator[Browser]:
    """One browser for all tests: an installed one, else Debian's, else Playwright's own."""
    path = _installed() or _from_debian() or _from_playwright(playwright)
    if path is None:
        pytest.fail(
            "no Chromium: none is installed, apt-get and `playwright install chromium` gave none. "
            "Install one; the page is only as good as it is in a browser."
        )
    opened = playwright.chromium.launch(executable_path=path)
    yield opened
    opened.close()


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, _INSTALLED)), None)


def _from_debian() -> str | None:
    if not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return None
    for words in (
        ["update", "-qq"],
        ["install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        subprocess.run(["apt-get", *words], check=False, capture_output=True, timeout=600)
    return _installed()


def _from_playwright(playwright: Playwright) -> str | None:
    subprocess.run(
        [sys.executable, "-m", "playwright", "install", "chromium"],
        check=False,
        capture_output=True,
        timeout=600,
    )
    path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


@dataclass
class Visit:
    """A page in the browser, and what it did wrong so far."""

    page: Page
    screenshots: Path
    faults: list[str] = field(default_factory=list)

    def open(self, path: Path, anchor: str = "") -> Visit:
        self.page.goto(f"{path.as_uri()}{anchor}")
        return self

    def keep_screenshot(self, name: str, *, full_page: bool = False) -> None:
        self.page.screenshot(path=self.screenshots / f"{name}.png", full_page=full_page)

    def draw_all(self) -> None:
        """Scroll to every chart and widget until all are drawn."""
        for place in self.page.locator(".chart, .confusion, .gallery").all():
            if place.is_visible():
                place.scroll_into_view_if_needed()
        # Not page.wait_for_function: it makes code of a text, which the page's policy forbids.
        expect(self.page.locator(".chart:not([data-state]):visible")).to_have_count(0)
        expect(self.page.locator(".chart[data-state=drawing]")).to_have_count(0)


Visitor = Callable[..., Visit]


@pytest.fixture
def visit(browser: Browser, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """Open pages offline; the test fails at its end if one of them did anything wrong."""
    kept = os.environ.get("TINYSIGHT_SCREENSHOTS")
    screenshots = Path(kept) if kept else tmp_path
    screenshots.mkdir(parents=True, exist_ok=True)
    contexts: list[BrowserContext] = []
    visits: list[Visit] = []

    def open_page(
        path: Path, anchor: str = "", *, width_px: int = 1280, scheme: str = "light"
    ) -> Visit:
        context = browser.new_context(
            offline=True,
            viewport={"width": width_px, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
        )
        context.set_default_timeout(20_000)
        page = context.new_page()
        visit = Visit(page, screenshots)
        page.on("console", lambda message: visit.faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: visit.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: visit.faults.append(f"dialog: {dialog.message}"))
        page.on(
            "request",
            lambda sent: (
                None if sent.url.startswith(_LOCAL) else visit.faults.append(f"request: {sent.url}")
            ),
        )
        contexts.append(context)
        visits.append(visit)
        return visit.open(path, anchor)

    yield open_page
    faults = [fault for visit in visits for fault in visit.faults]
    for context in contexts:
        context.close()
    assert not faults


@pytest.fixture(scope="package")
def report_html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run that was explained, written by the command."""
    from tinysight.cli import main

    run = explain_run(make_run(tmp_path_factory.mktemp("runs") / "explained"))
    assert main(["report", str(run)]) == 0
    return run / "report.html"


@pytest.fixture(scope="package")
def comparison_html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two runs side by side, written by the command."""
    from tinysight.cli import main

    folder = tmp_path_factory.mktemp("pair")
    runs = [make_run(folder / "first"), make_run(folder / "second", seed=1, train__epochs=9)]
    assert main(["report", *map(str, runs)]) == 0
    return runs[0] / "comparison.html"
