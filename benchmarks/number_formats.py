"""Is this processor quicker in bf16 or in fp32?

Peer: fp32. Convolutions of 3x3 (forward, and with both gradients) at two places of ``compact14``,
batches of 32, and products of square matrices, in torch on all threads. The last line is what a
recipe that leaves its number format open chooses here.

    python benchmarks/number_formats.py [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from hardware import hardware_line
from torch.nn import functional

from tinysight.classify.placement import multiplies_bf16

Work = Callable[[torch.dtype], Callable[[], object]]
FORMATS = (torch.float32, torch.bfloat16)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(hardware_line())
    print(f"{'':34}{'fp32 ms':>9}{'bf16 ms':>10}{'bf16 / fp32':>13}{'spread':>18}")
    works: dict[str, Work] = {}
    for channels, side_px in ((96, 16), (192, 8)):
        name = f"convolution, {channels} at {side_px}x{side_px}"
        works[name] = convolution(channels, side_px, with_gradients=False)
        works[f"{name}, gradients"] = convolution(channels, side_px, with_gradients=True)
    works |= {f"product, {side}x{side}": product(side) for side in (256, 512, 1024)}
    for name, work in works.items():
        rounds = [[seconds(work(dtype)) for dtype in FORMATS] for _ in range(arguments.rounds)]
        fp32_s, bf16_s = (statistics.median(column) for column in zip(*rounds, strict=True))
        ratios = [bf16 / fp32 for fp32, bf16 in rounds]
        print(
            f"{name:34}{fp32_s * 1e3:9.1f}{bf16_s * 1e3:10.1f}{statistics.median(ratios):13.2f}"
            f"{f'{min(ratios):.2f} to {max(ratios):.2f}':>18}",
            flush=True,
        )
    chosen = "bf16" if multiplies_bf16(torch.device("cpu")) else "fp32"
    print(f"chosen by train.precision = auto: {chosen}")


def convolution(channels: int, side_px: int, *, with_gradients: bool) -> Work:
    """Return a convolution of 3x3, channels last, in a number format."""

    def prepare(dtype: torch.dtype) -> Callable[[], object]:
        order = {"memory_format": torch.channels_last}
        x = torch.randn(32, channels, side_px, side_px).to(dtype).to(**order)
        weight = torch.randn(channels, channels, 3, 3).to(dtype).to(**order)
        x.requires_grad_(with_gradients)
        weight.requires_grad_(with_gradients)

        def run() -> None:
            output = functional.conv2d(x, weight, padding=1)
            if with_gradients:
                output.sum().backward()

        return run

    return prepare


def product(side: int) -> Work:
    """Return a product of two square matrices in a number format."""

    def prepare(dtype: torch.dtype) -> Callable[[], object]:
        left, right = (torch.randn(side, side).to(dtype) for _ in range(2))
        return lambda: left @ right

    return prepare


def seconds(run: Callable[[], object]) -> float:
    """Return the time of one run, after one to warm up."""
    run()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
