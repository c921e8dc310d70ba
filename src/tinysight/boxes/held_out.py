"""Do anchors fitted on some images also fit others? And how sure is that?

Boxes of one image resemble each other, so the bootstrap draws images and not boxes: intervals over
boxes would be too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.boxes.quality import GroupQuality, match_anchors
from tinysight.errors import DataError

Interval = tuple[float, float]

RESAMPLES = 400
CONFIDENCE = 0.95


@dataclass(frozen=True)
class HeldOutCheck:
    """The same anchors on the boxes they were fitted to and on others."""

    fitted: GroupQuality
    """On the boxes the anchors were fitted to."""

    held_out: GroupQuality
    """On boxes of other images."""

    interval: Interval | None
    """95 % bootstrap interval over images of the held-out mean best IoU; None for one image."""

    @property
    def drop(self) -> float:
        """By how much the mean best IoU is lower on the held-out boxes; below 0 if higher."""
        return (self.fitted.mean_best_iou or 0.0) - (self.held_out.mean_best_iou or 0.0)

    @property
    def holds(self) -> bool | None:
        """Whether the fitted value is not above the held-out interval; None where there is none."""
        if self.interval is None:
            return None
        return (self.fitted.mean_best_iou or 0.0) <= self.interval[1]


def check_held_out(
    anchors_wh: ArrayLike,
    fitted_wh: NDArray[np.float64],
    held_out_wh: NDArray[np.float64],
    held_out_image: NDArray[np.integer],
    *,
    seed: int = 0,
) -> HeldOutCheck:
    """Compare anchors on the boxes they were fitted to with others.

    Args:
        anchors_wh: (k, 2), pixels at an input.
        fitted_wh: (n, 2) the boxes they were fitted to, same input.
        held_out_wh: (m, 2) boxes of other images, same input.
        held_out_image: (m,) the image of each of those.
        seed: Of the bootstrap.

    Raises:
        DataError: One of the two has no box.
    """
    for name, boxes in (("fitted", fitted_wh), ("held-out", held_out_wh)):
        if not len(boxes):
            raise DataError(
                f"The {name} boxes must be at least one, got none. Name a file that has boxes."
            )
    matches = match_anchors(held_out_wh, anchors_wh)
    return HeldOutCheck(
        fitted=GroupQuality.of("fitted", match_anchors(fitted_wh, anchors_wh)),
        held_out=GroupQuality.of("held out", matches),
        interval=bootstrap_mean(matches.iou, held_out_image, np.random.default_rng(seed)),
    )


def bootstrap_mean(
    scores: NDArray[np.float64],
    image_index: NDArray[np.integer],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> Interval | None:
    """Return the 95 % percentile interval of a mean over boxes, drawing images with replacement.

    None where all boxes are in one image: nothing says how much images differ.

    Args:
        scores: (n,) one for each box, n >= 1.
        image_index: (n,) the image of each box.
        rng: The draws.
        resamples: How many sets of images to draw.
    """
    return bootstrap_means([scores], image_index, rng, resamples=resamples)[0]


def bootstrap_means(
    scores: Sequence[NDArray[np.float64]],
    image_index: NDArray[np.integer],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
) -> list[Interval] | list[None]:
    """Return the interval of each of several means on the same draws, which take the most time.

    Arguments as :func:`bootstrap_mean`, with several scores for each box.
    """
    _, image = np.unique(image_index, return_inverse=True)
    boxes = np.bincount(image).astype(np.float64)
    if len(boxes) < 2:
        return [None] * len(scores)
    sums = [np.bincount(image, each) for each in scores]
    means = np.empty((resamples, len(scores)))
    for index in range(resamples):
        times = np.bincount(rng.integers(0, len(boxes), len(boxes)), minlength=len(boxes))
        weights = times.astype(np.float64)
        means[index] = [weights @ each for each in sums] / (weights @ boxes)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
