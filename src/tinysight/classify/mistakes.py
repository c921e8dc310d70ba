"""What a network mistakes for what, and which of its test images are worth a look. NumPy only.

Functions take predictions as plain arrays: ``targets`` (N,), the right class of each image,
``guesses`` (N,), its first guess, and ``confidence`` (N,), the probability of that guess. Of equal
candidates the lower row or class index comes first, so that the answer is always the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_PAIRS = 100
MOST_HIGHLIGHTS = 25
MOST_RANKED_CLASSES = 10
MISTAKES_SHOWN = 4000
FEWEST_SHOWN_A_CLASS = 5

Classes = NDArray[np.int64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class ConfusedPair:
    """A class that is taken for another.

    Attributes:
        target: The right class index.
        predicted: The class index it is taken for.
        images: How often.
        share: The same over the images of the right class, in (0, 1].
    """

    target: int
    predicted: int
    images: int
    share: float


@dataclass(frozen=True)
class Gallery:
    """The test images that are worth a look.

    Attributes:
        rows: (M,) int64, ascending.
        reasons: Why each is shown, at least one a row, in the order of ``run_tables.REASONS``.
        mistakes_shown: Images of ``rows`` whose first guess is wrong.
        mistakes_of: How many mistakes there are to choose from.
    """

    rows: Rows
    reasons: tuple[tuple[str, ...], ...]
    mistakes_shown: int
    mistakes_of: int


def count_confusions(targets: Classes, guesses: Classes, num_classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix (C, C): rows are the right class, columns the first guess."""
    cells = np.bincount(targets * num_classes + guesses, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes)


def most_confused_pairs(
    counts: NDArray[np.int64], most: int = MOST_PAIRS
) -> tuple[ConfusedPair, ...]:
    """Return the most frequent mistakes from class to class.

    Args:
        counts: (C, C), as :func:`count_confusions` returns it.
        most: How many pairs at most; those that never occur are left out.
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    images_of = counts.sum(axis=1)
    return tuple(
        ConfusedPair(
            target=int(target),
            predicted=int(predicted),
            images=int(wrong[target, predicted]),
            share=float(wrong[target, predicted] / images_of[target]),
        )
        for target, predicted in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[target, predicted]
    )


def order_by_confusion(counts: NDArray[np.int64]) -> tuple[int, ...]:
    """Order classes so that those which are confused stand beside each other.

    Average linkage on one minus the rate of confusion of two classes (the mean of both
    directions, over the largest of all), and of the 2^(C-1) orders of its tree the one in which
    neighbours are the most alike.

    Args:
        counts: (C, C), as :func:`count_confusions` returns it.

    Returns:
        Every class index once.

    Source:
        Bar-Joseph, Gifford & Jaakkola 2001, Fast optimal leaf ordering for hierarchical
        clustering (Bioinformatics 17, S22), as in SciPy.
    """
    num_classes = len(counts)
    rates = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    alike = (rates + rates.T) / 2
    np.fill_diagonal(alike, 0)
    if num_classes < 3 or not alike.any():
        return tuple(range(num_classes))
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    distances = squareform(1 - alike / alike.max(), checks=False)
    tree = optimal_leaf_ordering(linkage(distances, "average"), distances)
    return tuple(leaves_list(tree).tolist())


def rank_classes(counts: NDArray[np.int64]) -> tuple[int, ...]:
    """Return the classes that have images, the best recognised first.

    Args:
        counts: (C, C), as :func:`count_confusions` returns it.
    """
    images_of = counts.sum(axis=1)
    recall = counts.diagonal() / np.maximum(images_of, 1)
    order = np.argsort(-recall, kind="stable")
    return tuple(order[images_of[order] > 0].tolist())


def confident_mistakes(
    targets: Classes,
    guesses: Classes,
    confidence: NDArray[np.float32],
    most: int = MOST_HIGHLIGHTS,
) -> Rows:
    """Return the rows of wrong first guesses, the surest first."""
    rows = np.flatnonzero(guesses != targets)
    return rows[np.argsort(-confidence[rows], kind="stable")][:most]


def unsure_hits(
    targets: Classes,
    guesses: Classes,
    confidence: NDArray[np.float32],
    most: int = MOST_HIGHLIGHTS,
) -> Rows:
    """Return the rows of right first guesses, the least sure first."""
    rows = np.flatnonzero(guesses == targets)
    return rows[np.argsort(confidence[rows], kind="stable")][:most]


def choose_gallery(
    targets: Classes,
    guesses: Classes,
    confidence: NDArray[np.float32],
    num_classes: int,
    *,
    others: Mapping[str, Rows],
    most_mistakes: int = MISTAKES_SHOWN,
) -> Gallery:
    """Choose the images that a page shows.

    Of every class its most confident mistakes are shown, the same number a class, so that a class
    with few of them is not crowded out; then the most confident mistakes of all, the least
    confident hits, and what other searches found.

    Args:
        targets: (N,) the right classes.
        guesses: (N,) the first guesses.
        confidence: (N,) their probabilities.
        num_classes: Number of classes.
        others: Rows to show in any case, by reason.
        most_mistakes: About how many mistakes; a class shows its equal share of them, but at
            least ``FEWEST_SHOWN_A_CLASS``.
    """
    most_a_class = max(FEWEST_SHOWN_A_CLASS, most_mistakes // num_classes)
    mistakes = confident_mistakes(targets, guesses, confidence, most=len(targets))
    rows_of = {
        "mistake": mistakes[_place_within_class(targets[mistakes]) < most_a_class],
        "confident mistake": mistakes[:MOST_HIGHLIGHTS],
        "unsure hit": unsure_hits(targets, guesses, confidence),
        **others,
    }
    rows = np.unique(np.concatenate(list(rows_of.values())))
    is_wrong = guesses != targets
    rows_of["mistake"] = rows[is_wrong[rows]]
    sets = {reason: set(found.tolist()) for reason, found in rows_of.items()}
    return Gallery(
        rows=rows,
        reasons=tuple(
            tuple(reason for reason, found in sets.items() if row in found) for row in rows.tolist()
        ),
        mistakes_shown=int(is_wrong[rows].sum()),
        mistakes_of=len(mistakes),
    )


def _place_within_class(targets: Classes) -> NDArray[np.int64]:
    """Return how many entries of the same class stand before each entry."""
    order = np.argsort(targets, kind="stable")
    counts = np.bincount(targets)
    starts = np.cumsum(counts) - counts
    places = np.empty(len(targets), dtype=np.int64)
    places[order] = np.arange(len(targets)) - starts[targets[order]]
    return places
