"""Suspected label errors by confident learning. NumPy only.

An image counts as confidently of class j where its probability of j is at least what images
labelled j get on average. How often images labelled i are confidently of class j estimates how
many labels i should be j; that many are suspected, those first that speak for j most clearly
against i. The probabilities must come from a network that did not train on these labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Probs = NDArray[np.float64]

# Probabilities that differ by less are taken as equal, as in cleanlab.
_TOLERANCE = 1e-6
_NEVER = 2.0  # a threshold that no probability reaches


@dataclass(frozen=True)
class LabelErrors:
    """Images whose label is probably wrong, the most suspicious first.

    Attributes:
        rows: (M,) int64, their rows in the arrays that were searched.
        suggested: (M,) int64, the likeliest class of each, never the one it is labelled.
        scores: (M,) float64, the probability of the class it is labelled (self-confidence),
            ascending.
    """

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]
    scores: Probs


def find_label_errors(probs: Probs, targets: NDArray[np.int64]) -> LabelErrors:
    """Find images whose label is probably wrong.

    Equal to ``cleanlab.filter.find_label_issues`` with ``filter_by="prune_by_noise_rate"`` and
    ``return_indices_ranked_by="self_confidence"`` (cleanlab 2.9), but for ties: here the lower
    index wins, so that the result is the same on every machine.

    Args:
        probs: (N, C) probabilities, rows summing to 1, of images outside the training part.
        targets: (N,) class index of each image as labelled.

    Source:
        Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset
        Labels, section 3, "prune by noise rate" (arXiv:1911.00068).
    """
    counts = _keep_one_of_each_label(_calibrate(confident_joint(probs, targets), targets))
    is_suspected = np.zeros(len(targets), dtype=np.bool_)
    for label in range(probs.shape[1]):
        rows = np.flatnonzero(targets == label)
        if len(rows) <= 1:
            continue
        for other in np.flatnonzero(counts[label]):
            if other == label:
                continue
            margins = probs[rows, other] - probs[rows, label]
            clearest = np.argsort(-margins, kind="stable")[: counts[label, other]]
            is_suspected[rows[clearest]] = True
    # A label that is itself the first guess is not suspected, whatever the counts say.
    favoured = probs.copy()
    favoured[np.arange(len(targets)), targets] += _TOLERANCE
    is_suspected &= favoured.argmax(axis=1) != targets
    rows = np.flatnonzero(is_suspected)
    scores = probs[rows, targets[rows]]
    order = np.argsort(scores, kind="stable")
    rows = rows[order]
    return LabelErrors(rows=rows, suggested=probs[rows].argmax(axis=1), scores=scores[order])


def confident_joint(probs: Probs, targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count images by the class they are labelled and the class they are confidently of.

    Args:
        probs: (N, C) probabilities.
        targets: (N,) class index of each image as labelled.

    Returns:
        (C, C): ``joint[i, j]`` images are labelled i and confidently of class j; at least 1 on
        the diagonal. Images that are confidently of no class are not counted.

    Source:
        Northcutt, Jiang & Chuang 2021, eq. 1 and 2 (arXiv:1911.00068).
    """
    num_classes = probs.shape[1]
    thresholds = np.full(num_classes, _NEVER)
    for label in np.unique(targets):
        thresholds[label] = probs[targets == label, label].mean()
    thresholds = np.maximum(thresholds, 2 * _TOLERANCE)
    is_confident = probs >= thresholds - _TOLERANCE
    num_confident = is_confident.sum(axis=1)
    # Of several classes the likeliest counts.
    guesses = np.where(num_confident > 1, probs.argmax(axis=1), is_confident.argmax(axis=1))
    is_counted = num_confident > 0
    cells = guesses[is_counted] * num_classes + targets[is_counted]
    # Transposed: sums in another order of memory round differently, and decide other ties.
    joint = np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).T
    np.fill_diagonal(joint, np.maximum(joint.diagonal(), 1))
    return joint


def _calibrate(joint: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Scale the rows of a joint to the number of images of each label, in whole images."""
    images_of = np.bincount(targets, minlength=len(joint))
    # The order of these operations, and of the joint in memory, decides ties in rounding; both are
    # those of the reference.
    scaled = (joint.T / joint.sum(axis=1) * images_of).T
    scaled = scaled / scaled.sum() * images_of.sum()
    return np.stack([_round_to_sum(row) for row in scaled])


def _round_to_sum(values: Probs) -> NDArray[np.int64]:
    """Round values so that their sum stays: those that lost most by rounding are rounded up."""
    rounded = np.round(values)
    lacking = int(np.round(values.sum()) - rounded.sum())
    while lacking:
        step = 1 if lacking > 0 else -1
        order = np.argsort(values - rounded, kind="stable")
        if step > 0:
            order = order[::-1]
        rounded[order[: abs(lacking)]] += step
        lacking = int(np.round(values.sum()) - rounded.sum())
    result: NDArray[np.int64] = rounded.astype(np.int64)
    return result


def _keep_one_of_each_label(joint: NDArray[np.int64]) -> NDArray[np.int64]:
    """Raise the diagonal of a joint to at least 1, at the cost of the rest of its row."""
    diagonal = joint.diagonal()
    kept = np.maximum(diagonal, 1)
    num_others = np.maximum(np.count_nonzero(joint, axis=1) - 1, 1)
    reduced = np.maximum(joint - ((kept - diagonal) / num_others)[:, None], 0)
    np.fill_diagonal(reduced, kept)
    result: NDArray[np.int64] = reduced.astype(np.int64)
    return result
