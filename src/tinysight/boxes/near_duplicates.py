"""Boxes that were drawn twice: pairs in one image that overlap almost entirely.

Images of few boxes are swept from left to right, all in one; each of many boxes is put in cells
(``box_cells``), as boxes one above the other would all be met in a sweep.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_cells import CellBoxes, Hits, Rows, earlier_partners, overlap_shares

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

NEAR_DUPLICATE_IOU = 0.9
"""Overlap from which two boxes of an image are taken for the same object."""

MOST_LISTED = 100_000
"""Pairs that are listed: a box drawn n times gives n * (n - 1) / 2 of them."""

_MANY_BOXES = 500  # of an image: from there on copies to the bit are told apart, and cells used


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
    is_crowded = _is_crowded(table, rows)
    every = _swept(table, rows[~is_crowded], iou), _in_cells(table, rows[is_crowded], iou)
    for hits in chain.from_iterable(every):
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

    Pairs are not kept, so that memory does not grow with their number. In an image of many boxes
    the search for a box ends with its earliest partner of the same and of another class, so that
    the time grows as n log n also where all are nearly equal.
    """
    rows = np.flatnonzero(~table.is_crowd)
    is_crowded = _is_crowded(table, rows)
    original = _originals(table, rows, is_crowded)
    earliest_same, earliest_other = np.full((2, table.num_boxes), table.num_boxes)
    for one, other, _ in _swept(table, rows[~is_crowded], iou):
        is_same = table.class_index[one] == table.class_index[other]
        for own, partner in ((one, other), (other, one)):
            for earliest, chosen in ((earliest_same, is_same), (earliest_other, ~is_same)):
                own_rows = own[chosen]  # distinct
                earliest[own_rows] = np.minimum(earliest[own_rows], partner[chosen])
    crowded = rows[is_crowded & (original == rows)]
    # Copies count as relabelled too if the partner comes before them, so the last one tells.
    last = np.arange(table.num_boxes)
    last[original] = rows
    boxes = _cell_boxes(table, crowded)
    for earliest, before, is_same_class in (
        (earliest_same, crowded.copy(), True),
        (earliest_other, last[crowded], False),
    ):
        for own, partner, _ in earlier_partners(boxes, iou, before, is_same_class=is_same_class):
            before[own] = crowded[partner]
        earliest[crowded] = before
    is_repeated = (original < rows) | (earliest_same[original] < rows)
    is_relabelled = earliest_other[original] < rows
    return RepeatCounts(int(is_repeated.sum()), int(is_relabelled.sum()))


def _is_crowded(table: BoxTable, rows: Rows) -> NDArray[np.bool_]:
    """Return for each row whether its image has many boxes."""
    image = table.image_index[rows]
    return np.bincount(image, minlength=1)[image] >= _MANY_BOXES


def _originals(table: BoxTable, rows: Rows, is_crowded: NDArray[np.bool_]) -> Rows:
    """Return for each row, in images of many boxes, the first of the same image, box and class."""
    places = np.flatnonzero(is_crowded)
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


def _cell_boxes(table: BoxTable, rows: Rows) -> CellBoxes:
    xywh_px = np.ascontiguousarray(table.xywh_px[rows].T)
    return CellBoxes(rows, xywh_px, table.image_index[rows], table.class_index[rows])


def _in_cells(table: BoxTable, rows: Rows, iou: float) -> Hits:
    """Yield the pairs of rows of images of many boxes that overlap by at least ``iou``."""
    for own, partner, share in earlier_partners(_cell_boxes(table, rows), iou, rows):
        yield rows[own], rows[partner], share


def _swept(table: BoxTable, rows: Rows, iou: float) -> Hits:
    """Yield the pairs of rows of images of few boxes that overlap by at least ``iou``.

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
    xywh_px = np.ascontiguousarray(table.xywh_px[rows].T)
    left_px, width_px = xywh_px[0], xywh_px[2]

    # From the left: the second box of a pair begins at most (1 - iou) of the first one's width
    # after it, or the parts of the x axis alone would overlap too little.
    reach_px = left_px + (1 - iou) * width_px * (1 + 1e-9) + blur_px
    current = np.arange(len(rows) - 1)
    step = 1
    while len(current):
        other = current + step
        close = (image_index[other] == image_index[current]) & (left_px[other] <= reach_px[current])
        current, other = current[close], other[close]
        share = overlap_shares(xywh_px, current, other)
        hit = share >= iou
        yield rows[current[hit]], rows[other[hit]], share[hit]
        step += 1
        current = current[current + step < len(rows)]
