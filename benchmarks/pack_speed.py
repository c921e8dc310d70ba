"""How long does packing all of Tiny ImageNet take, and how much memory?

Peer: one process that opens the zip with ``zipfile``, decodes every image with Pillow and stores it
in an array; it hashes, splits, checks and measures nothing. Both get the same zip, made here from
the shards (it needs about 2 GB in --work). Times are of the whole command, from a fresh process.
Memory is the largest sum over the process and its children, looked at 20 times a second: each
shared page counted once.

    TINYSIGHT_DATA=DATA python benchmarks/pack_speed.py [--classes N] [--workers N] [--work DIR]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from hardware import hardware_line

PLAIN_LOOP = """
import sys, zipfile
import numpy as np
from PIL import Image
with zipfile.ZipFile(sys.argv[1]) as archive:
    names = [name for name in archive.namelist() if name.endswith(".JPEG")]
    shape = (len(names), 64, 64, 3)
    images = np.lib.format.open_memmap(sys.argv[2], "w+", np.uint8, shape)
    for row, name in enumerate(names):
        with archive.open(name) as file, Image.open(file) as image:
            images[row] = image.convert("RGB")
    images.flush()
"""


@dataclass(frozen=True)
class Measured:
    """What a command took."""

    wall_s: float
    cpu_s: float
    peak_mb: float | None


def write_zip(shards: Path, path: Path, num_classes: int) -> int:
    """Write the official archive of the first classes and return its number of images."""
    import pyarrow.parquet as pq

    wnids = (shards / "wnids.txt").read_text().split()[:num_classes]
    num_images = 0
    val_lines = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, wnid in enumerate(wnids):
            shard = pq.ParquetFile(shards / f"part-{number // 50}.parquet")
            box_lines = []
            for row in shard.read_row_group(number % 50).to_pylist():
                name = row["file_name"]
                box = "\t".join(str(row[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
                if row["split"] == "train":
                    archive.writestr(f"train/{wnid}/images/{name}", row["jpeg"])
                    box_lines.append(f"{name}\t{box}\n")
                else:
                    archive.writestr(f"val/images/{name}", row["jpeg"])
                    val_lines.append(f"{name}\t{wnid}\t{box}\n")
                num_images += 1
            archive.writestr(f"train/{wnid}/{wnid}_boxes.txt", "".join(box_lines))
        archive.writestr("val/val_annotations.txt", "".join(val_lines))
        archive.writestr("wnids.txt", "".join(f"{wnid}\n" for wnid in wnids))
        archive.write(shards / "words.txt", "words.txt")
    return num_images


def measure(command: list[str]) -> Measured:
    """Run a command to its end and watch it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    peak_kb = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            peak_kb = max(peak_kb, sum(map(proportional_kb, tree_of(process.pid))))
            time.sleep(0.05)
        wall_s = time.perf_counter() - started
        if process.returncode:
            sys.exit(process.stderr.read().decode())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(wall_s, cpu_s, peak_kb / 1000 * 1.024 if peak_kb else None)


def tree_of(pid: int) -> list[int]:
    """Return a process and everything below it; Linux only."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(below for child in children for below in tree_of(int(child)))]


def proportional_kb(pid: int) -> int:
    """Return the memory of a process, each shared page divided by those that share it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--work", type=Path, help="folder for the zip and the stores")
    arguments = parser.parse_args()
    data = os.environ.get("TINYSIGHT_DATA")
    if data is None:
        sys.exit("TINYSIGHT_DATA must name the folder that holds tiny-imagenet-200")

    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        work = Path(folder)
        archive = work / "tiny-imagenet-200.zip"
        num_images = write_zip(Path(data) / "tiny-imagenet-200", archive, arguments.classes)
        print(hardware_line())
        print(
            f"{num_images:,} images, zip of {archive.stat().st_size / 1e6:.0f} MB, "
            f"{arguments.workers} workers, load {os.getloadavg()[0]:.1f} before"
        )
        commands = {
            "plain loop over zipfile and Pillow": [
                sys.executable, "-c", PLAIN_LOOP, str(archive), str(work / "plain.npy"),
            ],
            "tinysight data pack": [
                sys.executable, "-m", "tinysight", "data", "pack", str(archive), "--force",
                "--out", str(work / "store"), "--workers", str(arguments.workers),
            ],
        }  # fmt: skip
        best: dict[str, Measured] = {}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                found = measure(command)
                if name not in best or found.wall_s < best[name].wall_s:
                    best[name] = found
        plain = next(iter(best.values()))
        print(f"{'':36}{'seconds':>9}{'ratio':>7}{'CPU s':>7}{'images/s':>10}{'peak MB':>9}")
        for name, found in best.items():
            peak = "?" if found.peak_mb is None else f"{found.peak_mb:.0f}"
            print(
                f"{name:36}{found.wall_s:9.1f}{found.wall_s / plain.wall_s:7.2f}"
                f"{found.cpu_s:7.1f}{num_images / found.wall_s:10.0f}{peak:>9}"
            )


if __name__ == "__main__":
    main()
