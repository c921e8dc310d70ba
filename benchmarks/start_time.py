"""How long until tinysight does something?

Questions: import of the package and ``tinysight --help`` (at most 0.3 s, without torch), and from
the command ``tinysight train`` to its first step, the import of torch apart (at most 3 s). Peer:
``python -c "import torch"`` on the same machine in the same run.

    python benchmarks/start_time.py [--store STORE] [--repeats 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hardware import hardware_line

TRAIN_CHILD = """
import sys, time
began = time.perf_counter()
import torch
torch_s = time.perf_counter() - began
from tinysight.cli import main, training_progress

def on_start(self, first_step, num_steps):
    print("TIMES", torch_s, time.perf_counter() - began - torch_s)
    sys.stdout.flush()
    raise SystemExit(0)

training_progress.TrainingProgress.on_start = on_start
main(["train", sys.argv[1], "--recipe", "baseline", "--out", sys.argv[2]])
"""


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, help="a packed store; without it no training start")
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    print(hardware_line())
    commands = {
        "python -c pass": ["-c", "pass"],
        "import tinysight": ["-c", "import tinysight"],
        "tinysight --help": ["-m", "tinysight", "--help"],
        "import torch (peer)": ["-c", "import torch"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(arguments.repeats):
        for name, words in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - began)
    if arguments.store:
        name = "tinysight train, to the first step, torch's import apart"
        seconds[name] = []
        for _ in range(min(arguments.repeats, 3)):
            with tempfile.TemporaryDirectory() as folder:
                words = [sys.executable, "-c", TRAIN_CHILD, str(arguments.store), folder + "/run"]
                printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            times = next(line for line in printed.splitlines() if line.startswith("TIMES"))
            seconds[name].append(float(times.split()[2]))
    for name, times_s in seconds.items():
        print(
            f"{name:60} {statistics.median(times_s):6.2f} s"
            f"  ({min(times_s):.2f} to {max(times_s):.2f}, n={len(times_s)})"
        )


if __name__ == "__main__":
    main()
