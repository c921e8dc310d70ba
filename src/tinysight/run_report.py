"""The page of a run, or of several side by side: diagnosis and results put together.

Neither the diagnosis nor the pages know of each other; this is the one place that knows both. It
needs run folders only: neither torch nor the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinysight import run_folder, whole_files
from tinysight.errors import RunError


@dataclass(frozen=True)
class RunReport:
    """A written page.

    Attributes:
        path: The HTML file.
        bytes: Its length.
        is_explained: Whether pictures and maps of ``tinysight explain`` were there for every run.
    """

    path: Path
    bytes: int
    is_explained: bool


def write_run_report(
    runs: str | Path | Sequence[str | Path], out: str | Path | None = None
) -> RunReport:
    """Write one self-contained HTML page about a run, or about several side by side.

    Args:
        runs: One run folder, or several.
        out: File to write; when not given, ``report.html`` in the run, or ``comparison.html`` in
            the first of several.

    Raises:
        RunError: Not a run folder, a damaged file in it, or a file that cannot be written.
    """
    from tinysight.classify.diagnosis import diagnose_run
    from tinysight.report.classify_page import build_run_page
    from tinysight.report.compare_page import build_comparison_page
    from tinysight.report.page_html import render_page
    from tinysight.report.run_results import load_run_results
    from tinysight.writable_names import writable

    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    if not folders:
        raise RunError("A report must be about at least one run, none was named.")
    is_one = len(folders) == 1
    name = run_folder.REPORT if is_one else run_folder.COMPARISON
    results = [load_run_results(folder, with_hits=not is_one) for folder in folders]
    if out is None:
        advice = "Change its permissions, or name another place with --out FILE.html."
        run_folder.require_writable(folders[0], advice=advice)
    out = folders[0] / name if out is None else Path(out)
    page = (
        build_run_page(results[0], diagnose_run(folders[0]))
        if is_one
        else build_comparison_page(results)
    )
    html = writable(render_page(page))
    whole_files.write_text(out, html)
    return RunReport(
        path=out,
        bytes=len(html.encode()),
        is_explained=all(result.explanation is not None for result in results),
    )
