"""How long do 100 million boxes from Parquet shards take, and how much memory?

Measured is everything from start to end: every count of the summary, the near-duplicates, the
histogram of sizes, and nine anchors fitted to it. Peer: pyarrow in one process that reads the same
columns and counts boxes by class, and nothing else. Both run in fresh processes; memory is the
largest sum over a process and its children, looked at 20 times a second. Shards are drawn with a
fixed seed and kept in --work, about 2.3 GB for 100 million boxes.

    python benchmarks/many_boxes.py [--millions 10] [--rounds 3] [--workers N] [--work DIR]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hardware import hardware_line
from pack_speed import Measured, measure

BOXES_PER_SHARD = 1_000_000
BOXES_PER_IMAGE = 7.3  # COCO's
CLASSES = 80

PLAIN_COUNT = """
import sys
import pyarrow.parquet as pq
counts = {}
for path in sys.argv[1:]:
    for value in pq.read_table(path)["class"].value_counts().to_pylist():
        counts[value["values"]] = counts.get(value["values"], 0) + value["counts"]
print(sum(counts.values()))
"""

EVERYTHING = """
import sys
from tinysight.boxes.engine import summarize_shards
from tinysight.boxes.histogram_anchors import fit_to_histogram
if __name__ == "__main__":
    found = summarize_shards(sys.argv[2:], num_workers=int(sys.argv[1]))
    fitted = fit_to_histogram(found.histogram, (9,), input_size_wh=(640, 640), fit="letterbox")
    print(found.accepted, fitted[0].mean_best_iou)
"""


def write_shard(path: Path, number: int) -> None:
    """Draw one shard: sizes log-normal as COCO's are, classes as uneven, whole images."""
    rng = np.random.default_rng([7, number])
    num_images = int(BOXES_PER_SHARD / BOXES_PER_IMAGE)
    image = np.sort(rng.integers(0, num_images, BOXES_PER_SHARD))
    image_wh = rng.integers(320, 641, (num_images, 2)).astype(np.int32)
    side = np.exp(rng.normal(-2.2, 1.0, (BOXES_PER_SHARD, 2))).clip(0.004, 1.0)
    wh = (side * image_wh[image]).astype(np.float32)
    xy = ((image_wh[image] - wh) * rng.random((BOXES_PER_SHARD, 2))).astype(np.float32)
    weights = 1 / np.arange(1, CLASSES + 1)
    owner = rng.choice(CLASSES, BOXES_PER_SHARD, p=weights / weights.sum()).astype(np.int32)
    names = pa.array([f"class {index}" for index in range(CLASSES)])
    columns = {
        "image": pa.array(image + number * num_images),
        "image_width": pa.array(image_wh[image, 0]),
        "image_height": pa.array(image_wh[image, 1]),
        "x": pa.array(xy[:, 0]),
        "y": pa.array(xy[:, 1]),
        "width": pa.array(wh[:, 0]),
        "height": pa.array(wh[:, 1]),
        "class": pa.DictionaryArray.from_arrays(pa.array(owner), names),
    }
    pq.write_table(pa.table(columns), path)


def main() -> None:
    """Draw the shards, measure both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millions", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=Path, help="folder for the shards")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        shards = [Path(folder) / f"{number:03}.parquet" for number in range(arguments.millions)]
        for number, path in enumerate(shards):
            write_shard(path, number)
        size_mb = sum(path.stat().st_size for path in shards) / 1e6
        print(hardware_line())
        print(
            f"{arguments.millions} million boxes in {len(shards)} shards of {size_mb:.0f} MB, "
            f"{arguments.workers} workers, {arguments.rounds} rounds, "
            f"load {os.getloadavg()[0]:.1f} before"
        )
        names = [str(path) for path in shards]
        script = Path(folder) / "everything.py"  # spawned workers import the main module
        script.write_text(EVERYTHING)
        commands = {
            "pyarrow, counts by class only": [sys.executable, "-c", PLAIN_COUNT, *names],
            "tinysight, summary and 9 anchors": [
                sys.executable, str(script), str(arguments.workers), *names,
            ],
        }  # fmt: skip
        found: dict[str, list[Measured]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                found[name].append(measure(command))
    plain_s = statistics.median(run.wall_s for run in next(iter(found.values())))
    print(
        f"{'':34}{'seconds':>9}{'spread':>15}{'ratio':>7}{'CPU s':>8}{'ns a box':>10}{'peak MB':>9}"
    )
    for name, runs in found.items():
        walls = sorted(run.wall_s for run in runs)
        wall_s = statistics.median(walls)
        cpu_s = statistics.median(run.cpu_s for run in runs)
        peaks = [run.peak_mb for run in runs if run.peak_mb is not None]
        print(
            f"{name:34}{wall_s:9.1f}{f'{walls[0]:.1f} to {walls[-1]:.1f}':>15}"
            f"{wall_s / plain_s:7.1f}{cpu_s:8.1f}{1e3 * wall_s / arguments.millions:10.0f}"
            f"{max(peaks) if peaks else float('nan'):9.0f}"
        )


if __name__ == "__main__":
    main()
