"""The predictions of a trained run for its test images, as files that need no torch to read."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from tinysight import run_folder
from tinysight.classify.batches import LabelledImages, place_images
from tinysight.classify.checkpoint import load_model_weights, load_weights
from tinysight.classify.evaluate import TOP_K, Predictions, predict
from tinysight.classify.metrics import (
    FlipMetrics,
    Metrics,
    compute_metrics,
    cross_entropies,
    softmax,
    top_classes,
)
from tinysight.classify.models import build_model
from tinysight.classify.placement import enough_memory_to_look, place_model, settings_to_look
from tinysight.classify.run_settings import read_settings
from tinysight.classify.settings import Recipe, TrainSettings
from tinysight.classify.store import Store
from tinysight.errors import RunError

# Decoders of JPEG that round differently move a mean or a deviation by less than this.
_SAME_PIXELS = 1e-3


def evaluate_run(
    run: Path,
    store: Store,
    *,
    device: torch.device | None = None,
    flip: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Predict every test image of a run and write what comes out.

    Writes ``predictions.parquet`` (sample_id, target, top5, top5_probs, loss, logits) and
    ``metrics.json``. The predictions are those of one look at each image, with ``flip`` too.

    Args:
        run: A run folder with trained weights.
        store: The store that the run was trained on.
        device: Where to run the network; the CPU when not given.
        flip: Look at every mirror image as well and report apart what both looks together give.
        on_progress: Called with the number of images done and of all, once for each look.

    Raises:
        RunError: No trained weights, or weights of another network, or another store, or a folder
            that cannot be written, or the memory of the device is too small.
    """
    device = device or torch.device("cpu")
    about = run_folder.read_run(run)
    require_same_store(run, about, store)
    run_folder.require_writable(run)
    rows = np.flatnonzero(~store.is_train)
    with enough_memory_to_look(device):
        model, settings, metadata = load_model_on(device, run, about)
        look = partial(
            predict,
            model,
            LabelledImages(
                place_images(store.images_u8, device),
                store.targets,
                mean=np.asarray(about["mean"]),
                std=np.asarray(about["std"]),
            ),
            rows,
            device=device,
            settings=settings,
            on_progress=on_progress,
        )
        predictions = look()
        mirrored = look(mirror=True) if flip else None
    metrics = compute_metrics(predictions.logits, predictions.targets)
    if mirrored is not None:
        logits = (predictions.logits + mirrored.logits) / np.float32(2)
        both = compute_metrics(logits, predictions.targets)
        metrics = replace(metrics, with_flip=FlipMetrics(both.accuracy, both.top5, both.loss))
    _write_predictions(run, [str(store.sample_ids[row]) for row in rows], predictions)
    facts = {"weights": metadata["weights"], "number_format": settings.precision}
    _write_metrics(run, metrics, about["classes"], facts)
    return metrics


def load_model(run: Path, about: dict[str, Any]) -> tuple[nn.Module, Recipe, dict[str, Any]]:
    """Build the network of a run and fill it with its trained weights.

    Args:
        run: The run folder.
        about: What :func:`tinysight.run_folder.read_run` returns.

    Returns:
        The network in evaluation mode, the settings of the run, the metadata of its weights.

    Raises:
        RunError: No trained weights, weights of another network, or settings of another version.
    """
    recipe = read_settings(run)
    model = build_model(recipe.model, len(about["classes"]), seed=recipe.train.seed)
    weights, metadata = load_model_weights(run)
    load_weights(model, weights, where=str(run / run_folder.MODEL))
    return model.eval(), recipe, metadata


def load_model_on(
    device: torch.device, run: Path, about: dict[str, Any]
) -> tuple[nn.Module, TrainSettings, dict[str, Any]]:
    """Load the network of a run to look at images with it on a device.

    Returns:
        The network, as :func:`load_model` returns it, on the device; the settings to run it with,
        whose precision fits the device; the metadata of its weights.
    """
    model, recipe, metadata = load_model(run, about)
    settings = settings_to_look(recipe.train, device)
    return place_model(model, settings, device), settings, metadata


def require_same_store(run: Path, about: dict[str, Any], store: Store) -> None:
    """Make sure that a store is the one that a run was trained on.

    Pixels are compared by their channel statistics alone, so a store may be packed again on a
    machine whose JPEG decoder rounds differently.

    Raises:
        RunError: It has other images or classes, images of another size, or another split.
    """
    its = f"must be the one that {run} was trained on"
    right = "Name the store that the run was trained on, or pack it again"
    if about["split_digest"] != store.split_digest:
        raise RunError(
            f"{store.path}: the split {its} (digest {about['split_digest'][:12]}…), got "
            f"{store.split_digest[:12]}…. {right} with the same seed."
        )
    if about["size_px"] != store.size_px:
        raise RunError(
            f"{store.path}: the side of the images {its} ({about['size_px']} px), got "
            f"{store.size_px} px. {right} with --size {about['size_px']}."
        )
    wnids = [entry["wnid"] for entry in about["classes"]]
    for index, (was, now) in enumerate(zip_longest(wnids, store.wnids)):
        if was != now:
            raise RunError(
                f"{store.path}: class {index} {its} ({was}), got {now}. {right} from the same "
                f"source."
            )
    for name, was, now in (("mean", about["mean"], store.mean), ("std", about["std"], store.std)):
        if not np.allclose(was, now, rtol=0.0, atol=_SAME_PIXELS):
            raise RunError(
                f"{store.path}: the channel {name} of the training images {its} "
                f"({_listed(was)}), within {_SAME_PIXELS:g}, got {_listed(now)}. {right} from "
                f"the same images."
            )


def _listed(channels: Iterable[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in channels)


def _write_predictions(run: Path, sample_ids: list[str], predictions: Predictions) -> None:
    logits, targets = predictions.logits, predictions.targets
    best = top_classes(logits, TOP_K)
    best_probs = np.take_along_axis(softmax(logits), best, axis=1)
    columns = {
        "sample_id": pa.array(sample_ids),
        "target": pa.array(targets.astype(np.int32)),
        "top5": _rows(best.astype(np.int32)),
        "top5_probs": _rows(best_probs.astype(np.float32)),
        "loss": pa.array(cross_entropies(logits, targets).astype(np.float32)),
        # Three digits are enough for every use of all logits, at half the size.
        "logits": _rows(logits.astype(np.float16)),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    run_folder.replace_file(
        run / run_folder.PREDICTIONS, lambda file: file.write(buffer.getbuffer())
    )


def _rows(matrix: np.ndarray[Any, Any]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _write_metrics(
    run: Path, metrics: Metrics, classes: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    content = asdict(metrics) | facts
    content["classes"] = [
        {**names, **numbers} for names, numbers in zip(classes, content["classes"], strict=True)
    ]
    run_folder.write_json(run / run_folder.METRICS, content)
