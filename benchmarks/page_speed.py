"""How long does a page take to build and to show, and how large is it?

For an explained run: `tinysight report` in a fresh process, then the file opened from disk,
offline, in a headless Chromium: first paint, and the time until the gallery shows its pictures.
Aims for 33,000 test images: built in at most 60 s, at most 25 MB, first paint in under 1 s. Peer
for the paint: an empty page in the same browser, opened in turn.

    python benchmarks/page_speed.py RUN [--rounds 5]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hardware import hardware_line
from playwright.sync_api import Browser, sync_playwright

FIRST_PAINT = """
() => new Promise(done => new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.name === 'first-contentful-paint') done(entry.startTime);
  }
}).observe({ type: 'paint', buffered: true }))
"""
EMPTY = "<!doctype html><title>empty</title><p>nothing"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="a run that was explained")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    print(hardware_line())
    with tempfile.TemporaryDirectory() as folder:
        page, empty = Path(folder) / "report.html", Path(folder) / "empty.html"
        empty.write_text(EMPTY)
        builds_s = [build(arguments.run, page) for _ in range(arguments.rounds)]
        print(f"size                {page.stat().st_size / 1e6:8.2f} MB   (aim: 25)")
        show("build", builds_s, "s", "(aim: 60)")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium") or playwright.chromium.executable_path
            )
            open_page(browser, page)  # the first one of a browser warms it up
            paints, empties, galleries = [], [], []
            for _ in range(arguments.rounds):
                empties.append(open_page(browser, empty)[0])
                paint_ms, gallery_ms = open_page(browser, page, "#mistakes")
                paints.append(paint_ms)
                galleries.append(gallery_ms)
            version = browser.version
    show("first paint", paints, "ms", f"(aim: 1000), Chromium {version}")
    show("  of an empty page", empties, "ms", "")
    show("gallery is shown", galleries, "ms", "opened at #mistakes")


def build(run: Path, page: Path) -> float:
    """Return the seconds that the command takes."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "tinysight", "report", str(run), "--out", str(page)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def open_page(browser: Browser, path: Path, anchor: str = "") -> tuple[float, float]:
    """Return the milliseconds until the first paint and until the gallery has its pictures."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(f"{path.as_uri()}{anchor}")
    if anchor:
        page.locator(".tile img").first.wait_for()
    shown_ms = 1000 * (time.perf_counter() - began)
    paint_ms: float = page.evaluate(FIRST_PAINT)
    context.close()
    return paint_ms, shown_ms


def show(name: str, values: list[float], unit: str, remark: str) -> None:
    """Print one row of the table."""
    spread = f"{min(values):.1f} to {max(values):.1f}"
    print(f"{name:18} {statistics.median(values):8.1f} {unit:2}  {spread:>18}  {remark}")


if __name__ == "__main__":
    main()
