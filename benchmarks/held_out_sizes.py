"""How well does a run do on its held-out images when these are made smaller or larger first?

Peer: the images as they are. An image of another size is interpolated, so it is smoother as well as
showing its objects in another size; the two are not told apart. The run needs a held-out part
(``train.tuning_fraction``); the test images are not touched.

    python benchmarks/held_out_sizes.py RUN --store STORE [--sizes 56,64,72]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from hardware import hardware_line

from tinysight import run_folder
from tinysight.classify.batches import evaluation_batches
from tinysight.classify.placement import autocast
from tinysight.classify.run_settings import read_settings
from tinysight.classify.store import load_store
from tinysight.classify.trained_run import load_model_on
from tinysight.classify.training_images import training_data

CPU = torch.device("cpu")


@torch.inference_mode()
def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run with a held-out part")
    parser.add_argument("--store", type=Path, required=True, help="the store of the run")
    parser.add_argument("--sizes", default="56,64,72", help="sides in px")
    arguments = parser.parse_args()
    print(hardware_line())
    model, settings, _ = load_model_on(CPU, arguments.run, run_folder.read_run(arguments.run))
    data = training_data(load_store(arguments.store), read_settings(arguments.run), CPU)
    if len(data.tuning_rows) == 0:
        parser.error("the run must have a held-out part, train.tuning_fraction was 0")
    for size_px in map(int, arguments.sizes.split(",")):
        hits = 0
        batches = evaluation_batches(
            data.images,
            data.tuning_rows,
            batch_size=256,
            device=CPU,
        )
        for images, targets in batches:
            resized = torch.nn.functional.interpolate(
                images, size=(size_px, size_px), mode="bilinear", antialias=True
            )
            with autocast(settings, CPU):
                logits = model(resized if size_px != images.shape[2] else images)
            hits += int((logits.argmax(1) == targets).sum())
        print(f"{size_px:3} px  {hits / len(data.tuning_rows):.1%}", flush=True)


if __name__ == "__main__":
    main()
