"""What did runs of one recipe and several seeds reach, and how long did they train?

Peer: the public results on the 70/30 split that docs/speedrun.md lists. Prints what the protocol
there asks for: the split's digest, hardware, and for each run accuracy and seconds of training,
then mean and standard deviation. Runs that saw the test images before their last epoch, held
images back for tuning, share a seed, differ in more than the seed, are not of one machine or found
the cache of their compiler cold and warm are refused. Fewer than three runs are shown, and the last
line then says that a record needs three.

    tinysight train STORE --recipe speed-cpu --set train.seed=N --out RUN-N    for N = 0, 1, 2
    tinysight evaluate RUN-N --flip
    python benchmarks/speedrun.py RUN-0 RUN-1 RUN-2
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysight import run_folder

RECORD_SEEDS = 3
"""Rule 5 of docs/speedrun.md."""


@dataclass(frozen=True)
class Entry:
    """One run, as the protocol counts it; accuracies in [0, 1]."""

    seed: int
    accuracy: float
    flip_accuracy: float | None
    training_s: float
    recipe: dict[str, Any]
    split_digest: str
    machine: str
    compiler_cache: str | None


def main() -> None:
    """Check the runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    entries = [read_entry(run) for run in parser.parse_args().runs]
    first = entries[0]
    for entry in entries[1:]:
        if (entry.recipe, entry.split_digest) != (first.recipe, first.split_digest):
            sys.exit("the runs must share one recipe, but for the seed, and one split")
        if entry.machine != first.machine:
            sys.exit(
                f"the runs must be of one machine, or their times have no mean, but one is of "
                f"{first.machine} and one of {entry.machine}"
            )
        if entry.compiler_cache != first.compiler_cache:
            sys.exit(
                f"the runs must all have a cold or all a warm cache of their compiler, but one is "
                f"{first.compiler_cache} and one {entry.compiler_cache}"
            )
    if len({entry.seed for entry in entries}) < len(entries):
        sys.exit("every run must have a seed of its own")
    print(first.machine)
    print(f"split {first.split_digest}")
    if first.compiler_cache:
        print(f"compiled, with a {first.compiler_cache} cache")
    print(f"{'seed':>4} {'test':>8} {'with flip':>10} {'training':>10}")
    for entry in entries:
        flip = "-" if entry.flip_accuracy is None else f"{entry.flip_accuracy:.2%}"
        print(f"{entry.seed:4} {entry.accuracy:8.2%} {flip:>10} {entry.training_s:8.0f} s")
    print(f"mean {mean_sd([entry.accuracy for entry in entries], 100, ' %')} test accuracy")
    flips = [entry.flip_accuracy for entry in entries if entry.flip_accuracy is not None]
    if len(flips) == len(entries):
        print(f"     {mean_sd(flips, 100, ' %')} with the mirror images' help")
    print(f"     {mean_sd([entry.training_s / 60 for entry in entries], 1, ' min')} of training")
    if len(entries) < RECORD_SEEDS:
        print(f"seeds: {len(entries)}; a record needs {RECORD_SEEDS}")


def read_entry(run: Path) -> Entry:
    """Read a run folder and refuse what the protocol does not allow."""
    about = run_folder.read_run(run)
    recipe = run_folder.read_recipe(run)
    history = run_folder.read_history(run)
    if len(history) < recipe["train"]["epochs"]:
        sys.exit(f"{run}: the run must be finished")
    if any("test_accuracy" in row for row in history[:-1]):
        sys.exit(f"{run}: the test images must be used once, at the end (train.evaluate_every)")
    if recipe["train"]["tuning_fraction"] > 0:
        sys.exit(f"{run}: all training images must be trained on (train.tuning_fraction = 0)")
    metrics = json.loads((run / run_folder.METRICS).read_text())
    environment = json.loads((run / run_folder.ENVIRONMENT).read_text())
    seed = recipe["train"].pop("seed")
    cache = environment.get("compiler_cache", "unknown") if recipe["train"]["compile"] else None
    if cache not in (None, "cold", "warm"):
        sys.exit(f"{run}: the cache of the compiler must be cold or warm, but is {cache}")
    with_flip = metrics.get("with_flip")
    return Entry(
        seed=seed,
        accuracy=metrics["accuracy"],
        flip_accuracy=with_flip["accuracy"] if with_flip else None,
        training_s=history[-1]["seconds"],
        recipe=recipe,
        split_digest=about["split_digest"],
        machine=f"{environment['processor']}, {environment['cores']} cores, device "
        f"{environment['device']}, Python {environment['python']}, "
        f"torch {environment['packages']['torch']}",
        compiler_cache=cache,
    )


def mean_sd(values: list[float], factor: float, unit: str) -> str:
    """Return mean and standard deviation in words."""
    sd = f" ± {factor * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{factor * statistics.fmean(values):.2f}{sd}{unit}"


if __name__ == "__main__":
    main()
