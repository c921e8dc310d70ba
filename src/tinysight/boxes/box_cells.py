"""Boxes of crowded images in cells, so that each is compared with those like it alone.

Let two boxes A and B have an IoU of at least t, and let w be the widths, i the width of what they
share. Their union is at least the larger area, and what they share is no higher than either, so
i >= t max(w_A, w_B). Hence w_B lies in [t w_A, w_A / t], and the left edge of B in
[-(1 - t) w_A / t, (1 - t) w_A] from that of A. The same holds for height and top.

A cell is a range of widths, one of heights, and in it ranges of left and top edges that grow with
the widths and heights. Its sides are chosen so that what may overlap a box is in two neighbouring
ranges of each kind at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
Hits = Iterator[tuple[Rows, Rows, Floats]]

_LEAST_RANGE_LN = np.log(2.0)
_LEAST_RANGE_OF_EDGES = 0.25  # of the least width of the cell
_SLACK = 1e-9
# Odd, with bits all over: products of cell numbers with them hardly meet.
_FACTORS = np.array(
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64
)
_FACTORS_OF_KIND = np.array([0xD6E8FEB86659FD93, 0xA0761D6478BD642F], np.uint64)


def overlap_shares(xywh_px: Floats, one: Rows, other: Rows) -> Floats:
    """Return the IoU of pairs of boxes.

    Args:
        xywh_px: (4, n) left, top, width and height.
        one: (p,) the one box of each pair, an index into the n.
        other: (p,) the other.
    """
    left, top, width, height = (column[one] for column in xywh_px)
    other_left, other_top, other_width, other_height = (column[other] for column in xywh_px)
    across = np.minimum(left + width, other_left + other_width) - np.maximum(left, other_left)
    down = np.minimum(top + height, other_top + other_height) - np.maximum(top, other_top)
    intersection = np.clip(across, 0, None) * np.clip(down, 0, None)
    union = width * height + other_width * other_height - intersection
    return np.asarray(intersection / union)


@dataclass(frozen=True)
class CellBoxes:
    """Boxes that are looked for among one another."""

    rows: Rows
    """(n,) ascending rows of the table."""

    xywh_px: Floats
    """(4, n)"""

    image_index: NDArray[np.integer]
    """(n,)"""

    class_index: NDArray[np.integer]
    """(n,)"""


def earlier_partners(
    boxes: CellBoxes, iou: float, before: Rows, *, is_same_class: bool | None = None
) -> Hits:
    """Yield pairs of a box and an earlier one of its image that overlap by at least ``iou``.

    Takes n log n steps, one for each pair that is found, and one for each that is in neighbouring
    cells and overlaps less; boxes side by side share cells with few others.

    Args:
        boxes: The boxes.
        iou: Least overlap, in (0, 1].
        before: (n,) only partners in rows before this are looked for. It is looked at again for
            each partner, so whoever takes the pairs ends the search of a box by lowering it;
            partners in one cell come in ascending order.
        is_same_class: Whether only partners of the same class count, or only those of another.

    Yields:
        Box and partner, indices into the n, and their IoU. In each part a box is there at most
        once.
    """
    if len(boxes.rows) < 2:
        return
    cells = _Cells(boxes.xywh_px, iou)
    kinds = boxes.image_index.astype(np.uint64) * _FACTORS_OF_KIND[0]
    if is_same_class:
        kinds = kinds + boxes.class_index.astype(np.uint64) * _FACTORS_OF_KIND[1]
    own_keys = kinds + cells.own_keys()
    order = np.argsort(own_keys, kind="stable")  # in a cell by row
    keys, classes = own_keys[order], boxes.class_index[order]
    following = _next_of_another_class(classes) if is_same_class is False else None
    for owners, cell_keys in cells.near():
        wanted = kinds[owners] + cell_keys
        at = np.searchsorted(keys, wanted)
        while True:
            partners = order[np.minimum(at, len(order) - 1)]
            is_left = (at < len(order)) & (boxes.rows[partners] < before[owners])
            is_left &= keys[np.minimum(at, len(order) - 1)] == wanted
            if not is_left.any():
                break
            owners, wanted, at = owners[is_left], wanted[is_left], at[is_left]
            partners = partners[is_left]
            step = at + 1
            # Cells of two images may have one key by chance.
            is_asked = boxes.image_index[partners] == boxes.image_index[owners]
            if is_same_class is not None:
                is_same = boxes.class_index[partners] == boxes.class_index[owners]
                is_asked &= is_same == is_same_class
                if following is not None:
                    step = np.where(is_same, following[at], step)
            one, other = owners[is_asked], partners[is_asked]
            share = overlap_shares(boxes.xywh_px, one, other)
            is_hit = share >= iou
            yield one[is_hit], other[is_hit], share[is_hit]
            at = step


def _next_of_another_class(classes: NDArray[np.integer]) -> Rows:
    """Return for each place the next one of another class, n where there is none."""
    ends = np.append(np.flatnonzero(classes[1:] != classes[:-1]) + 1, len(classes))
    return ends[np.searchsorted(ends, np.arange(len(classes)), side="right")]


class _Cells:
    """The cells of n boxes, and those in which a box may have a partner."""

    def __init__(self, xywh_px: Floats, iou: float) -> None:
        self._starts_px, self._sides_px = xywh_px[:2], xywh_px[2:]
        # What is computed of a share may be off by the rounding of the edges.
        ends_px = np.abs(self._starts_px).max() + self._sides_px.max()
        self._blur_px = 8 * np.spacing(ends_px)
        self._iou = iou * (1 - _SLACK)
        self._range_ln = max(_LEAST_RANGE_LN, -2 * np.log(self._iou) * (1 + _SLACK))
        reach = 2 * np.exp(self._range_ln) * (1 - self._iou) / self._iou**2
        self._range_of_edges = _LEAST_RANGE_OF_EDGES + reach

    def own_keys(self) -> NDArray[np.uint64]:
        """Return a key of each box's cell, (n,); few cells share one."""
        sizes = self._size_cells(self._sides_px)
        return _key_of([*sizes, *self._edge_cells(self._starts_px, sizes)])

    def near(self) -> Iterator[tuple[Rows, NDArray[np.uint64]]]:
        """Yield boxes, indices, with the keys of a cell each in which they may have a partner."""
        least = np.maximum(self._sides_px * self._iou - self._blur_px, self._sides_px.min())
        most = (self._sides_px + self._blur_px) / self._iou
        first, last = self._size_cells(least), self._size_cells(most)
        reach_px = (1 - self._iou) * most + self._blur_px
        for moved in _steps(first, last):
            owners = np.flatnonzero((first + moved <= last).all(axis=0))
            sizes = first[:, owners] + moved
            starts_px, reaches_px = self._starts_px[:, owners], reach_px[:, owners]
            edges = self._edge_cells(starts_px - reaches_px, sizes)
            ends = self._edge_cells(starts_px + reaches_px, sizes)
            for further in _steps(edges, ends):
                chosen = (edges + further <= ends).all(axis=0)
                yield (
                    owners[chosen],
                    _key_of([*sizes[:, chosen], *(edges[:, chosen] + further)]),
                )

    def _size_cells(self, sides_px: Floats) -> Rows:
        return _floor(np.log(sides_px) / self._range_ln)

    def _edge_cells(self, starts_px: Floats, sizes: Rows) -> Rows:
        ranges_px = np.exp(sizes * self._range_ln) * self._range_of_edges + 8 * self._blur_px
        return _floor(starts_px / ranges_px)


def _floor(numbers: Floats) -> Rows:
    return np.asarray(np.floor(numbers), dtype=np.int64)


def _steps(first: Rows, last: Rows) -> Iterator[Rows]:
    """Yield every number of cells, (2, 1), from the first of some box to its last."""
    if first.size:
        counts = (last - first).max(axis=1) + 1
        for steps in product(*map(range, counts.tolist())):
            yield np.array(steps, np.int64)[:, None]


def _key_of(numbers: list[Rows]) -> NDArray[np.uint64]:
    keys = np.zeros(len(numbers[0]), np.uint64)
    for number, factor in zip(numbers, _FACTORS, strict=True):
        keys += number.astype(np.uint64) * factor
        keys ^= keys >> np.uint64(29)
    return keys
