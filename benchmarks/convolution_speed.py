"""How long does a 3x3 convolution of training in fp32 take, next to torch's own?

Peer: ``torch.nn.functional.conv2d``, which is oneDNN's on a CPU. Each line is one layer of the
networks here, forward and backward pass, both programs in turn, the median of all rounds but the
first; the layers of 32 and 48 channels are too narrow and trained with torch's own. The last
columns are the largest differences of the output and of both gradients, as a part of the largest
value.

    python benchmarks/convolution_speed.py [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import torch
from hardware import hardware_line
from torch.nn import functional

from tinysight.classify.models.winograd import winograd_convolution
from tinysight.cli.memory import prepare_memory

# Channels, positions along a side, images: compact12 and compact14, both stems of ResNet-18.
LAYERS = (
    (32, 16, 128),
    (48, 16, 128),
    (64, 64, 16),
    (64, 16, 128),
    (96, 16, 128),
    (96, 8, 128),
    (96, 6, 128),
    (128, 32, 16),
    (128, 8, 128),
    (192, 8, 128),
    (192, 4, 128),
    (192, 3, 128),
    (256, 16, 16),
    (256, 4, 128),
    (384, 4, 128),
    (512, 8, 16),
    (512, 2, 128),
)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    prepare_memory()  # as the command line does
    print(hardware_line())
    print("channels  positions  images     ours    torch    ratio   largest difference")
    for channels, size_px, num_images in LAYERS:
        weight = torch.nn.Conv2d(channels, channels, 3).weight.detach()
        weight = weight.contiguous(memory_format=torch.channels_last).requires_grad_()
        x = random_maps(num_images, channels, size_px).requires_grad_()
        upstream = random_maps(num_images, channels, size_px)
        programs = {
            "ours": winograd_convolution,
            "torch": partial(functional.conv2d, padding=1),
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        results = {}
        for _ in range(rounds):
            for name, convolve in programs.items():
                x.grad = weight.grad = None
                began = time.perf_counter()
                output = convolve(x, weight)
                output.backward(upstream)
                seconds[name].append(time.perf_counter() - began)
                results[name] = (output.detach(), x.grad, weight.grad)
        ours, torchs = (1000 * statistics.median(seconds[name][1:]) for name in programs)
        differences = (
            float((found - expected).abs().max() / expected.abs().max())
            for found, expected in zip(*results.values(), strict=True)
        )
        print(
            f"{channels:8} {size_px:6}x{size_px:<4}{num_images:6}{ours:6.1f} ms{torchs:6.1f} ms"
            f"{torchs / ours:8.2f}   {'  '.join(f'{value:.0e}' for value in differences)}",
            flush=True,
        )


def random_maps(num_images: int, channels: int, size_px: int) -> torch.Tensor:
    """Normal numbers (num_images, channels, size_px, size_px), channels last."""
    maps = torch.randn(num_images, channels, size_px, size_px)
    return maps.contiguous(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
