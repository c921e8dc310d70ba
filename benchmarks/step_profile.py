"""Where does a training step on a CPU spend its time, and how far is it from what bounds it?

Peer: the largest rate of a matrix product (4096x4096) on the same threads, in the number format
in which the recipe trains here. Prints, for each size of images, the time of a step on one fixed
batch, its rate on convolutions (three times the MACs of the forward pass), and the operators that
take most, from torch's profiler.

    python benchmarks/step_profile.py [--recipe speed-cpu] [--sizes 64,32] [--steps 8] [--compile]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from hardware import hardware_line
from torch.profiler import profile

from tinysight.classify.batches import Batch
from tinysight.classify.models import build_model
from tinysight.classify.models.summary import summarize
from tinysight.classify.placement import number_format
from tinysight.classify.stopping import StopRequest
from tinysight.classify.training import forward_backward
from tinysight.classify.training_state import TrainingState
from tinysight.cli.memory import prepare_memory
from tinysight.config import load_recipe

CLASSES, IMAGES, SHOWN = 200, 77_000, 14


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="speed-cpu")
    parser.add_argument("--sizes", default="64,32")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--compile", action="store_true", help="the network, by torch.compile")
    arguments = parser.parse_args()
    prepare_memory()
    print(hardware_line())
    dtype = number_format(load_recipe(arguments.recipe).train, torch.device("cpu"))
    print(f"{dtype} matrix product: {matrix_product_tflops(dtype):.2f} TFLOP/s")
    for size_px in map(int, arguments.sizes.split(",")):
        profile_step(arguments.recipe, size_px, arguments.steps, compiled=arguments.compile)


def matrix_product_tflops(dtype: torch.dtype, side: int = 4096) -> float:
    """Return the rate of a product of two square matrices."""
    left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(7):
        began = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / statistics.median(seconds) / 1e12


def profile_step(recipe_name: str, size_px: int, steps: int, *, compiled: bool) -> None:
    """Print the time of a step at one size of images, and where it goes."""
    recipe = load_recipe(recipe_name)
    model = build_model(recipe.model, CLASSES, seed=0)
    macs = summarize(model, (3, size_px, size_px)).macs
    state = TrainingState(model, recipe, IMAGES, torch.device("cpu"))
    state.model.train()
    network = torch.compile(state.model, dynamic=False) if compiled else state.model
    batch_size = recipe.train.batch_size
    images = torch.randn(batch_size, 3, size_px, size_px)
    batch = Batch(
        images.contiguous(memory_format=torch.channels_last),
        torch.randint(0, CLASSES, (batch_size,)),
    )

    def step() -> float:
        began = time.perf_counter()
        forward_backward(network, batch, recipe, stop=StopRequest())
        state.optimizer.step()
        state.optimizer.zero_grad()
        return time.perf_counter() - began

    first_s = step()
    for _ in range(3):
        step()
    step_s = statistics.median(step() for _ in range(steps))
    rate = 6 * macs * batch_size / step_s / 1e12
    print(
        f"{size_px} px: {step_s * 1e3:.0f} ms for {batch_size} images, {rate:.2f} TFLOP/s of "
        f"convolutions; the first step took {first_s:.1f} s"
    )
    with profile() as record:
        step()
    rows = record.key_averages()
    total = sum(row.self_cpu_time_total for row in rows)
    for row in sorted(rows, key=lambda row: -row.self_cpu_time_total)[:SHOWN]:
        print(f"    {row.key[:45]:45} {row.self_cpu_time_total / total:6.1%}")


if __name__ == "__main__":
    main()
