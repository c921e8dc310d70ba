"""How does training speed depend on the size of images, the batch and the threads?

Peer: the recipe itself at 64 px, batch 256, all cores; every line is a ratio to it. Each line is a
process of its own, set up as ``tinysight train`` does it: data path, network and optimizer.

    python benchmarks/training_scaling.py --store STORE [--recipe speed-cpu] [--rounds 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from hardware import hardware_line

from tinysight.classify.models import build_model
from tinysight.classify.processes import Processes
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import load_store
from tinysight.classify.training import epoch_batches, forward_backward
from tinysight.classify.training_images import training_data
from tinysight.classify.training_state import TrainingState
from tinysight.cli.memory import prepare_memory
from tinysight.config import load_recipe

WARM_UP_STEPS = 3
IMAGES = 16 * 256  # of one measurement, whatever the batch
BASE = (64, 256, os.cpu_count() or 1)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="a packed store of 64x64 images")
    parser.add_argument("--recipe", default="speed-cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        size_px, batch, threads = map(int, arguments.case.split(","))
        print(run_case(arguments.store, arguments.recipe, size_px, batch, threads))
        return
    print(hardware_line())
    size, batch, threads = BASE
    cases = [BASE]
    cases += [(px, batch, threads) for px in (32, 48)]
    cases += [(size, other, threads) for other in (64, 128, 512)]
    cases += [(size, batch, fewer) for fewer in range(1, threads)][:3]
    rates: dict[tuple[int, int, int], list[float]] = {case: [] for case in cases}
    for _ in range(arguments.rounds):
        for case in cases:
            words = [sys.executable, __file__, "--store", str(arguments.store)]
            words += ["--recipe", arguments.recipe, "--case", ",".join(map(str, case))]
            printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            rates[case].append(float(printed))
    base = statistics.median(rates[BASE])
    print(f"recipe {arguments.recipe}; medians of {arguments.rounds}, spread in brackets")
    for (px, images, count), values in rates.items():
        median = statistics.median(values)
        print(
            f"{px:3} px  batch {images:4}  {count} threads  {median:6.0f} images/s  "
            f"({min(values):.0f} to {max(values):.0f})  {median / base:5.2f} x"
        )


def run_case(path: Path, recipe_name: str, size_px: int, batch: int, threads: int) -> float:
    """Return the images a second of training at one size, batch and number of threads."""
    prepare_memory()
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    epochs = 2
    recipe = load_recipe(
        recipe_name,
        [
            f"train.epochs={epochs}",
            "schedule.peak_epoch=1",
            f"train.batch_size={batch}",
            f"schedule.first_image_px={size_px}",
            f"schedule.image_px_step={size_px}",
            "schedule.full_size_epoch=1",
        ],
    )
    store = load_store(path, verify=False)
    data = training_data(store, recipe, device)
    model = build_model(recipe.model, len(store.wnids), seed=0)
    state = TrainingState(model, recipe, len(data.train_rows), device)
    state.model.train()
    steps = max(IMAGES // batch, 1)
    if len(state.step_losses) < steps + WARM_UP_STEPS:
        raise SystemExit(f"{path}: must have {IMAGES + WARM_UP_STEPS * batch:,} training images")
    batches = epoch_batches(data, recipe, 0, device, Processes())
    began = 0.0
    for step, images in zip(range(steps + WARM_UP_STEPS), batches, strict=False):
        if step == WARM_UP_STEPS:
            began = time.perf_counter()
        forward_backward(state.model, images, recipe, stop=StopRequest())
        state.optimizer.step()
        state.optimizer.zero_grad()
    return steps * batch / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
