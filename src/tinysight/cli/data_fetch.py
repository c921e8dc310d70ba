"""``tinysight data fetch``: download a published archive."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinysight.cli.progress import Report

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_NAMES = ("tiny-imagenet",)  # a test compares them with what the library can fetch


def add_parser(commands: Subparsers) -> None:
    """Add ``fetch`` to the commands of ``tinysight data``."""
    parser = commands.add_parser(
        "fetch",
        help="download an archive: resumed where it broke off, checked before it is used",
        description="Download a published archive. An interrupted download goes on where it "
        "stopped, and the file gets its name only when its checksum is right.",
    )
    parser.add_argument("archive", choices=_NAMES, help="which archive")
    parser.add_argument("--dest", type=Path, required=True, metavar="DIR", help="where to put it")
    parser.add_argument("--url", help="another address of the same file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_fetch)


def run_fetch(arguments: argparse.Namespace) -> int:
    """Fetch the archive and say where it lies."""
    from tinysight import cli
    from tinysight.classify import download
    from tinysight.cli.output import print_json, print_lines
    from tinysight.cli.progress import progress_bar

    archive = download.ARCHIVES[arguments.archive]
    try:
        with progress_bar("download", unit="MB") as report:
            result = download.fetch_archive(
                archive, arguments.dest, url=arguments.url, report=_in_whole_mb(report)
            )
    except KeyboardInterrupt:
        print("tinysight: stopped; run the same command again to go on", file=sys.stderr)
        return cli.STOPPED
    if arguments.json:
        print_json(
            {
                "path": str(result.path),
                "bytes": result.size_bytes,
                "md5": result.md5,
                "received_bytes": result.received_bytes,
                "seconds": result.seconds,
            }
        )
        return cli.OK
    how = f"{result.received_bytes:,} received" if result.received_bytes else "already there"
    print_lines(
        [
            f"{result.path}: {result.size_bytes:,} bytes ({how}), MD5 {result.md5} as it must be",
            f"next: tinysight data pack {quote(str(result.path))} --out STORE",
        ]
    )
    return cli.OK


def _in_whole_mb(report: Report) -> Report:
    shown_mb = -1

    def report_bytes(done_bytes: int, total_bytes: int) -> None:
        nonlocal shown_mb
        if done_bytes // 10**6 != shown_mb:  # a line for each chunk would be too many
            shown_mb = done_bytes // 10**6
            report(shown_mb, total_bytes // 10**6)

    return report_bytes
