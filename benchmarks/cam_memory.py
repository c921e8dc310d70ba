"""Does memory grow over 10,000 calls for class activation maps?

The resident memory of the process after the first calls, which fill torch's own caches, and after
all of them; with a backward pass and in closed form, one after the other. Growth must stay under
1 MB for each. Peer, in the same process: captum's LayerGradCam over as many calls.

    python benchmarks/cam_memory.py [--calls 10000]
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path

import torch
from captum.attr import LayerGradCam
from hardware import hardware_line

from tinysight.classify.cam import class_activation_maps
from tinysight.classify.models import build_model
from tinysight.classify.settings import ModelSettings

FIRST_CALLS = 500
PAGE_BYTES = 4096


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    calls = parser.parse_args().calls
    torch.set_num_threads(1)  # a batch of two is too small for more
    model = build_model(ModelSettings(name="compact"), 10, seed=0).eval()
    images = torch.randn((2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([[0, 1], [2, 3]])
    grad_cam = LayerGradCam(model, model.get_submodule("layer1"))
    programs: dict[str, Callable[[], object]] = {
        "closed form": lambda: class_activation_maps(model, images, classes),
        "backward pass": lambda: class_activation_maps(model, images, classes, layer="layer1"),
        "captum": lambda: grad_cam.attribute(images, classes[:, 0]),
    }
    print(hardware_line())
    print(f"{'':16}{'calls':>8}{'growth, MB':>12}{'ms a call':>11}")
    for name, program in programs.items():
        for _ in range(FIRST_CALLS):
            program()
        gc.collect()
        before, began = resident_bytes(), time.perf_counter()
        for _ in range(calls):
            program()
        seconds = time.perf_counter() - began
        gc.collect()
        growth_mb = (resident_bytes() - before) / 2**20
        print(f"{name:16}{calls:8,}{growth_mb:12.2f}{seconds / calls * 1e3:11.2f}", flush=True)


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


if __name__ == "__main__":
    main()
