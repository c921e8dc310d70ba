"""What share of a training step does the data path cost?

Peer: the bare step on one fixed batch, in the same process; the real loop makes every batch from
the store first (gather, crop, flip, rotation, noise, dropout, normalisation). Steps of both in
turn. At most 3 % is the aim.

    python benchmarks/data_path.py --store STORE [--steps 8] [--recipes cpu,reference-nll]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from hardware import hardware_line

from tinysight.classify.batches import Batch, LabelledImages, training_batches
from tinysight.classify.models import build_model
from tinysight.classify.settings import Recipe
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store, load_store
from tinysight.classify.training import forward_backward
from tinysight.classify.training_state import TrainingState
from tinysight.cli.memory import prepare_memory
from tinysight.config import load_recipe


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="a packed store of 64x64 images")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--recipes", default="cpu,reference-nll,reference-48,baseline")
    arguments = parser.parse_args()
    prepare_memory()  # as `tinysight train` does
    print(hardware_line())
    store = load_store(arguments.store)
    print(f"{'recipe':20} {'bare step':>10} {'batch':>10} {'share':>7}  (medians of n steps each)")
    for name in arguments.recipes.split(","):
        recipe = load_recipe(name)
        is_slow = recipe.model.name.startswith("resnet") and recipe.model.stem == "3x3"
        measure(name, recipe, store, min(arguments.steps, 3) if is_slow else arguments.steps)


def measure(name: str, recipe: Recipe, store: Store, steps: int) -> None:
    """Print one row of the table."""
    model = build_model(recipe.model, len(store.wnids), seed=0)
    state = TrainingState(model, recipe, int(store.is_train.sum()), torch.device("cpu"))
    batches = training_batches(
        LabelledImages(store.images_u8, store.targets, store.mean, store.std),
        np.flatnonzero(store.is_train),
        recipe.augment,
        seed=0,
        epoch=0,
        batch_size=recipe.train.batch_size,
        device=torch.device("cpu"),
    )
    fixed = next(batches)
    step(state, fixed, recipe)
    bare_s, batch_s = [], []
    for _ in range(steps):
        began = time.perf_counter()
        step(state, fixed, recipe)
        bare_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        batch = next(batches)
        batch_s.append(time.perf_counter() - began)
        step(state, batch, recipe)
    bare, own = statistics.median(bare_s), statistics.median(batch_s)
    print(f"{name:20} {bare * 1e3:7.0f} ms {own * 1e3:7.1f} ms {own / bare:7.2%}  n={steps}")


def step(state: TrainingState, batch: Batch, recipe: Recipe) -> None:
    """One optimizer step."""
    forward_backward(state.model, batch, recipe, stop=StopRequest())
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
