"""The class activation maps of a trained run for its test images, as a file that needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinysight import run_folder
from tinysight.classify.cam import ActivationMaps, Method, class_activation_maps
from tinysight.classify.evaluate import look_at_batches
from tinysight.classify.layer_gradients import last_feature_layer
from tinysight.classify.trained_run import TrainedRun
from tinysight.errors import RunError
from tinysight.run_tables import maps_schema, read_predictions, write_table

# An early layer keeps a graph with the feature maps of all layers after it.
BATCH_SIZE = 100


@dataclass(frozen=True)
class RunMaps:
    """The maps of a run for its test images, two for each, in the order of the predictions.

    Attributes:
        sample_ids: (N,) which image.
        classes: (N, 2) int64, the predicted class and the right one, which the maps are for.
        maps: (N, 2, h, w) uint8, 255 for the maximum of each map, 0 where nothing speaks for the
            class.
        peaks: (N, 2) float32, that maximum in logits.
        method: One of :data:`tinysight.classify.cam.METHODS`.
        layer: Name of the layer whose feature maps were weighed.
        is_closed_form: Whether no backward pass was needed.
        of_images: Number of test images of the run, N if there was no limit.
        model_sha256: Digest of the file of weights, to notice that the maps are of older ones.
    """

    sample_ids: tuple[str, ...]
    classes: NDArray[np.int64]
    maps: NDArray[np.uint8]
    peaks: NDArray[np.float32]
    method: Method
    layer: str
    is_closed_form: bool
    of_images: int
    model_sha256: str

    def facts(self) -> dict[str, Any]:
        """Return what the metadata of every file with these maps says of them."""
        return {
            "method": self.method,
            "layer": self.layer,
            "map_hw": list(self.maps.shape[2:]),
            "images": len(self.sample_ids),
            "of_images": self.of_images,
            "model_sha256": self.model_sha256,
        }


def compute_run_maps(
    run: TrainedRun,
    *,
    method: Method = "grad-cam",
    layer: str | None = None,
    limit: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> RunMaps:
    """Compute the maps of the predicted and of the right class for the test images of a run.

    The predicted class is the one in ``predictions.parquet``, so that maps and predictions agree
    also where two logits are nearly equal and another batch or device would turn them round.

    Args:
        run: A run with predictions.
        method: One of :data:`tinysight.classify.cam.METHODS`.
        layer: Name of the layer to look at; the last one before the pooling when not given.
        limit: Compute maps for at most so many images, spread evenly over the test part; for all
            when not given.
        on_progress: Called with the number of images done and of all.

    Raises:
        RunError: No predictions, or those of another store.
        RecipeError: The network has no such layer, or it gives no feature map.
    """
    layer = last_feature_layer(run.model) if layer is None else layer
    test_rows = run.test_rows
    classes = np.zeros((len(run.sample_ids), 2), dtype=np.int64)
    classes[test_rows, 0] = _predicted_classes(run.folder, run.sample_ids[test_rows])
    classes[test_rows, 1] = run.images.targets[test_rows]
    rows = test_rows if limit is None else spread_evenly(test_rows, limit)

    def look(images: torch.Tensor, batch_classes: torch.Tensor) -> ActivationMaps:
        return class_activation_maps(
            run.model, images, batch_classes, method=method, layer=layer, settings=run.settings
        )

    maps: list[NDArray[np.uint8]] = []
    peaks: list[NDArray[np.float32]] = []
    is_closed_form = False
    for found in look_at_batches(
        look,
        replace(run.images, targets=classes),
        rows,
        device=run.device,
        batch_size=BATCH_SIZE,
        on_progress=on_progress,
    ):
        maps.append((found.maps * 255).round().to(torch.uint8).cpu().numpy())
        peaks.append(found.peaks.cpu().numpy())
        is_closed_form = found.is_closed_form
    return RunMaps(
        sample_ids=tuple(run.sample_ids[rows].tolist()),
        classes=classes[rows],
        maps=np.concatenate(maps),
        peaks=np.concatenate(peaks),
        method=method,
        layer=layer,
        is_closed_form=is_closed_form,
        of_images=len(test_rows),
        model_sha256=run.model_sha256,
    )


def write_maps(run: Path, maps: RunMaps) -> None:
    """Write ``maps.parquet`` into a run folder, see :mod:`tinysight.run_tables`.

    Raises:
        RunError: The disk is full or the file cannot be written.
    """
    map_hw = maps.maps.shape[2], maps.maps.shape[3]
    rows = maps.maps.reshape(len(maps.maps), 2, -1)
    columns = {
        "sample_id": list(maps.sample_ids),
        "predicted_map": rows[:, 0],
        "target_map": rows[:, 1],
        "predicted_peak": maps.peaks[:, 0],
        "target_peak": maps.peaks[:, 1],
    }
    about = maps.facts() | {"is_closed_form": maps.is_closed_form}
    write_table(run / run_folder.MAPS, columns, maps_schema(map_hw), about)


def spread_evenly(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return at most ``limit`` of the rows, at equal distances from the first to the last.

    A store is in the order of its classes, so the first rows would all be of a few classes.

    Raises:
        ValueError: ``limit`` is below 1.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    if limit >= len(rows):
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).round().astype(np.int64)]


def _predicted_classes(run: Path, sample_ids: NDArray[np.str_]) -> NDArray[np.int64]:
    predictions = read_predictions(run)
    if not np.array_equal(predictions.sample_ids, sample_ids):
        raise RunError(
            f"{run / run_folder.PREDICTIONS}: must have one row for each of the "
            f"{len(sample_ids):,} test images in the order of the store, but has "
            f"{len(predictions.sample_ids):,} rows or another order. "
            f"Write it again with: tinysight evaluate {quote(str(run))}"
        )
    return predictions.top_classes[:, 0]
