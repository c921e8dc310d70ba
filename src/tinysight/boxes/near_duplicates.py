"""Boxes that were drawn twice: pairs in one image that overlap almost entirely."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

NEAR_DUPLICATE_IOU = 0.9
"""Overlap from which two boxes of an image are taken for the same object."""


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of rows of a table, ascending by the first and then the second row."""

    first: NDArray[np.int64]
    """(p,) the earlier row of the table."""

    second: NDArray[np.int64]
    """(p,) the later row."""

    iou: NDArray[np.float64]
    """(p,) overlap of the two boxes."""

    is_same_class: NDArray[np.bool_]
    """(p,) whether both have one class; if not, one object may have two labels."""

    @property
    def num_repeated(self) -> int:
        """How many boxes repeat an earlier box of their image and class."""
        return len(np.unique(self.second[self.is_same_class]))

    @property
    def num_relabelled(self) -> int:
        """How many boxes repeat an earlier box of their image under another class."""
        return len(np.unique(self.second[~self.is_same_class]))


def find_near_duplicates(table: BoxTable, iou: float = NEAR_DUPLICATE_IOU) -> NearDuplicates:
    """Find pairs of boxes in one image that overlap by at least ``iou``; crowd boxes are left out.

    Args:
        table: Boxes and their images.
        iou: Least overlap of a pair, in (0, 1].

    Returns:
        Every such pair, once.
    """
    rows = np.flatnonzero(~table.is_crowd)
    if len(rows) < 2:
        return _pairs(table, rows[:0], rows[:0], np.zeros(0))
    # By image, then from left to right, in one key: ten times as fast as sorting by two. The key
    # rounds the left edge by at most `blur_px`, which the reach below allows for.
    lefts_px = table.xywh_px[rows, 0]
    least_px = lefts_px.min()
    span_px = np.ceil(lefts_px.max() - least_px) + 1
    key = table.image_index[rows] * span_px + (lefts_px - least_px)
    blur_px = 4 * np.spacing(key.max() + abs(least_px))
    rows = rows[np.argsort(key)]
    image_index = table.image_index[rows]
    left_px, top_px, width_px, height_px = np.ascontiguousarray(table.xywh_px[rows].T)
    area = width_px * height_px

    # From the left: the second box of a pair begins at most (1 - iou) of the first one's width
    # after it, or the parts of the x axis alone would overlap too little.
    reach_px = left_px + (1 - iou) * width_px * (1 + 1e-9) + blur_px
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    current = np.arange(len(rows) - 1)
    step = 1
    while len(current):
        other = current + step
        close = (image_index[other] == image_index[current]) & (left_px[other] <= reach_px[current])
        current, other = current[close], other[close]
        overlap_wh = [
            np.minimum(start[current] + side[current], start[other] + side[other])
            - np.maximum(start[current], start[other])
            for start, side in ((left_px, width_px), (top_px, height_px))
        ]
        intersection = np.clip(overlap_wh[0], 0, None) * np.clip(overlap_wh[1], 0, None)
        share = intersection / (area[current] + area[other] - intersection)
        hit = share >= iou
        found.append((rows[current[hit]], rows[other[hit]], share[hit]))
        step += 1
        current = current[current + step < len(rows)]
    return _pairs(table, *(np.concatenate(part) for part in zip(*found, strict=True)))


def _pairs(
    table: BoxTable,
    one: NDArray[np.int64],
    other: NDArray[np.int64],
    iou: NDArray[np.float64],
) -> NearDuplicates:
    first, second = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((second, first))
    first, second, iou = first[order], second[order], iou[order]
    return NearDuplicates(first, second, iou, table.class_index[first] == table.class_index[second])
