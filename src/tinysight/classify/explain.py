"""From a trained run to everything that a page says about its mistakes, as files in the run."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tinysight import run_folder, whole_files
from tinysight.classify.cam import Method
from tinysight.classify.device_memory import enough_memory_to_look
from tinysight.classify.explanation_tables import (
    ShownImages,
    choose_shown_images,
    count_duplicates,
    duplicate_columns,
    gallery_columns,
    label_issue_columns,
    probs_of,
    summarize_mistakes,
)
from tinysight.classify.faithfulness import Faithfulness, measure_run_faithfulness
from tinysight.classify.label_errors import LabelErrors, find_label_errors
from tinysight.classify.maps import RunMaps, compute_run_maps, write_maps
from tinysight.classify.mistakes import ConfusedPair
from tinysight.classify.near_duplicates import DuplicatePairs, find_duplicate_pairs
from tinysight.classify.predictions import evaluate_opened
from tinysight.classify.store import Store, load_samples
from tinysight.classify.trained_run import open_run
from tinysight.run_tables import (
    DUPLICATES_SCHEMA,
    LABEL_ISSUES_SCHEMA,
    PICTURES_SCHEMA,
    SavedPredictions,
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
            two_labels; and seen_test_images, how many test images have such a partner in training.
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
    run: str | Path,
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
    store and arguments give the same bytes on the same machine, if it computes on the CPU.

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
    run = Path(run)
    device = device or torch.device("cpu")
    with enough_memory_to_look(device):
        opened = open_run(run, store, device)
        run_folder.require_writable(run)
        if not (run / run_folder.PREDICTIONS).exists():
            evaluate_opened(opened, on_progress=_part(on_progress, "predictions"))
        maps = compute_run_maps(
            opened,
            method=method,
            layer=layer,
            limit=limit,
            on_progress=_part(on_progress, "heat maps"),
        )
        faithfulness = measure_run_faithfulness(
            opened,
            layer=layer,
            limit=FAITHFULNESS_IMAGES,
            on_progress=_part(on_progress, "trust in heat maps"),
        )
    samples = load_samples(store.path)
    found = _search(
        store,
        read_predictions(run),
        maps,
        samples["sha256"].to_pylist(),
        on_progress=_part(on_progress, "duplicates"),
    )
    summary = _summarize(found, store, maps, faithfulness)
    # An earlier explanation must not vouch for files that are now replaced one by one.
    whole_files.remove_file(run / run_folder.EXPLANATION)
    write_maps(run, maps)
    _write_tables(run, found, store, maps, samples["file"].to_pylist())
    whole_files.write_json(run / run_folder.EXPLANATION, summary)
    num_predictions = len(found.predictions.targets)
    return ExplainResult(
        run=run,
        images=len(maps.sample_ids),
        of_images=maps.of_images,
        accuracy=(num_predictions - found.num_mistakes) / num_predictions,
        mistakes=found.num_mistakes,
        method=maps.method,
        layer=maps.layer,
        faithfulness=faithfulness,
        confused_pairs=tuple(ConfusedPair(**pair) for pair in summary["confused_pairs"]),
        label_issues=len(found.label_errors.rows),
        duplicates=summary["duplicates"],
        files=tuple(run / name for name in FILES),
    )


@dataclass(frozen=True)
class _Findings:
    """What was found in predictions and pixels; a "place" is a row of the predictions.

    Attributes:
        predictions: Of all test images.
        probs: (N, C) float64, their probabilities.
        explained: (E,) int64, places of the images that have maps, ascending.
        label_errors: Suspected ones, ``rows`` being places.
        duplicates: Pairs of rows of the store.
        shown: The images that a page shows.
    """

    predictions: SavedPredictions
    probs: NDArray[np.float64]
    explained: NDArray[np.int64]
    label_errors: LabelErrors
    duplicates: DuplicatePairs
    shown: ShownImages

    @property
    def num_mistakes(self) -> int:
        return int((self.predictions.top_classes[:, 0] != self.predictions.targets).sum())


def _search(
    store: Store,
    predictions: SavedPredictions,
    maps: RunMaps,
    sha256s: Sequence[str],
    *,
    on_progress: Callable[[int, int], None] | None,
) -> _Findings:
    duplicates = find_duplicate_pairs(
        store.images_u8, sha256s, is_train=store.is_train, on_progress=on_progress
    )
    probs = probs_of(predictions)
    label_errors = find_label_errors(probs, predictions.targets)
    explained = np.flatnonzero(np.isin(predictions.sample_ids, maps.sample_ids))
    return _Findings(
        predictions=predictions,
        probs=probs,
        explained=explained,
        label_errors=label_errors,
        duplicates=duplicates,
        shown=choose_shown_images(store, predictions, explained, label_errors, duplicates),
    )


def _summarize(
    found: _Findings, store: Store, maps: RunMaps, faithfulness: Sequence[Faithfulness]
) -> whole_files.Record:
    """Return the content of ``explanation.json``."""
    return {
        "format_version": run_folder.FORMAT_VERSION,
        **maps.facts(),
        "is_closed_form": maps.is_closed_form,
        **summarize_mistakes(found.predictions, found.explained, len(store.wnids)),
        "label_issues": {
            "found": len(found.label_errors.rows),
            "of_images": len(found.predictions.targets),
        },
        "duplicates": count_duplicates(store, found.duplicates),
        # Without the seconds: two explanations of one run are the same bytes.
        "faithfulness": [
            {name: value for name, value in asdict(one).items() if name != "seconds"}
            for one in faithfulness
        ],
    }


def _write_tables(
    run: Path, found: _Findings, store: Store, maps: RunMaps, files: Sequence[str]
) -> None:
    """Write what pages show, each table with what the maps are of.

    Args:
        run: The run folder.
        found: What to write.
        store: The images.
        maps: Those of the images ``found.explained``.
        files: File of each image of the store.
    """
    about = maps.facts()
    predictions, shown, duplicates = found.predictions, found.shown, found.duplicates
    test_files = [files[row] for row in np.flatnonzero(~store.is_train).tolist()]
    height, width = maps.maps.shape[2:]
    write_table(
        run / run_folder.GALLERY,
        gallery_columns(shown, predictions, found.explained, maps.maps, test_files),
        gallery_schema((height, width)),
        about
        | {
            "size_px": store.size_px,
            "mistakes_shown": shown.mistakes_shown,
            "mistakes_of": found.num_mistakes,
        },
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
        label_issue_columns(found.label_errors, predictions, found.probs),
        LABEL_ISSUES_SCHEMA,
        about,
    )
    write_table(
        run / run_folder.DUPLICATES,
        duplicate_columns(store, duplicates),
        DUPLICATES_SCHEMA,
        about | {"pairs": len(duplicates.rows), "of_pairs": duplicates.found},
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
