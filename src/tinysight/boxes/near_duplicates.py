"""Boxes that were drawn twice: pairs in one image that overlap almost entirely."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

NEAR_DUPLICATE_IOU = 0.9
"""Overlap from which two boxes of an image are taken for the same object."""

MOST_LISTED = 100_000
"""Pairs that are listed: a box drawn n times gives n * (n - 1) / 2 of them."""

_MANY_BOXES = 500  # of an image: from there on copies to the bit are told apart first

Rows = NDArray[np.int64]
Hits = Iterator[tuple[Rows, Rows, NDArray[np.float64]]]


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

    is_cut: bool
    """Whether there are more pairs than are listed."""


@dataclass(frozen=True)
class RepeatCounts:
    """How many boxes were probably drawn before."""

    repeated: int
    """Boxes that repeat an earlier box of their image and class."""

    relabelled: int
    """Boxes that repeat an earlier box of their image under another class."""


def find_near_duplicates(
    table: BoxTable, iou: float = NEAR_DUPLICATE_IOU, *, most: int = MOST_LISTED
) -> NearDuplicates:
    """Find pairs of boxes in one image that overlap by at least ``iou``; crowd boxes are left out.

    Args:
        table: Boxes and their images.
        iou: Least overlap of a pair, in (0, 1].
        most: How many pairs at the most.

    Returns:
        Every such pair, once; of more than ``most`` so many.
    """
    rows = np.flatnonzero(~table.is_crowd)
    found = [(rows[:0], rows[:0], np.zeros(0))]
    num_found = 0
    for hits in _hits(table, rows, iou):
        found.append(hits)
        num_found += len(hits[0])
        if num_found > most:
            break
    one, other, share = (np.concatenate(part)[:most] for part in zip(*found, strict=True))
    first, second = np.minimum(one, other), np.maximum(one, other)
    order = np.lexsort((second, first))
    first, second, share = first[order], second[order], share[order]
    is_same_class = table.class_index[first] == table.class_index[second]
    return NearDuplicates(first, second, share, is_same_class, is_cut=num_found > most)


def count_repeats(table: BoxTable, iou: float = NEAR_DUPLICATE_IOU) -> RepeatCounts:
    """Count the boxes that overlap an earlier one; arguments as :func:`find_near_duplicates`.

    Pairs are not kept, so that memory does not grow with their number.
    """
    rows = np.flatnonzero(~table.is_crowd)
    original = _originals(table, rows)
    earliest_same, earliest_other = np.full((2, table.num_boxes), table.num_boxes)
    for one, other, _ in _hits(table, rows[original == rows], iou):
        is_same = table.class_index[one] == table.class_index[other]
        for own, partner in ((one, other), (other, one)):
            for earliest, chosen in ((earliest_same, is_same), (earliest_other, ~is_same)):
                own_rows = own[chosen]  # distinct
                earliest[own_rows] = np.minimum(earliest[own_rows], partner[chosen])
    is_repeated = (original < rows) | (earliest_same[original] < rows)
    is_relabelled = earliest_other[original] < rows
    return RepeatCounts(int(is_repeated.sum()), int(is_relabelled.sum()))


def _originals(table: BoxTable, rows: Rows) -> Rows:
    """Return for each row, in images of many boxes, the first of the same image, box and class."""
    image = table.image_index[rows]
    places = np.flatnonzero(np.bincount(image, minlength=1)[image] >= _MANY_BOXES)
    original = rows.copy()
    if not len(places):
        return original
    crowded = rows[places]
    columns = (*table.xywh_px[crowded].T, table.class_index[crowded], table.image_index[crowded])
    order = np.lexsort(columns)  # copies in the order of their rows
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    original[places[order]] = crowded[order][is_first][is_first.cumsum() - 1]
    return original


def _hits(table: BoxTable, rows: Rows, iou: float) -> Hits:
    """Yield pairs of rows that overlap by at least ``iou``.

    In each part a row is the one at most once, and the other at most once.
    """
    if len(rows) < 2:
        return
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
        yield rows[current[hit]], rows[other[hit]], share[hit]
        step += 1
        current = current[current + step < len(rows)]
