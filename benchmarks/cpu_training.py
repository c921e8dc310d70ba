"""How many images a second does training take on a CPU, against the loop most people write?

Peer: a plain PyTorch loop over JPEG files, Pillow and per-image transforms in a DataLoader, fp32,
the same network (ResNet-18, 7x7 stem, torch's own convolutions), batch 256, the same crop, flip,
rotation and dropout. Ours: the training step on a store, channels_last, bf16 where the processor
has units for it and else fp32, in a process set up as ``tinysight train`` does. Each round runs
every program once, a process each.

    python benchmarks/cpu_training.py --store STORE [--rounds 3] [--steps 8]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hardware import hardware_line
from plain_loop import PlainLoop, spread_rows, write_files

from tinysight.classify.batches import LabelledImages, training_batches
from tinysight.classify.models import build_model
from tinysight.classify.optimizers import build_optimizer
from tinysight.classify.settings import Recipe
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store, load_store
from tinysight.classify.training import forward_backward
from tinysight.classify.training_state import TrainingState
from tinysight.cli.memory import prepare_memory

BATCH = 256
WARM_UP_STEPS = 2
OURS = "tinysight"
PROGRAMS = {f"plain loop, {workers} workers, fp32": workers for workers in (0, 1, 2)} | {OURS: 0}
RECIPE = Recipe.model_validate(
    {
        "model": {"name": "resnet18", "stem": "7x7"},
        "augment": {"rotate_probability": 0.5, "dropout_probability": 1.0},
        "train": {"batch_size": BATCH},
    }
)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="a packed store of 64x64 images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="steps a round, after two to warm up")
    parser.add_argument("--program", choices=PROGRAMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.program:
        print(run_program(arguments.program, load_store(arguments.store), arguments.steps))
        return
    print(hardware_line())
    rates: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(arguments.rounds):
        for name in PROGRAMS:
            words = [sys.executable, __file__, "--program", name, "--store", arguments.store]
            words += ["--steps", str(arguments.steps)]
            printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            rates[name].append(float(printed))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best_plain = max(rate for name, rate in medians.items() if name.startswith("plain"))
    for name, values in rates.items():
        print(
            f"{name:32} {medians[name]:6.0f} images/s  ({min(values):.0f} to {max(values):.0f})  "
            f"{medians[name] / best_plain:5.2f} x the best plain loop"
        )


def run_program(name: str, store: Store, steps: int) -> float:
    """Return the images a second of one program."""
    if name == OURS:
        prepare_memory()
        return OurLoop(store).run(steps)
    with tempfile.TemporaryDirectory() as folder:
        rows = spread_rows(np.flatnonzero(store.is_train), (steps + WARM_UP_STEPS) * BATCH)
        loop = PlainLoop(
            write_files(store, rows, Path(folder)),
            PROGRAMS[name],
            len(store.wnids),
            batch_size=BATCH,
        )
        return loop.images_per_s(steps, WARM_UP_STEPS)


class OurLoop:
    """The step of tinysight on a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        model = build_model(RECIPE.model, len(store.wnids), seed=0)
        self.state = TrainingState(model, RECIPE, int(store.is_train.sum()), torch.device("cpu"))
        self.optimizer = build_optimizer(self.state.model, RECIPE.optimizer, lr=0.01, momentum=0.9)

    def run(self, steps: int) -> float:
        """Return images a second over some steps, after those to warm up."""
        began = 0.0
        batches = training_batches(
            LabelledImages(
                self.store.images_u8, self.store.targets, self.store.mean, self.store.std
            ),
            np.flatnonzero(self.store.is_train),
            RECIPE.augment,
            seed=0,
            epoch=0,
            batch_size=BATCH,
            device=torch.device("cpu"),
        )
        for step, batch in enumerate(batches):
            if step == WARM_UP_STEPS:
                began = time.perf_counter()
            forward_backward(self.state.model, batch, RECIPE, stop=StopRequest())
            self.optimizer.step()
            self.optimizer.zero_grad()
            if step == steps + WARM_UP_STEPS - 1:
                break
        return steps * BATCH / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
