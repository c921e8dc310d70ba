"""Sizes of boxes: at a network's input, their IoU, their ratio, and means free of any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.errors import DataError
from tinysight.numerals import counted

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

Fit = Literal["letterbox", "stretch", "shorter-side"]
"""How an image meets the input of a network.

``letterbox`` scales it by one factor until it fits and pads the rest; ``stretch`` scales width and
height each to its side; ``shorter-side`` scales it by one factor until its shorter side has the
input's height, or its longer side the input's width if that comes first, and pads nothing.
"""

FITS: tuple[Fit, ...] = ("letterbox", "stretch", "shorter-side")

# yolov5, v7 and darknet train a box with an anchor when no side differs by this factor or more.
RECALL_RATIO = 4.0

_CHUNK = 16_384  # boxes at a time: the working arrays stay in the processor's cache
_UNIT = 2.0**40  # scores are summed as whole multiples of 2**-40, whose sum has no order


def sizes_at_input(
    table: BoxTable, input_size_wh: tuple[int, int], fit: Fit
) -> NDArray[np.float64]:
    """Return the box sizes as a network sees them, without the crowd boxes.

    Args:
        table: Boxes and the sizes of their images.
        input_size_wh: Width and height of the network input, pixels, both >= 1.
        fit: How an image meets the input.

    Returns:
        Width and height of the boxes that are not crowd regions, (n, 2), pixels at the input.

    Raises:
        DataError: ``input_size_wh`` or ``fit`` is not as above, an input for ``shorter-side`` is
            higher than wide, or a box's image has no size.
    """
    if fit not in FITS:
        raise DataError(f"`fit` must be one of {', '.join(FITS)}, got {fit!r}.")
    width, height = input_size_wh
    if fit == "shorter-side" and height > width:
        raise DataError(
            f"`input_size_wh` must be the longest that a longer side may be x the shorter side for "
            f"the fit shorter-side, got {width} x {height}. Turn them round: {height} x {width}."
        )
    if min(input_size_wh) < 1:
        raise DataError(
            f"`input_size_wh` must be at least 1 x 1 pixels, got {width} x {height}. "
            f"Give the size of the network's input, for instance 640."
        )
    kept = ~table.is_crowd
    image_wh_px = table.image_wh_px[table.image_index[kept]]
    unknown = ~(image_wh_px > 0).all(axis=1)
    if unknown.any():
        first = int(table.image_index[kept][unknown][0])
        raise DataError(
            f"{table.image_names[first]}: the size of the image must be known to scale its boxes "
            f"to the network input; it is missing for {int(unknown.sum()):,} of "
            f"{counted(int(kept.sum()), 'box', 'boxes')}. Pass --images DIR or --image-size WxH."
        )
    return np.ascontiguousarray(
        table.wh_px[kept] * factors_to_input(image_wh_px, input_size_wh, fit)
    )


def factors_to_input(
    image_wh_px: NDArray[np.float64], input_size_wh: tuple[int, int], fit: Fit
) -> NDArray[np.float64]:
    """Return by how much images are scaled, (n, 2) along x and y.

    Args:
        image_wh_px: (n, 2) width and height of the images, > 0.
        input_size_wh: As of :func:`sizes_at_input`, as is ``fit``.
        fit: How an image meets the input.
    """
    if fit == "stretch":
        return np.asarray(input_size_wh / image_wh_px)
    if fit == "letterbox":
        one = (input_size_wh / image_wh_px).min(axis=1)
    else:
        longest_px, shorter_px = input_size_wh
        one = np.minimum(shorter_px / image_wh_px.min(axis=1), longest_px / image_wh_px.max(axis=1))
    return np.stack([one, one], axis=1)


def sizes_in_image(table: BoxTable) -> NDArray[np.float64]:
    """Return the box sizes as fractions of their own image, (n, 2), without the crowd boxes."""
    return sizes_at_input(table, (1, 1), "stretch")


def pairwise_iou(boxes_wh: ArrayLike, anchors_wh: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of every box with every anchor when both have the same centre.

    Args:
        boxes_wh: (n, 2), > 0, any unit.
        anchors_wh: (k, 2), > 0, the same unit.

    Returns:
        (n, k), in (0, 1].
    """
    boxes, anchors = _columns(boxes_wh), _columns(anchors_wh)
    intersection = np.minimum.outer(boxes[0], anchors[0]) * np.minimum.outer(boxes[1], anchors[1])
    union = np.add.outer(boxes[0] * boxes[1], anchors[0] * anchors[1]) - intersection
    return np.asarray(intersection / union)


def pairwise_ratio(boxes_wh: ArrayLike, anchors_wh: ArrayLike) -> NDArray[np.float64]:
    """Return how close the sides of every box are to those of every anchor, the worse side.

    It is min(w/a, a/w, h/b, b/h) for a box w x h and an anchor a x b: 1 when equal.

    Args:
        boxes_wh: (n, 2), > 0, any unit.
        anchors_wh: (k, 2), > 0, the same unit.

    Returns:
        (n, k), in (0, 1].

    Source:
        The metric of yolov5's and yolov7's autoanchor.
    """
    boxes, anchors = _columns(boxes_wh), _columns(anchors_wh)
    quotients = [np.divide.outer(box, anchor) for box, anchor in zip(boxes, anchors, strict=True)]
    return np.minimum(
        np.minimum(quotients[0], 1 / quotients[0]), np.minimum(quotients[1], 1 / quotients[1])
    )


def best_iou(boxes_wh: ArrayLike, anchors_wh: ArrayLike) -> NDArray[np.float64]:
    """Return the IoU of every box with its best anchor, (n,); arguments as ``pairwise_iou``."""
    widths, heights = _columns(boxes_wh)
    best = np.empty(len(widths))
    anchors = np.asarray(anchors_wh, dtype=np.float64).tolist()
    for start in range(0, len(widths), _CHUNK):
        part = slice(start, start + _CHUNK)
        w, h = widths[part], heights[part]
        area, top = w * h, np.zeros(len(w))
        for anchor_w, anchor_h in anchors:
            intersection = np.minimum(w, anchor_w)
            intersection *= np.minimum(h, anchor_h)
            union = area + anchor_w * anchor_h
            union -= intersection
            intersection /= union
            np.maximum(top, intersection, out=top)
        best[part] = top
    return best


def mean_of_scores(scores: NDArray[np.float64]) -> float:
    """Return the mean of scores in [0, 1], the same bits whatever their order.

    Each score is rounded to a multiple of 2**-40 (an error below 5e-13), so that the sum is one of
    whole numbers.
    """
    if not len(scores):
        return 0.0
    total = 0
    for start in range(0, len(scores), 2**20):
        total += int(np.rint(scores[start : start + 2**20] * _UNIT).astype(np.int64).sum())
    return total / (_UNIT * len(scores))


def mean_best_iou(boxes_wh: ArrayLike, anchors_wh: ArrayLike) -> float:
    """Return the mean over boxes of the IoU with the best anchor; arguments as ``pairwise_iou``."""
    return mean_of_scores(best_iou(boxes_wh, anchors_wh))


def is_within_ratio(
    boxes_wh: ArrayLike, anchors_wh: ArrayLike, ratio: float = RECALL_RATIO
) -> NDArray[np.bool_]:
    """Return whether a box has an anchor whose sides differ by less than a factor, (n,).

    Args:
        boxes_wh: (n, 2), > 0, any unit.
        anchors_wh: (k, 2), > 0, the same unit.
        ratio: The factor, > 1.
    """
    widths, heights = _columns(boxes_wh)
    within = np.empty(len(widths), dtype=np.bool_)
    anchors = np.asarray(anchors_wh, dtype=np.float64).reshape(-1, 2).tolist()
    for start in range(0, len(widths), _CHUNK):
        part = slice(start, start + _CHUNK)
        w, h = widths[part], heights[part]
        some = np.zeros(len(w), dtype=np.bool_)
        for anchor_w, anchor_h in anchors:  # comparing takes a fifth of the time of dividing
            near = w < anchor_w * ratio
            near &= w > anchor_w / ratio
            near &= h < anchor_h * ratio
            near &= h > anchor_h / ratio
            some |= near
        within[part] = some
    return within


def best_possible_recall(
    boxes_wh: ArrayLike, anchors_wh: ArrayLike, ratio: float = RECALL_RATIO
) -> float:
    """Return the share of boxes that have an anchor whose sides differ by less than a factor.

    0 without boxes. Arguments as :func:`is_within_ratio`.

    Source:
        "BPR" of yolov5's autoanchor.
    """
    within = is_within_ratio(boxes_wh, anchors_wh, ratio)
    return float(np.count_nonzero(within) / len(within)) if len(within) else 0.0


def _columns(wh: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # Contiguous columns: numpy then runs the same machine code for every element.
    pairs = np.asarray(wh, dtype=np.float64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
