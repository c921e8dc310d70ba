"""How long do class activation maps take, next to plain inference and to captum?

Every program gives the Grad-CAM maps of the predicted and of the right class of the same test
images, and the logits. Ours: one pass, at the last layer (closed form) and at the layer before
(gradients by a backward pass). Peer: captum's LayerGradCam, which takes one class a call, after a
pass that gives the predicted class; in fp32 as its documentation has it, and in the same bf16 and
memory order as ours. Each round runs every program once, one after the other.

    python benchmarks/cam_speed.py --store STORE [--run RUN] [--images 2000] [--rounds 5]

Without ``--run``: a ResNet-18 with a 7x7 stem, untrained, which takes the same time.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import LayerGradCam
from hardware import hardware_line
from torch import nn

from tinysight import run_folder
from tinysight.classify.batches import LabelledImages, evaluation_batches
from tinysight.classify.cam import class_activation_maps
from tinysight.classify.evaluate import predict
from tinysight.classify.layer_gradients import feature_layers, last_feature_layer
from tinysight.classify.maps import BATCH_SIZE, spread_evenly
from tinysight.classify.models import build_model
from tinysight.classify.placement import autocast, place_model
from tinysight.classify.predictions import load_model
from tinysight.classify.settings import ModelSettings, TrainSettings
from tinysight.classify.store import load_store
from tinysight.cli.memory import prepare_memory

CPU = torch.device("cpu")
FP32 = TrainSettings(precision="fp32", channels_last=False)
PLAIN = "plain inference"
CLOSED_FORM = "tinysight, last layer (closed form)"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="a packed store of images")
    parser.add_argument("--run", type=Path, help="a trained run of that store")
    parser.add_argument("--images", type=int, default=2000, help="test images a round")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    prepare_memory()  # as the command line does
    store = load_store(arguments.store, verify=False)
    rows = spread_evenly(np.flatnonzero(~store.is_train), arguments.images)
    if arguments.run:
        model, recipe, _ = load_model(arguments.run, run_folder.read_run(arguments.run))
        settings = recipe.train
    else:
        model = build_model(ModelSettings(stem="7x7"), len(store.wnids), seed=0).eval()
        settings = TrainSettings()
    plain_model = copy.deepcopy(model)
    model = place_model(model, settings, CPU)
    last = last_feature_layer(model)
    before = layer_before(model, last, store.size_px)
    inputs = (LabelledImages(store.images_u8, store.targets, store.mean, store.std), rows)

    def infer() -> None:
        predict(model, *inputs, settings=settings, device=CPU)

    def ours(layer: str) -> None:
        for images, targets in evaluation_batches(*inputs, batch_size=BATCH_SIZE, device=CPU):
            class_activation_maps(
                model, images, predicted_and(targets), layer=layer, settings=settings
            )

    def captum(network: nn.Module, layer: str, format: TrainSettings) -> None:
        grad_cam = LayerGradCam(network, network.get_submodule(layer))
        for images, targets in evaluation_batches(*inputs, batch_size=BATCH_SIZE, device=CPU):
            if not format.channels_last:
                images = images.contiguous()
            with autocast(format, CPU):
                with torch.no_grad():
                    predicted = network(images).argmax(dim=1)
                for classes in (predicted, targets):
                    grad_cam.attribute(images, classes, relu_attributions=True)

    programs: dict[str, Callable[[], None]] = {
        PLAIN: infer,
        CLOSED_FORM: lambda: ours(last),
        f"tinysight, {before} (backward pass)": lambda: ours(before),
        f"captum, {last}, fp32": lambda: captum(plain_model, last, FP32),
        f"captum, {last}, {settings.precision}": lambda: captum(model, last, settings),
        f"captum, {before}, {settings.precision}": lambda: captum(model, before, settings),
    }
    for program in programs.values():  # warm up
        program()
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(arguments.rounds):
        for name, program in programs.items():
            began = time.perf_counter()
            program()
            times[name].append(time.perf_counter() - began)
    print(hardware_line())
    print(f"{type(model).__name__}, {settings.precision}, {len(rows):,} images, by {BATCH_SIZE}")
    print_table(times, len(rows), int((~store.is_train).sum()))


def predicted_and(targets: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function from logits to the predicted class and the right one, (B, 2)."""
    return lambda logits: torch.stack([logits.argmax(dim=1), targets], dim=1)


def layer_before(model: nn.Module, last: str, size_px: int) -> str:
    """Return the child in front of the last feature layer."""
    names = feature_layers(model, torch.zeros((1, 3, size_px, size_px)))
    children = [name for name in names if "." not in name]
    return children[children.index(last) - 1]


def print_table(times: dict[str, list[float]], num_images: int, num_test: int) -> None:
    """Print median, spread, ratios within each round, and what all test images take."""
    print(f"{'':38}{'s':>8}{'spread':>18}{'x inference':>13}{'x ours':>9}{'all, min':>10}")
    for name, values in times.items():
        median = statistics.median(values)
        by_inference, by_ours = (
            statistics.median(a / b for a, b in zip(values, times[other], strict=True))
            for other in (PLAIN, CLOSED_FORM)
        )
        print(
            f"{name:38}{median:8.2f}{min(values):9.2f} to {max(values):5.2f}{by_inference:13.2f}"
            f"{by_ours:9.2f}{median / num_images * num_test / 60:10.2f}"
        )


if __name__ == "__main__":
    main()
