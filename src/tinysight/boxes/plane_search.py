"""The largest gain of an anchor over thresholds, anywhere in the plane: a bound by halving.

The proof that a rectangle's bound holds is in ``certificate``. Rectangles are halved, the one with
the largest bound first, so that the largest bound of those that are left is valid at any time.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.node_grid import Floats

CONCAVITY = 1 / 27
"""Along an axis, on one side of the box, the second derivative of the IoU is at least minus this.

Derivatives are those by the logarithm of a side.
"""

_CHUNK = 8_192  # points at a time: arrays of this size stay in the processor's cache
# Smaller rectangles look at the points of the one that they were cut from.
_LEAST_FILTERED_LN = 0.05
_LEAST_SIDE_LN = 1e-6


@dataclass(frozen=True)
class BoxPoints:
    """Boxes with their thresholds."""

    logs: Floats
    """(2, n) logarithms of width and height."""

    weights: Floats
    """(n,) shares of the boxes."""

    thresholds: Floats
    """(n,) in [0, 1]."""

    @staticmethod
    def of_boxes(logs: Floats, weights: Floats, thresholds: Floats) -> BoxPoints:
        """Make points of boxes given by the logarithms of their sides, (n, 2)."""
        return BoxPoints(np.ascontiguousarray(logs.T), weights, thresholds)

    @cached_property
    def sides(self) -> Floats:
        """(2, n) widths and heights."""
        return np.exp(self.logs)

    @cached_property
    def areas(self) -> Floats:
        """(n,) width times height."""
        return np.asarray(self.sides[0] * self.sides[1])

    @cached_property
    def weight_below_half(self) -> float:
        """Share of the points whose threshold is below 1/2."""
        return float(self.weights[self.thresholds < 0.5].sum())

    def near(self, start: Floats, end: Floats) -> BoxPoints:
        """Return the points that some anchor in a rectangle, given by its ends, can gain from."""
        across, along = (
            np.maximum(0.0, np.maximum(start[axis] - logs, logs - end[axis]))
            for axis, logs in enumerate(self.logs)
        )
        # Of the two forms of the IoU, that of sizes that do not nest is the larger one.
        kept = 1 / (np.exp(across) + np.exp(along) - 1) > self.thresholds
        return BoxPoints(self.logs[:, kept], self.weights[kept], self.thresholds[kept])


def largest_gain(points: BoxPoints, *, tolerance: float, deadline_s: float) -> tuple[float, bool]:
    """Bound the sum of weight * max(0, IoU - threshold) over all anchors in the plane.

    Args:
        points: Boxes and their thresholds, at least one.
        tolerance: Stop when the bound is so close to the gain of some anchor.
        deadline_s: ``time.thread_time`` at which to stop.

    Returns:
        The bound, and whether it came as close as it can: to within the tolerance, or to
        rectangles of no size.
    """
    numbers = count()  # of equal bounds the older rectangle first
    low, high = points.logs.min(axis=1), points.logs.max(axis=1)
    queue = [(-gain_bound(points, low, high), next(numbers), low, high, points)]
    reached = 0.0
    while True:
        negative, _, start, end, near = queue[0]
        reached = max(reached, _gain(near, (start + end) / 2))
        side = float((end - start).max())
        is_close = -negative - reached <= tolerance or side < _LEAST_SIDE_LN
        if is_close or time.thread_time() > deadline_s:
            return -negative, is_close
        heapq.heappop(queue)
        if side > _LEAST_FILTERED_LN:
            near = near.near(start, end)
        for half in _halves(start, end):
            heapq.heappush(queue, (-gain_bound(near, *half), next(numbers), *half, near))


def gain_bound(points: BoxPoints, start: Floats, end: Floats) -> float:
    """Return a bound of the gain of every anchor in one rectangle.

    Args:
        points: All that an anchor in the rectangle can gain from.
        start: (2,) logarithms of the least width and height of the anchors.
        end: (2,) of the largest.
    """
    corners = np.zeros(4)
    limits = np.exp([start, end])
    for first in range(0, len(points.weights), _CHUNK):
        part = slice(first, first + _CHUNK)
        own: list[list[NDArray[np.float64]]] = []
        shared: list[list[NDArray[np.float64]]] = []
        for axis in (0, 1):
            # The anchor's side at both ends of the range; that of the box where it lies inside.
            side = points.sides[axis, part]
            inside = points.logs[axis, part] < end[axis]
            inside &= points.logs[axis, part] > start[axis]
            own.append([np.where(inside, side, limit[axis]) for limit in limits])
            shared.append([np.minimum(side, anchor_side) for anchor_side in own[axis]])
        for corner in range(4):
            column, row = divmod(corner, 2)
            iou = shared[0][column] * shared[1][row]
            union = own[0][column] * own[1][row]
            union += points.areas[part]
            union -= iou
            iou /= union
            iou -= points.thresholds[part]
            corners[corner] += points.weights[part] @ np.maximum(iou, 0.0, out=iou)
    span = end - start
    return float(corners.max()) + CONCAVITY / 8 * float(span @ span) * points.weight_below_half


def _gain(points: BoxPoints, anchor_ln: Floats) -> float:
    """Return the gain of one anchor."""
    gain = 0.0
    width, height = np.exp(anchor_ln)
    for first in range(0, len(points.weights), _CHUNK):
        part = slice(first, first + _CHUNK)
        iou = np.minimum(points.sides[0, part], width)
        iou *= np.minimum(points.sides[1, part], height)
        union = points.areas[part] + width * height
        union -= iou
        iou /= union
        iou -= points.thresholds[part]
        gain += float(points.weights[part] @ np.maximum(iou, 0.0, out=iou))
    return gain


def _halves(start: Floats, end: Floats) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Cut a rectangle across its longer side."""
    axis = int((end - start).argmax())
    first_end, second_start = end.copy(), start.copy()
    first_end[axis] = second_start[axis] = (start[axis] + end[axis]) / 2
    return (start, first_end), (second_start, end)
