"""The predictions of a trained run for its test images, as files that need no torch to read."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from tinysight import run_folder, whole_files
from tinysight.classify.device_memory import enough_memory_to_look
from tinysight.classify.evaluate import TOP_K, Predictions, predict
from tinysight.classify.metrics import (
    FlipMetrics,
    Metrics,
    compute_metrics,
    cross_entropies,
    softmax,
    top_classes,
)
from tinysight.classify.store import Store
from tinysight.classify.trained_run import TrainedRun, open_run


def evaluate_run(
    run: str | Path,
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
    run = Path(run)
    device = device or torch.device("cpu")
    with enough_memory_to_look(device):
        opened = open_run(run, store, device)
        run_folder.require_writable(run)
        return evaluate_opened(opened, flip=flip, on_progress=on_progress)


def evaluate_opened(
    run: TrainedRun,
    *,
    flip: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Metrics:
    """Do what :func:`evaluate_run` does with a run that is open."""
    look = partial(
        predict,
        run.model,
        run.images,
        run.test_rows,
        device=run.device,
        settings=run.settings,
        on_progress=on_progress,
    )
    predictions = look()
    mirrored = look(mirror=True) if flip else None
    metrics = compute_metrics(predictions.logits, predictions.targets)
    if mirrored is not None:
        logits = (predictions.logits + mirrored.logits) / np.float32(2)
        both = compute_metrics(logits, predictions.targets)
        metrics = replace(metrics, with_flip=FlipMetrics(both.accuracy, both.top5, both.loss))
    _write_predictions(run.folder, run.sample_ids[run.test_rows].tolist(), predictions)
    facts = {"weights": run.metadata["weights"], "number_format": run.settings.precision}
    _write_metrics(run.folder, metrics, run.about["classes"], facts)
    return metrics


def logits_in_half(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return logits as float16: three digits are enough for every use of all, at half the size.

    Rows with a number beyond what float16 holds, as a network that diverges gives them, are
    shifted until their largest is 0, which changes no probability, and cut at the least number.

    Args:
        logits: (N, classes), finite.
    """
    bound = float(np.finfo(np.float16).max)
    is_beyond = np.abs(logits).max(axis=1, keepdims=True) > bound
    shifted = logits - np.where(is_beyond, logits.max(axis=1, keepdims=True), 0)
    return np.maximum(shifted, -bound).astype(np.float16)


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
        "logits": _rows(logits_in_half(logits)),
    }
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    whole_files.replace_file(
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
    whole_files.write_json(run / run_folder.METRICS, content)
