"""How long does it take to train to a given test accuracy, against the loop most people write?

Peer: a plain PyTorch loop (:mod:`plain_loop`) with the settings of the public 48-epoch reference:
SGD, one-cycle to 0.01 at epoch 8, momentum 0.95 to 0.85, weight decay 0.01, batch 256, pad-crop,
flip, rotation, dropout; ResNet-18 with the 7x7 stem, which is its fastest form. Ours: a recipe of
the package. Both are tested after each epoch, which is not counted; the clock stops at the end of
the first epoch that reaches the accuracy.

    python benchmarks/time_to_accuracy.py --store TEN_CLASSES --target 0.6 [--recipe smoke]
        [--set KEY=VALUE ...] [--epochs 48] [--batch 256]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from hardware import hardware_line
from plain_loop import PlainLoop, write_files
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader

from tinysight import whole_files
from tinysight.classify.run import Silence, train_run
from tinysight.classify.stopping import StopRequest
from tinysight.classify.store import Store, load_store
from tinysight.classify.training_records import EpochRecord
from tinysight.cli.memory import prepare_memory
from tinysight.config import load_recipe


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="a packed store of 64x64 images")
    parser.add_argument("--target", type=float, required=True, help="test accuracy in [0, 1]")
    parser.add_argument("--recipe", default="smoke")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--epochs", type=int, default=48, help="of the plain loop's schedule")
    parser.add_argument("--batch", type=int, default=256, help="of the plain loop")
    arguments = parser.parse_args()
    print(hardware_line())
    store = load_store(arguments.store)
    ours = run_ours(store, arguments.recipe, arguments.set, arguments.target)
    plain = run_plain(store, arguments.target, arguments.epochs, arguments.batch)
    for name, (seconds, epochs, accuracy) in (("tinysight", ours), ("plain loop", plain)):
        reached = "reached" if accuracy >= arguments.target else "NOT reached"
        print(
            f"{name:12} {seconds:7.1f} s of training, {epochs:3} epochs, {accuracy:.1%} "
            f"({arguments.target:.0%} {reached})"
        )
    print(f"the plain loop took {plain[0] / ours[0]:.1f} times as long")


class StopAtTarget(Silence):
    """Asks training to stop after the epoch that reaches the accuracy."""

    def __init__(self, target: float, stop: StopRequest) -> None:
        self.target = target
        self.stop = stop
        self.found = (0.0, 0, 0.0)

    def on_epoch(self, record: EpochRecord, row: whole_files.Record) -> None:
        """Look at the better of the two networks, raw and averaged."""
        accuracy = max(row["test_accuracy"], row.get("ema_test_accuracy", 0.0))
        self.found = (record.seconds, record.epoch + 1, accuracy)
        if accuracy >= self.target:
            self.stop.make()


def run_ours(
    store: Store, name: str, overrides: list[str], target: float
) -> tuple[float, int, float]:
    """Return seconds, epochs and accuracy of a recipe of the package."""
    prepare_memory()
    stop = StopRequest()
    listener = StopAtTarget(target, stop)
    recipe = load_recipe(name, [*overrides, "train.evaluate_every=1"])
    with tempfile.TemporaryDirectory() as folder:
        train_run(
            store,
            recipe,
            Path(folder) / "run",
            device=torch.device("cpu"),
            stop=stop,
            listener=listener,
        )
    return listener.found


def run_plain(store: Store, target: float, epochs: int, batch: int) -> tuple[float, int, float]:
    """Return seconds, epochs and accuracy of the plain loop."""
    torch.manual_seed(0)
    accuracy, seconds, epoch = 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        train_rows, test_rows = np.flatnonzero(store.is_train), np.flatnonzero(~store.is_train)
        files = write_files(store, train_rows, Path(folder) / "train")
        test_files = write_files(store, test_rows, Path(folder) / "test", is_training=False)
        loop = PlainLoop(files, 2, len(store.wnids), batch_size=batch)
        loop.optimizer = torch.optim.SGD(
            loop.model.parameters(), lr=0.01, momentum=0.95, weight_decay=0.01
        )
        schedule = OneCycleLR(
            loop.optimizer,
            max_lr=0.01,
            epochs=epochs,
            steps_per_epoch=len(loop.loader),
            pct_start=8 / 48,
            anneal_strategy="linear",
            div_factor=100.0,
            final_div_factor=1.0,
        )
        while epoch < epochs and accuracy < target:
            epoch += 1
            loop.model.train()
            began = time.perf_counter()
            for images, targets in loop.loader:
                loop.step(images, targets)
                schedule.step()
            seconds += time.perf_counter() - began
            accuracy = test_accuracy(loop.model, DataLoader(test_files, 500))
    return seconds, epoch, accuracy


@torch.inference_mode()
def test_accuracy(
    model: torch.nn.Module, loader: DataLoader[tuple[torch.Tensor, torch.Tensor]]
) -> float:
    """Return the share of images whose first guess is right."""
    model.eval()
    hits = [(model(images).argmax(1) == targets).double() for images, targets in loader]
    return float(torch.cat(hits).mean())


if __name__ == "__main__":
    main()
