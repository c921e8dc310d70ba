"""Where does a training step spend its time, and how far is it from what bounds it?

Peer: the largest rate of a matrix product (4096x4096) on the same threads or the same GPU, in the
number format in which the recipe trains there. Prints, for each size of images, the time of a step
on one fixed batch, its rate on convolutions (three times the MACs of the forward pass), and the
operators that take most, from torch's profiler. On a GPU also how long the host takes to ask for a
step: where that is nearly all of it, the GPU waits for the host.

    python benchmarks/step_profile.py [--recipe speed-cpu] [--sizes 64,32] [--steps 8] [--compile]
        [--device cuda]
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from hardware import hardware_line
from torch.profiler import profile

from tinysight.classify.batches import Batch
from tinysight.classify.compiling import compile_network
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
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    prepare_memory()
    device = arguments.device
    print(hardware_line())
    if device.type == "cuda":
        print(torch.cuda.get_device_name(device))
    dtype = number_format(load_recipe(arguments.recipe).train, device)
    print(f"{dtype} matrix product: {matrix_product_tflops(dtype, device):.2f} TFLOP/s")
    for size_px in map(int, arguments.sizes.split(",")):
        profile_step(arguments.recipe, size_px, arguments.steps, device, compiled=arguments.compile)


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_product_tflops(dtype: torch.dtype, device: torch.device, side: int = 4096) -> float:
    """Return the rate of a product of two square matrices."""
    left, right = (torch.randn(side, side).to(device, dtype) for _ in range(2))
    seconds = []
    for _ in range(7):
        wait_for(device)
        began = time.perf_counter()
        left @ right
        wait_for(device)
        seconds.append(time.perf_counter() - began)
    return 2 * side**3 / statistics.median(seconds) / 1e12


def profile_step(
    recipe_name: str, size_px: int, steps: int, device: torch.device, *, compiled: bool
) -> None:
    """Print the time of a step at one size of images, and where it goes."""
    recipe = load_recipe(recipe_name)
    model = build_model(recipe.model, CLASSES, seed=0)
    macs = summarize(model, (3, size_px, size_px)).macs
    state = TrainingState(model, recipe, IMAGES, device)
    network = state.model.train()
    if compiled:
        network = compile_network(network, recipe.train, device, num_processes=1)
    batch_size = recipe.train.batch_size
    images = torch.randn(batch_size, 3, size_px, size_px, device=device)
    batch = Batch(
        images.contiguous(memory_format=torch.channels_last),
        torch.randint(0, CLASSES, (batch_size,), device=device),
    )

    def ask_for_step() -> None:
        forward_backward(network, batch, recipe, stop=StopRequest())
        state.optimizer.step()
        state.optimizer.zero_grad()

    def step() -> float:
        began = time.perf_counter()
        ask_for_step()
        wait_for(device)
        return time.perf_counter() - began

    first_s = step()
    for _ in range(3):
        step()
    step_s = statistics.median(step() for _ in range(steps))
    if device.type == "cuda":
        # One after the other, as in training; waiting after each would hide what overlaps.
        began = time.perf_counter()
        for _ in range(steps):
            ask_for_step()
        host_s = (time.perf_counter() - began) / steps
        wait_for(device)
        step_s = (time.perf_counter() - began) / steps
        print(f"{size_px} px: the host asks for a step in {host_s * 1e3:.2f} ms")
    rate = 6 * macs * batch_size / step_s / 1e12
    print(
        f"{size_px} px: {step_s * 1e3:.4g} ms for {batch_size} images, {rate:.2f} TFLOP/s of "
        f"convolutions; the first step took {first_s:.1f} s"
    )
    with profile() as record:
        step()
    of_device = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    seconds = {row.key: getattr(row, of_device) for row in record.key_averages()}
    total = sum(seconds.values())
    for name in sorted(seconds, key=lambda name: -seconds[name])[:SHOWN]:
        print(f"    {name[:45]:45} {seconds[name] / total:6.1%}")


if __name__ == "__main__":
    main()
