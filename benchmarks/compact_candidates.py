"""Which compact network learns most in the time that the CPU gives it?

Peer: ``compact``, the network of the first record; each candidate is a :class:`CompactResNet` of
other depths and widths. Speed is that of a step of the recipe speed-cpu on random pixels, in
batches of 256, the candidates in turn. With a store each candidate is trained as well, and scored
on a part of the training images that is held out; the test images are not touched.

    python benchmarks/compact_candidates.py [--rounds 5] [--store STORE --out FOLDER
        [--set KEY=VALUE ...] [--only NAME]]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from hardware import hardware_line
from torch import nn

from tinysight.classify import models
from tinysight.classify.models.compact import CompactResNet
from tinysight.classify.models.summary import summarize
from tinysight.classify.optimizers import build_optimizer
from tinysight.classify.placement import autocast, number_format
from tinysight.classify.run import train_run
from tinysight.classify.settings import Recipe
from tinysight.classify.store import load_store
from tinysight.cli.memory import prepare_memory
from tinysight.config import load_recipe

BATCH_SIZE, SIZE_PX, NUM_CLASSES = 256, 64, 200
CANDIDATES: dict[str, dict[str, Any]] = {
    "compact": {"blocks_per_stage": (2, 3), "widths": (96, 256), "pools_shortcut": False},
    "2-2-1": {"blocks_per_stage": (2, 2, 1), "widths": (96, 192, 384), "pools_shortcut": True},
    "compact12": {"blocks_per_stage": (2, 2, 1), "widths": (48, 96, 192), "pools_shortcut": True},
    "compact14": {"blocks_per_stage": (3, 2, 1), "widths": (96, 192, 384), "pools_shortcut": True},
    "compact20": {"blocks_per_stage": (4, 3, 2), "widths": (96, 192, 384), "pools_shortcut": True},
    "4-4": {"blocks_per_stage": (4, 4), "widths": (96, 192), "pools_shortcut": True},
}
AS_COMPARED = [  # the record of that day, with more decay
    "model.name=compact",
    "optimizer.weight_decay=4e-3",
    "schedule.first_image_px=32",
    "schedule.full_size_epoch=10",
    "train.epochs=13",
    "train.evaluate_every=13",
    "train.tuning_fraction=0.2",
]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--store", type=Path, help="a packed store to train on; --out as well")
    parser.add_argument("--out", type=Path, help="folder for the runs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--only", choices=CANDIDATES)
    arguments = parser.parse_args()
    prepare_memory()
    print(hardware_line())
    names = [arguments.only] if arguments.only else list(CANDIDATES)
    recipe = load_recipe("speed-cpu", [*AS_COMPARED, *arguments.set])
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(arguments.rounds):
        for name in names:
            rates[name].append(images_per_s(CompactResNet(NUM_CLASSES, **CANDIDATES[name]), recipe))
    for name in names:
        size = summarize(
            CompactResNet(NUM_CLASSES, **CANDIDATES[name]).eval(), (3, SIZE_PX, SIZE_PX)
        )
        print(
            f"{name:10} {size.parameters / 1e6:.2f} M  {size.macs / 1e9:.3f} GMAC  "
            f"{statistics.median(rates[name]):5.0f} images/s "
            f"({min(rates[name]):.0f} to {max(rates[name]):.0f})",
            flush=True,
        )
    if arguments.store:
        store = load_store(arguments.store)
        for name in names:
            # The candidate stands in for compact while it trains.
            models._COMPACT["compact"] = lambda classes, name=name: CompactResNet(
                classes, **CANDIDATES[name]
            )
            last = train_run(store, recipe, arguments.out / name, device=torch.device("cpu")).last
            print(
                f"{name:10} training {last['train_accuracy']:.1%}  "
                f"held out {last['tuning_accuracy']:.1%}",
                flush=True,
            )


def images_per_s(network: nn.Module, recipe: Recipe) -> float:
    """Return the images a second of a training step, the median of three after two."""
    network = network.to(memory_format=torch.channels_last).train()
    device = torch.device("cpu")
    muon_dtype = number_format(recipe.train, device)
    optimizer = build_optimizer(
        network, recipe.optimizer, lr=0.1, momentum=0.9, muon_dtype=muon_dtype
    )
    pixels = torch.randn(BATCH_SIZE, 3, SIZE_PX, SIZE_PX, generator=torch.manual_seed(0))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    targets = torch.arange(BATCH_SIZE) % NUM_CLASSES
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        with autocast(recipe.train, device):
            logits = network(pixels)
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.float(), targets).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return BATCH_SIZE / statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
