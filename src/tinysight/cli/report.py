"""``tinysight report``."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "report",
        help="one page on a run, or on several side by side, that opens from disk",
        description="Write one HTML file on a run: how training went, what the network confuses, "
        "which images it missed and where it looked. It needs no network and no server. "
        "With several runs: their curves on the same axes and what differs.",
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder that `tinysight train` wrote"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE.html",
        help="file to write (default: report.html in the run, comparison.html in the first)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> int:
    """Write the page and say where it is."""
    from tinysight import cli
    from tinysight.cli.output import check_file_to_write, print_json, print_lines
    from tinysight.run_report import write_run_report

    runs: list[Path] = arguments.runs
    if arguments.out is not None:
        check_file_to_write(arguments.out, suffixes=(".html", ".htm"))
    report = write_run_report(runs, arguments.out)
    if arguments.json:
        print_json(
            {
                "runs": [str(run) for run in runs],
                "page": str(report.path),
                "bytes": report.bytes,
                "is_explained": report.is_explained,
            }
        )
        return cli.OK
    print_lines([f"page        {report.path} ({report.bytes / 1e6:.1f} MB)"])
    if len(runs) == 1 and not report.is_explained:
        print_lines([f"            {_what_is_missing(runs[0])}"])
    return cli.OK


def _what_is_missing(run: Path) -> str:
    from tinysight import run_folder

    if (run / run_folder.MODEL).exists():
        command = shlex.join(["tinysight", "explain", str(run)])
        return f"without pictures of mistakes; add them with: {command}"
    store = str(run_folder.read_run(run)["store"])
    where = ""
    if not os.path.exists(store):
        store, where = "STORE", f"; {store}, where its store was, is no longer there"
    command = shlex.join(["tinysight", "train", store, "--out", str(run), "--resume"])
    return f"the run is not finished; go on with: {command}{where}"
