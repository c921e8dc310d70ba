"""How long does the whole page on annotations of the size of COCO's take?

Runs ``tinysight boxes report`` on a file like ``instances_train2017.json`` (118,287 images, 860,001
boxes with polygons, about 470 MB, drawn with a fixed seed) from start to end: reading and judging,
counts, near-duplicates, anchors for each k with their certificates, elbow, charts, page, tables.
Peer: ``json.load`` of the same file and an index of its annotations by image, which is what
``pycocotools.coco.COCO(file)`` does before its first answer. Each in processes of its own, in turn.

    python benchmarks/boxes_report.py [--rounds 3] [--scale 1.0] [--keep FILE.json]
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from hardware import hardware_line
from pack_speed import Measured, measure
from read_boxes import write_coco

INDEX = """
import json, sys
from collections import defaultdict
content = json.load(open(sys.argv[1]))
annotations, by_image = {}, defaultdict(list)
for annotation in content["annotations"]:
    annotations[annotation["id"]] = annotation
    by_image[annotation["image_id"]].append(annotation)
"""
OURS, INDEXED = "tinysight boxes report", "json.load and an index"


def main() -> None:
    """Generate the file, run both in turn, print medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="write the file here and leave it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "instances.json"
        if not path.is_file():
            write_coco(path, arguments.scale)
        out = Path(folder) / "report"
        commands = {
            OURS: [sys.executable, "-m", "tinysight", "boxes", "report", str(path), "--out", out],
            INDEXED: [sys.executable, "-c", INDEX, str(path)],
        }
        print(hardware_line())
        print(f"{path.stat().st_size / 1e6:,.0f} MB, {arguments.rounds} rounds")
        taken: dict[str, list[Measured]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                shutil.rmtree(out, ignore_errors=True)
                taken[name].append(measure([str(word) for word in command]))
                if name == OURS:
                    page_mb = sum(file.stat().st_size for file in out.glob("*.html")) / 1e6
        ours = statistics.median(run.wall_s for run in taken[OURS])
        for name, runs in taken.items():
            seconds = [run.wall_s for run in runs]
            peak = max(run.peak_mb or 0.0 for run in runs)
            print(
                f"{name:24} {statistics.median(seconds):6.1f} s  ({min(seconds):.1f} to "
                f"{max(seconds):.1f})  {peak:6,.0f} MB  {statistics.median(seconds) / ours:5.2f} x"
            )
        print(f"page of {page_mb:.1f} MB")


if __name__ == "__main__":
    main()
