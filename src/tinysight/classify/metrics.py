"""What predictions add up to. NumPy only: nothing here needs the network or the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ClassMetrics:
    """One class.

    Attributes:
        images: Test images of the class.
        accuracy: Share of them that are recognised (recall), NaN without images.
        guesses: Images that are taken for this class.
        precision: Share of those that are of this class, NaN without guesses.
    """

    images: int
    accuracy: float
    guesses: int
    precision: float


@dataclass(frozen=True)
class CalibrationBin:
    """The images whose first guess has a probability in (low, high].

    Attributes:
        low: Lower edge.
        high: Upper edge.
        images: How many there are.
        confidence: Their mean probability of the first guess, NaN without images.
        accuracy: The share of them that is right, NaN without images.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class FlipMetrics:
    """How the same images do when the logits of an image and of its mirror image are averaged.

    Attributes:
        accuracy: Share whose first guess is right.
        top5: Share whose first five guesses hold the right class.
        loss: Mean cross entropy.
    """

    accuracy: float
    top5: float
    loss: float


@dataclass(frozen=True)
class Metrics:
    """What the predictions for a set of images add up to.

    Attributes:
        images: How many.
        accuracy: Share whose first guess is right.
        top5: Share whose first five guesses hold the right class.
        loss: Mean cross entropy.
        calibration_error: Expected calibration error over equal-width bins.
        calibration: The bins.
        classes: By class index.
        with_flip: The same with the mirror images' help, where it was asked for. The numbers above
            are always those of one look at each image.
    """

    images: int
    accuracy: float
    top5: float
    loss: float
    calibration_error: float
    calibration: tuple[CalibrationBin, ...]
    classes: tuple[ClassMetrics, ...]
    with_flip: FlipMetrics | None = None


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the probabilities of logits (N, C), float64, each row summing to 1."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def cross_entropies(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the loss of each image, (N,) float64, without label smoothing."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    normalisers = np.log(np.exp(shifted).sum(axis=1))
    result: NDArray[np.float64] = normalisers - shifted[np.arange(len(targets)), targets]
    return result


def top_classes(logits: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the k likeliest classes of each image, (N, min(k, C)), likeliest first.

    Of equal logits the lower class index comes first, so that the answer is always the same.
    """
    order: NDArray[np.int64] = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    return order


def compute_metrics(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> Metrics:
    """Add predictions up.

    Args:
        logits: (N, C), N at least 1.
        targets: (N,) class index of each image, in [0, C).
    """
    num_classes = logits.shape[1]
    best = top_classes(logits, 5)
    guesses = best[:, 0]
    is_right = guesses == targets
    confidence = softmax(logits)[np.arange(len(targets)), guesses]
    bins = calibration_bins(confidence, is_right)
    images_of = np.bincount(targets, minlength=num_classes)
    guesses_of = np.bincount(guesses, minlength=num_classes)
    right_of = np.bincount(targets[is_right], minlength=num_classes)
    return Metrics(
        images=len(targets),
        accuracy=float(is_right.mean()),
        top5=float((best == targets[:, None]).any(axis=1).mean()),
        loss=float(cross_entropies(logits, targets).mean()),
        calibration_error=expected_calibration_error(bins),
        calibration=bins,
        classes=tuple(
            ClassMetrics(
                images=int(images_of[index]),
                accuracy=_share(right_of[index], images_of[index]),
                guesses=int(guesses_of[index]),
                precision=_share(right_of[index], guesses_of[index]),
            )
            for index in range(num_classes)
        ),
    )


def calibration_bins(
    confidence: NDArray[np.float64], is_right: NDArray[np.bool_], num_bins: int = CALIBRATION_BINS
) -> tuple[CalibrationBin, ...]:
    """Sort images by the probability of their first guess into bins of equal width.

    Args:
        confidence: (N,) in [0, 1].
        is_right: (N,) whether the first guess is right.
        num_bins: Number of bins over [0, 1]; each holds its upper edge.
    """
    # A probability of 0 belongs to the first bin, which has no bin below it.
    number = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    images = np.bincount(number, minlength=num_bins)
    sums = np.bincount(number, weights=confidence, minlength=num_bins)
    rights = np.bincount(number, weights=is_right.astype(np.float64), minlength=num_bins)
    return tuple(
        CalibrationBin(
            low=index / num_bins,
            high=(index + 1) / num_bins,
            images=int(images[index]),
            confidence=_share(sums[index], images[index]),
            accuracy=_share(rights[index], images[index]),
        )
        for index in range(num_bins)
    )


def expected_calibration_error(bins: tuple[CalibrationBin, ...]) -> float:
    """Return the mean distance between confidence and accuracy, weighted by images.

    Source:
        Guo et al. 2017, On Calibration of Modern Neural Networks, eq. 3 (arXiv:1706.04599).
    """
    total = sum(bin.images for bin in bins)
    return (
        sum(bin.images * abs(bin.confidence - bin.accuracy) for bin in bins if bin.images) / total
    )


def _share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")
