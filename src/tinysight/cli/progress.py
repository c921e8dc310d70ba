"""Progress on stderr: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PLAIN_LINE_EVERY_S = 10.0

Report = Callable[[int, int], None]


@contextmanager
def progress_bar(what: str, unit: str = "images") -> Iterator[Report]:
    """Yield a function ``report(done, total)`` that shows how far the work is.

    Args:
        what: The work, in one or two words.
        unit: What is counted.
    """
    if not sys.stderr.isatty():
        yield _plain_lines(what, unit)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeLeft())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None)

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield report


def _plain_lines(what: str, unit: str) -> Report:
    started = time.monotonic()
    next_line = started + PLAIN_LINE_EVERY_S

    def report(done: int, total: int) -> None:
        nonlocal next_line
        now = time.monotonic()
        if now >= next_line or done == total:
            print(f"{what}: {done:,} of {total:,} {unit}, {now - started:.0f} s", file=sys.stderr)
            next_line = now + PLAIN_LINE_EVERY_S

    return report
