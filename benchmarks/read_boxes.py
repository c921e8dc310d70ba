"""How long does a COCO json of the size of train2017 take, and how much memory?

Generates a file like ``instances_train2017.json`` (118,287 images, 860,001 annotations with
polygons, about 470 MB; boxes and polygons are random) and reads it with ``read_boxes``, with
``json.load`` and with ``msgspec`` untyped, each in processes of its own, in turn. Ratios compare
runs of one call.

    python benchmarks/read_boxes.py [--rounds 3] [--scale 1.0] [--keep FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from hardware import hardware_line

NUM_IMAGES, NUM_BOXES, NUM_CLASSES = 118_287, 860_001, 80

# Each prints seconds, peak memory in MB and the number of boxes.
MEASURE = """
import resource, sys, time
path = sys.argv[1]
start = time.perf_counter()
{code}
seconds = time.perf_counter() - start
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, boxes)
"""
READERS = {
    "tinysight read_boxes": """
from tinysight.boxes.reading import read_boxes
reading = read_boxes(path)
assert reading.accepted == reading.boxes_read, reading
boxes = reading.table.num_boxes
""",
    "msgspec, untyped": """
import msgspec
boxes = len(msgspec.json.decode(open(path, "rb").read())["annotations"])
""",
    "json, as pycocotools": """
import json
boxes = len(json.load(open(path))["annotations"])
""",
}


def write_coco(path: Path, scale: float) -> None:
    """Write a COCO json of the shape of train2017, piece by piece."""
    rng = np.random.default_rng(0)
    num_images, num_boxes = int(NUM_IMAGES * scale), int(NUM_BOXES * scale)
    widths = rng.integers(300, 641, num_images)
    heights = rng.integers(300, 641, num_images)
    with path.open("w") as file:
        file.write('{"info": {"year": 2017}, "licenses": [], "images": [')
        for image in range(num_images):
            file.write(", " if image else "")
            file.write(
                f'{{"license": 3, "file_name": "{image:012}.jpg", "coco_url": '
                f'"http://images.cocodataset.org/train2017/{image:012}.jpg", "height": '
                f'{heights[image]}, "width": {widths[image]}, "date_captured": '
                f'"2013-11-14 11:18:45", "flickr_url": '
                f'"http://farm9.staticflickr.com/8186/8119368305_4e622c8349_z.jpg", "id": {image}}}'
            )
        file.write('], "annotations": [')
        for first in range(0, num_boxes, 10_000):
            count = min(10_000, num_boxes - first)
            owners = rng.integers(0, num_images, count)
            places = rng.random((count, 4))
            points = np.round(rng.random((count, 80)) * 600, 2)
            lengths = 2 * rng.integers(8, 40, count)
            classes = rng.integers(1, NUM_CLASSES + 1, count)
            for row in range(count):
                owner = owners[row]
                x = places[row, 0] * 0.8 * widths[owner]
                y = places[row, 1] * 0.8 * heights[owner]
                w = (0.01 + 0.98 * places[row, 2]) * (widths[owner] - x)
                h = (0.01 + 0.98 * places[row, 3]) * (heights[owner] - y)
                polygon = str(points[row, : lengths[row]].tolist())
                file.write(", " if first + row else "")
                file.write(
                    f'{{"segmentation": [{polygon}], "area": {w * h:.4f}, "iscrowd": 0, '
                    f'"image_id": {owner}, "bbox": [{x:.2f}, {y:.2f}, {w:.2f}, {h:.2f}], '
                    f'"category_id": {classes[row]}, "id": {900100000 + first + row}}}'
                )
        file.write('], "categories": [')
        names = (
            f'{{"supercategory": "thing", "id": {number}, "name": "class {number}"}}'
            for number in range(1, NUM_CLASSES + 1)
        )
        file.write(", ".join(names) + "]}")


def main() -> None:
    """Generate the file, read it with each reader in turn, print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="write the file here and leave it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "instances.json"
        if not path.is_file():
            write_coco(path, arguments.scale)
        print(hardware_line())
        print(f"{path.stat().st_size / 1e6:,.0f} MB, {arguments.rounds} rounds")
        seconds: dict[str, list[float]] = {name: [] for name in READERS}
        memory: dict[str, float] = {}
        for _ in range(arguments.rounds):
            for name, code in READERS.items():
                done = subprocess.run(
                    [sys.executable, "-c", MEASURE.format(code=code), str(path)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                taken, peak_mb, _ = done.stdout.split()
                seconds[name].append(float(taken))
                memory[name] = max(memory.get(name, 0.0), float(peak_mb))
        ours = statistics.median(seconds["tinysight read_boxes"])
        print(f"{'reader':24} {'median s':>9} {'least':>7} {'most':>7} {'peak MB':>8} {'ratio':>7}")
        for name, values in seconds.items():
            median = statistics.median(values)
            print(
                f"{name:24} {median:9.2f} {min(values):7.2f} {max(values):7.2f} "
                f"{memory[name]:8,.0f} {median / ours:6.1f}x"
            )


if __name__ == "__main__":
    main()
