"""``tinysight demo``: the other commands, one after the other, on images the package draws."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "demo", help="a whole run on images that the package draws: no data, no network"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.set_defaults(run=run_demo)


def run_demo(arguments: argparse.Namespace) -> int:
    """Draw a data set, then run the commands that a user would type, saying each."""
    from tinysight.cli import main
    from tinysight.cli.progress import progress_bar
    from tinysight.report.boxes_folder import PAGE
    from tinysight.run_folder import REPORT
    from tinysight.samples import COCO_FILE, draw_samples

    out: Path = arguments.out
    source, store, run, boxes = out / "shapes", out / "store", out / "run", out / "boxes"
    with progress_bar("drawing") as report:
        drawn = draw_samples(source, report=report)
    print(
        f"drew {drawn.train_images + drawn.val_images:,} images of {len(drawn.classes)} shapes "
        f"in {source}, {drawn.mislabelled_images} of them with a wrong label",
        file=sys.stderr,
    )
    rates = ("--min-lr", 1e-3, "--max-lr", 3, "--steps", 200)
    for words in (
        ["data", "pack", source, "--out", store],
        ["data", "show", store, "--out", out / "images.png"],
        ["summary", "compact10", "--classes", len(drawn.classes)],
        ["lr-find", store, "--recipe", "smoke", *rates, "--out", out / "lr-find"],
        ["train", store, "--recipe", "smoke", "--out", run],
        ["explain", run],
        ["report", run],
        ["boxes", "report", source / COCO_FILE, "--images", source, "--out", boxes],
    ):
        command = [str(word) for word in words]
        print(f"\n$ tinysight {shlex.join(command)}", flush=True)
        code = main(command)
        if code:
            return code
    print(f"\nTwo pages to open in a browser:\n  {run / REPORT}\n  {boxes / PAGE}")
    return 0
