"""A trained network for other programs: ONNX, checked against torch, and safetensors."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tinysight import run_folder, whole_files
from tinysight.classify.checkpoint import load_model_weights, weights_file
from tinysight.classify.maps import spread_evenly
from tinysight.classify.store import Store
from tinysight.classify.trained_run import load_model, require_same_store
from tinysight.errors import RunError

OPSET = 18
"""Of the ONNX operators; every runtime since the end of 2022 has it."""
PARITY_IMAGES = 100
MAX_DIFFERENCE = 1e-4
"""Largest difference of a logit between ONNX Runtime and torch, both in float32. Logits are of the
order of 10, and float32 keeps seven digits, of which sums over some thousand values cost one or
two."""

INPUT_NAME, OUTPUT_NAME = "images", "logits"
_INPUT = (
    "images: float32 (batch, 3, {size}, {size}), RGB, in [0, 1], not normalised: the network "
    "subtracts the mean and divides by the standard deviation itself"
)
_OUTPUT = "logits: float32 (batch, {classes}), by class index; softmax gives probabilities"
_SAFETENSORS_INPUT = (
    "float32 (batch, 3, {size}, {size}), RGB, in [0, 1], minus mean, divided by std"
)


@dataclass(frozen=True)
class OnnxExport:
    """A written ONNX file and what it was checked on.

    Attributes:
        path: The file.
        opset: Version of the ONNX operators.
        images: Real test images that both networks looked at.
        max_difference: Largest difference of any logit on them.
        bytes: Length of the file.
    """

    path: Path
    opset: int
    images: int
    max_difference: float
    bytes: int


class _WithNormalisation(nn.Module):
    """A network that takes pixels in [0, 1], so that nobody can forget to normalise them."""

    def __init__(self, network: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.network = network
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network((images - self.mean) / self.std)  # type: ignore[no-any-return]


def export_onnx(
    run: str | Path, store: Store, out: str | Path, *, num_images: int = PARITY_IMAGES
) -> OnnxExport:
    """Write the trained network of a run as ONNX, once it is shown to give the same logits.

    The input ``images`` is float32 (batch, 3, S, S), RGB, in [0, 1]; normalisation is part of the
    network. The output ``logits`` is float32 (batch, classes). The batch may have any size. Class
    names, sizes, recipe and split digest are in ``metadata_props`` as JSON texts.

    The file appears under its name only after ONNX Runtime has agreed with torch on real test
    images to ``MAX_DIFFERENCE``.

    Args:
        run: A run folder with trained weights.
        store: The store that it was trained on; its test images are compared.
        out: File to write.
        num_images: How many test images to compare, spread over all of them.

    Raises:
        RunError: No trained weights, another store, logits that differ, ``out`` is a file of the
            run itself, or no room.
        ModuleNotFoundError: onnx, onnxscript or onnxruntime is not installed.
    """
    run, out = Path(run), Path(out)
    for name in ("onnx", "onnxscript", "onnxruntime"):
        import_module(name)
    run_folder.require_outside_run(run, out)
    about = run_folder.read_run(run)
    require_same_store(run, about, store)
    network, _, metadata = load_model(run, about)
    model = _WithNormalisation(network, about["mean"], about["std"]).eval()
    size_px, num_classes = about["size_px"], len(about["classes"])
    facts = _facts(run, about, metadata) | {
        "input": _INPUT.format(size=size_px),
        "output": _OUTPUT.format(classes=num_classes),
    }
    content = _onnx_bytes(model, size_px, facts)
    images = store.images_u8[spread_evenly(np.flatnonzero(~store.is_train), num_images)]
    difference = _largest_difference(content, model, images)
    # Written so that NaN, which is not below anything, is a fault.
    if not difference <= MAX_DIFFERENCE:
        raise RunError(
            f"{out}: the logits of the ONNX network must differ from torch's by at most "
            f"{MAX_DIFFERENCE:g} on {len(images)} test images, they differ by {difference:.3g}. "
            f"Nothing was written; try another version of onnxruntime or torch."
        )
    whole_files.replace_file(out, lambda file: file.write(content))
    return OnnxExport(out, OPSET, len(images), difference, len(content))


def export_safetensors(run: str | Path, out: str | Path) -> Path:
    """Write the trained weights of a run as one safetensors file that explains itself.

    The weights are copied bit by bit. Classes, normalisation, recipe, split digest and test
    accuracy are in the metadata as JSON texts.

    Args:
        run: A run folder with trained weights.
        out: File to write.

    Returns:
        ``out``.

    Raises:
        RunError: No trained weights, ``out`` is a file of the run itself, or no room.
    """
    run, out = Path(run), Path(out)
    run_folder.require_outside_run(run, out)
    about = run_folder.read_run(run)
    weights, metadata = load_model_weights(run)
    facts = _facts(run, about, metadata) | {
        "input": _SAFETENSORS_INPUT.format(size=about["size_px"]),
        "output": _OUTPUT.format(classes=len(about["classes"])),
    }
    content = weights_file(weights, facts)
    whole_files.replace_file(out, lambda file: file.write(content))
    return out


def _facts(run: Path, about: dict[str, Any], metadata: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the file must know, without the paths of this machine."""
    facts = {key: about[key] for key in ("classes", "mean", "std", "size_px")}
    facts |= {key: about[key] for key in ("split", "split_seed", "split_digest", "tinysight")}
    facts |= {"recipe": metadata["recipe"], "weights": metadata["weights"]}
    metrics = run_folder.read_metrics(run)
    if metrics:
        facts |= {f"test_{key}": metrics[key] for key in ("images", "accuracy", "top5", "loss")}
    return facts


def _onnx_bytes(model: nn.Module, size_px: int, facts: dict[str, Any]) -> bytes:
    # With a batch of 1 the exporter would take the batch size for a constant.
    example = torch.zeros(2, 3, size_px, size_px)
    with _quiet_exporter():
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
    assert program is not None  # the exporter that is asked for returns one
    proto = program.model_proto
    graph = proto.graph
    # Stack traces with the paths of this machine, and words for debugging the exporter.
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""
    for tensor in graph.initializer:
        tensor.doc_string = ""
    proto.doc_string = "A classifier of small images, exported by tinysight"
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what torch's exporter says about itself and nobody here can change."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # "torchvision is not installed"
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        registration.setLevel(level)


@torch.inference_mode()
def _largest_difference(content: bytes, model: nn.Module, images_u8: NDArray[np.uint8]) -> float:
    onnxruntime = import_module("onnxruntime")  # it has no type information
    images = (images_u8.transpose(0, 3, 1, 2) / np.float32(255)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    differences = []
    # One image by itself and the others together, so that both sizes of a batch are tried.
    for batch in (images[:1], images[1:]):
        if len(batch):
            (logits,) = session.run([OUTPUT_NAME], {INPUT_NAME: batch})
            expected = model(torch.from_numpy(batch)).numpy()
            differences.append(float(np.abs(logits - expected).max()))
    return max(differences)
