"""The rows that ``tinysight explain`` writes, from what was found. Arrays in, columns out.

``predictions`` are those of all test images. A "place" is a row of them, a "row" one of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysight.classify.label_errors import LabelErrors
from tinysight.classify.metrics import softmax
from tinysight.classify.mistakes import (
    MOST_RANKED_CLASSES,
    choose_gallery,
    confident_mistakes,
    count_confusions,
    most_confused_pairs,
    order_by_confusion,
    rank_classes,
    unsure_hits,
)
from tinysight.classify.near_duplicates import DuplicatePairs
from tinysight.classify.store import Store
from tinysight.run_tables import SavedPredictions

LABEL_ISSUES_SHOWN = 300
DUPLICATES_SHOWN = 300

Rows = NDArray[np.int64]
Columns = dict[str, Any]


@dataclass(frozen=True)
class ShownImages:
    """The images that a page shows.

    Attributes:
        places: (M,) int64, the test images of the gallery, ascending.
        reasons: Why each is shown, some of ``run_tables.REASONS``.
        mistakes_shown: How many of them are mistakes.
        rows: (P,) int64, rows of all images whose picture is needed, ascending: the gallery, the
            first label issues and duplicates.
    """

    places: Rows
    reasons: tuple[tuple[str, ...], ...]
    mistakes_shown: int
    rows: Rows


def probs_of(predictions: SavedPredictions) -> NDArray[np.float64]:
    """Return the probabilities of all classes, (N, C) float64, rows summing to 1 within 0.01.

    Those of the right class and of the first guesses are as they were written; only the others
    come from logits of half precision. So an image has the same figures wherever it is shown.
    """
    probs = softmax(predictions.logits.astype(np.float32))
    images = np.arange(len(probs))
    probs[images, predictions.targets] = np.exp(-predictions.losses)
    probs[images[:, None], predictions.top_classes] = predictions.top_probs
    return probs


def choose_shown_images(
    store: Store,
    predictions: SavedPredictions,
    explained: Rows,
    errors: LabelErrors,
    duplicates: DuplicatePairs,
) -> ShownImages:
    """Choose what a page shows.

    Args:
        store: The images.
        predictions: Of all test images.
        explained: (E,) int64, places of the images that have maps, ascending; the gallery is
            chosen among these.
        errors: Suspected label errors, ``rows`` being places.
        duplicates: Pairs of rows.
    """
    test_rows = np.flatnonzero(~store.is_train)
    suspected = errors.rows[:LABEL_ISSUES_SHOWN]
    doubled = np.unique(duplicates.rows[_telling_pairs(store, duplicates)])
    gallery = choose_gallery(
        predictions.targets[explained],
        predictions.top_classes[explained, 0],
        predictions.top_probs[explained, 0],
        len(store.wnids),
        others={
            "label issue": np.flatnonzero(np.isin(explained, suspected)),
            "duplicate": np.flatnonzero(np.isin(test_rows[explained], doubled)),
        },
    )
    places = explained[gallery.rows]
    return ShownImages(
        places=places,
        reasons=gallery.reasons,
        mistakes_shown=gallery.mistakes_shown,
        rows=np.unique(np.concatenate([test_rows[places], test_rows[suspected], doubled])),
    )


def gallery_columns(
    shown: ShownImages,
    predictions: SavedPredictions,
    explained: Rows,
    maps: NDArray[np.uint8],
    files: Sequence[str],
) -> Columns:
    """Return the columns of ``gallery.parquet``.

    Args:
        shown: What to show.
        predictions: Of all test images.
        explained: (E,) int64, places of the images that have maps, ascending.
        maps: (E, 2, h, w) of the predicted and of the right class.
        files: File of each test image, by place.
    """
    places = shown.places
    shown_maps = maps[np.searchsorted(explained, places)]
    return {
        "sample_id": predictions.sample_ids[places].tolist(),
        "file": [files[place] for place in places],
        "target": predictions.targets[places],
        "predicted": predictions.top_classes[places, 0],
        "target_prob": np.exp(-predictions.losses[places]),
        "predicted_prob": predictions.top_probs[places, 0],
        "loss": predictions.losses[places],
        "top5": predictions.top_classes[places].tolist(),
        "top5_probs": predictions.top_probs[places].tolist(),
        "why": [list(reasons) for reasons in shown.reasons],
        "predicted_map": shown_maps[:, 0],
        "target_map": shown_maps[:, 1],
    }


def label_issue_columns(
    errors: LabelErrors, predictions: SavedPredictions, probs: NDArray[np.float64]
) -> Columns:
    """Return the columns of ``label_issues.parquet``.

    Args:
        errors: Suspected label errors, ``rows`` being places.
        predictions: Of all test images.
        probs: (N, C) the probabilities that were searched.
    """
    return {
        "sample_id": predictions.sample_ids[errors.rows].tolist(),
        "target": predictions.targets[errors.rows],
        "suggested": errors.suggested,
        "target_prob": errors.scores,
        "suggested_prob": probs[errors.rows, errors.suggested],
        "score": errors.scores,
    }


def duplicate_columns(store: Store, duplicates: DuplicatePairs) -> Columns:
    """Return the columns of ``duplicates.parquet``."""
    parts = np.where(store.is_train, "train", "test")
    columns: Columns = {
        "kind": np.where(duplicates.is_identical, "identical", "near").tolist(),
        "is_mirrored": duplicates.is_mirrored,
        "distance": duplicates.distances,
    }
    for side, rows in zip("ab", duplicates.rows.T, strict=True):
        columns[f"sample_id_{side}"] = store.sample_ids[rows].tolist()
        columns[f"target_{side}"] = store.targets[rows]
        columns[f"part_{side}"] = parts[rows].tolist()
    return columns


def count_duplicates(store: Store, duplicates: DuplicatePairs) -> dict[str, int]:
    """Return how many pairs there are of each kind: identical, near, across_split, two_labels.

    And ``seen_test_images``: how many test images are equal or near to one of the training part.
    """
    identical = int(duplicates.is_identical.sum())
    first, second = duplicates.rows.T
    return {
        "identical": identical,
        "near": duplicates.found - identical,
        "across_split": int((store.is_train[first] != store.is_train[second]).sum()),
        "two_labels": int((store.targets[first] != store.targets[second]).sum()),
        "seen_test_images": len(_seen_test_rows(store, duplicates)),
    }


def _seen_test_rows(store: Store, duplicates: DuplicatePairs) -> Rows:
    """Return the rows of test images that are equal or near to a training image."""
    # Every copy is paired across the split where it has a partner there, near pairs are all there.
    is_train = store.is_train[duplicates.rows]
    across = is_train[:, 0] != is_train[:, 1]
    return np.unique(duplicates.rows[across][~is_train[across]])


def summarize_mistakes(
    predictions: SavedPredictions, explained: Rows, num_classes: int
) -> dict[str, Any]:
    """Return what ``explanation.json`` says of mistakes.

    Args:
        predictions: Of all test images, which all counts are about.
        explained: (E,) int64, places of the images that have maps, ascending; single images are
            named among these.
        num_classes: Number of classes.
    """
    guesses = predictions.top_classes[:, 0]
    counts = count_confusions(predictions.targets, guesses, num_classes)
    ranked = rank_classes(counts)
    # No class is among the best and among the worst.
    num_ranked = min(MOST_RANKED_CLASSES, len(ranked) // 2)
    candidates = (
        predictions.targets[explained],
        guesses[explained],
        predictions.top_probs[explained, 0],
    )
    names = predictions.sample_ids[explained]
    return {
        "mistakes": int((guesses != predictions.targets).sum()),
        "confusion": {
            "order": order_by_confusion(counts),
            "counts": [
                [int(target), int(guess), int(counts[target, guess])]
                for target, guess in zip(*counts.nonzero(), strict=True)
            ],
        },
        "confused_pairs": [asdict(pair) for pair in most_confused_pairs(counts)],
        "confident_mistakes": names[confident_mistakes(*candidates)].tolist(),
        "unsure_hits": names[unsure_hits(*candidates)].tolist(),
        "best_classes": ranked[:num_ranked],
        "worst_classes": ranked[::-1][:num_ranked],
    }


def _telling_pairs(store: Store, duplicates: DuplicatePairs) -> Rows:
    """Return the pairs to show: across the split, then with two labels, then the closest."""
    first, second = duplicates.rows.T
    order = np.lexsort(
        (
            np.arange(len(first)),
            duplicates.distances,
            store.targets[first] == store.targets[second],
            store.is_train[first] == store.is_train[second],
        )
    )
    return order[:DUPLICATES_SHOWN]
