"""From a trained run to everything that a page says about its mistakes, as files in the run."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tinysight import run_folder
from tinysight.classify.cam import Method
from tinysight.classify.explanation_tables import (
    choose_shown_images,
    count_duplicates,
    duplicate_columns,
    gallery_columns,
    label_issue_columns,
    probs_of,
    summarize_mistakes,
)
from tinysight.classify.faithfulness import Faithfulness, measure_run_faithfulness
from tinysight.classify.label_errors import find_label_errors
from tinysight.classify.maps import compute_run_maps, write_maps
from tinysight.classify.mistakes import ConfusedPair
from tinysight.classify.near_duplicates import find_duplicate_pairs
from tinysight.classify.placement import enough_memory_to_look
from tinysight.classify.predictions import evaluate_run, require_same_store
from tinysight.classify.store import Store, load_samples
from tinysight.run_tables import (
    DUPLICATES_SCHEMA,
    LABEL_ISSUES_SCHEMA,
    PICTURES_SCHEMA,
    gallery_schema,
    read_predictions,
    write_table,
)

FAITHFULNESS_IMAGES = 100
WEBP_QUALITY = 80

FILES = (
    run_folder.MAPS,
    run_folder.GALLERY,
    run_folder.PICTURES,
    run_folder.LABEL_ISSUES,
    run_folder.DUPLICATES,
    run_folder.EXPLANATION,
)

OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExplainResult:
    """What was found in a run.

    Attributes:
        run: The run folder.
        images: Test images that have maps.
        of_images: Test images of the run.
        accuracy: Share of all test images whose first guess is right.
        mistakes: Test images whose first guess is wrong.
        method: One of :data:`tinysight.classify.cam.METHODS`.
        layer: Name of the layer whose feature maps were weighed.
        faithfulness: How far the maps of each method can be trusted.
        confused_pairs: The most frequent mistakes from class to class.
        label_issues: Test images whose label is probably wrong.
        duplicates: Pairs of images that show the same, by kind: identical, near, across_split,
            two_labels.
        files: The files written.
    """

    run: Path
    images: int
    of_images: int
    accuracy: float
    mistakes: int
    method: Method
    layer: str
    faithfulness: tuple[Faithfulness, ...]
    confused_pairs: tuple[ConfusedPair, ...]
    label_issues: int
    duplicates: dict[str, int]
    files: tuple[Path, ...]


def explain_run(
    run: Path,
    store: Store,
    *,
    method: Method = "grad-cam",
    layer: str | None = None,
    limit: int | None = None,
    device: torch.device | None = None,
    on_progress: OnProgress | None = None,
) -> ExplainResult:
    """Find what a run got wrong and why, and write it into its folder.

    Evaluates the run first if it has no predictions. Writes maps, gallery, pictures, label issues
    and duplicates, see :mod:`tinysight.run_tables`, and last ``explanation.json``. The same run,
    store and arguments give the same bytes on the same machine.

    Args:
        run: A run folder with trained weights.
        store: The store that the run was trained on.
        method: One of :data:`tinysight.classify.cam.METHODS`.
        layer: Name of the layer to look at; the last one before the pooling when not given.
        limit: Compute maps for at most so many test images, spread evenly, and show only these;
            everything that needs no map is still about all images.
        device: Where to run the network; the CPU when not given.
        on_progress: Called with what is being done, how much of it is done and how much there is.

    Raises:
        RunError: No trained weights, or weights of another network, or another store, or a folder
            that cannot be written, or the memory of the device is too small.
        RecipeError: The network has no such layer, or it gives no feature map.
    """
    require_same_store(run, run_folder.read_run(run), store)
    run_folder.require_writable(run)
    device = device or torch.device("cpu")
    with enough_memory_to_look(device):
        if not (run / run_folder.PREDICTIONS).exists():
            evaluate_run(run, store, device=device, on_progress=_part(on_progress, "predictions"))
        predictions = read_predictions(run)
        maps = compute_run_maps(
            run,
            store,
            method=method,
            layer=layer,
            limit=limit,
            device=device,
            on_progress=_part(on_progress, "heat maps"),
        )
        faithfulness = measure_run_faithfulness(
            run,
            store,
            layer=layer,
            limit=FAITHFULNESS_IMAGES,
            device=device,
            on_progress=_part(on_progress, "trust in heat maps"),
        )
    samples = load_samples(store.path)
    duplicates = find_duplicate_pairs(
        store.images_u8,
        samples["sha256"].to_pylist(),
        on_progress=_part(on_progress, "duplicates"),
    )
    probs = probs_of(predictions)
    errors = find_label_errors(probs, predictions.targets)
    explained = np.flatnonzero(np.isin(predictions.sample_ids, maps.sample_ids))
    shown = choose_shown_images(store, predictions, explained, errors, duplicates)
    mistakes = summarize_mistakes(predictions, explained, len(store.wnids))
    counts = count_duplicates(store, duplicates)

    about = {
        "method": maps.method,
        "layer": maps.layer,
        "map_hw": list(maps.maps.shape[2:]),
        "images": len(maps.sample_ids),
        "of_images": maps.of_images,
        "model_sha256": maps.model_sha256,
    }
    shown_counts = {
        "size_px": store.size_px,
        "mistakes_shown": shown.mistakes_shown,
        "mistakes_of": mistakes["mistakes"],
    }
    # An earlier explanation must not vouch for files that are now replaced one by one.
    run_folder.remove_file(run / run_folder.EXPLANATION)
    write_maps(run, maps)
    files = np.array(samples["file"].to_pylist())[~store.is_train].tolist()
    height, width = maps.maps.shape[2:]
    write_table(
        run / run_folder.GALLERY,
        gallery_columns(shown, predictions, explained, maps.maps, files),
        gallery_schema((height, width)),
        about | shown_counts,
    )
    write_table(
        run / run_folder.PICTURES,
        {
            "sample_id": store.sample_ids[shown.rows].tolist(),
            "picture": [encode_picture(store.images_u8[row]) for row in shown.rows],
        },
        PICTURES_SCHEMA,
        about,
    )
    write_table(
        run / run_folder.LABEL_ISSUES,
        label_issue_columns(errors, predictions, probs),
        LABEL_ISSUES_SCHEMA,
        about,
    )
    write_table(
        run / run_folder.DUPLICATES,
        duplicate_columns(store, duplicates),
        DUPLICATES_SCHEMA,
        about | {"pairs": len(duplicates.rows), "of_pairs": duplicates.found},
    )
    run_folder.write_json(
        run / run_folder.EXPLANATION,
        {
            "format_version": run_folder.FORMAT_VERSION,
            **about,
            "is_closed_form": maps.is_closed_form,
            **mistakes,
            "label_issues": {"found": len(errors.rows), "of_images": len(predictions.targets)},
            "duplicates": counts,
            # Without the seconds: two explanations of one run are the same bytes.
            "faithfulness": [
                {name: value for name, value in asdict(one).items() if name != "seconds"}
                for one in faithfulness
            ],
        },
    )
    return ExplainResult(
        run=run,
        images=len(maps.sample_ids),
        of_images=maps.of_images,
        accuracy=(len(predictions.targets) - mistakes["mistakes"]) / len(predictions.targets),
        mistakes=mistakes["mistakes"],
        method=maps.method,
        layer=maps.layer,
        faithfulness=faithfulness,
        confused_pairs=tuple(ConfusedPair(**pair) for pair in mistakes["confused_pairs"]),
        label_issues=len(errors.rows),
        duplicates=counts,
        files=tuple(run / name for name in FILES),
    )


def encode_picture(image_u8: NDArray[np.uint8]) -> bytes:
    """Return an image, (S, S, 3) uint8 RGB, as a WebP file."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image_u8)).save(
        file, "WEBP", quality=WEBP_QUALITY, method=4
    )
    return file.getvalue()


def _part(on_progress: OnProgress | None, what: str) -> Callable[[int, int], None] | None:
    return partial(on_progress, what) if on_progress else None
