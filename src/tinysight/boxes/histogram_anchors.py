"""Anchors for boxes of which only the histogram of sizes is at hand: those of many shards.

Each cell of the histogram stands for its boxes at their mean logarithmic size. Cells are 1 % wide,
so the mean best IoU over cells differs from that over the boxes in the fifth digit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinysight.boxes.anchors import AnchorSet
from tinysight.boxes.clustering import point_levels, polish, refine, search_anchors
from tinysight.boxes.geometry import Fit, best_iou, is_within_ratio
from tinysight.boxes.objectives import MeanIoU
from tinysight.boxes.sizes import SizeHistogram
from tinysight.errors import DataError


def fit_to_histogram(
    histogram: SizeHistogram,
    ks: Sequence[int],
    *,
    input_size_wh: tuple[int, int],
    fit: Fit,
    num_starts: int = 8,
    seed: int = 0,
) -> tuple[AnchorSet, ...]:
    """Fit anchors of the largest mean best IoU for each k.

    Args:
        histogram: Sizes of the boxes in pixels at the input.
        ks: Numbers of anchors, each from 1 to the number of cells.
        input_size_wh: The input, pixels; said in the result.
        fit: How images met the input; said in the result.
        num_starts: Starts of the search.
        seed: Of the search; the same histogram and seed give identical anchors.

    Returns:
        A set for each k; its mean best IoU and recall are those over the cells.

    Raises:
        DataError: There is no box, or a k is not in its range.
    """
    num_cells = len(histogram.counts)
    if not num_cells:
        raise DataError("Anchors need at least one box, the histogram has none. Name other shards.")
    for k in ks:
        if not 1 <= k <= num_cells:
            raise DataError(
                f"`k` (={k}) must be from 1 to the number of distinct sizes (={num_cells}, sizes "
                f"within 1 % taken for one). Use another k."
            )
    cells_wh = np.exp(histogram.log_centroids())
    weights = histogram.counts / histogram.num_boxes
    objective = MeanIoU()
    sets = []
    for k in ks:
        levels = point_levels(histogram, k)
        anchors = search_anchors(levels, k, objective, seed=seed, num_starts=num_starts)
        anchors = refine(levels[-1], polish(levels[1], anchors, objective), objective)[0]
        sets.append(
            AnchorSet(
                anchors_wh_px=anchors,
                input_size_wh=input_size_wh,
                fit=fit,
                distance="iou",
                mean_best_iou=float(weights @ best_iou(cells_wh, anchors)),
                best_possible_recall=float(weights @ is_within_ratio(cells_wh, anchors)),
            )
        )
    return tuple(sets)
