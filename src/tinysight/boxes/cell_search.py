"""The largest gain of an anchor over thresholds, anywhere in the plane, for boxes in cells.

As ``plane_search``, for so many boxes that each cell of a grid stands for those in it. The
rectangles of anchors are whole cells too. Then all IoUs are differences of nodes, read from one
table, and a rectangle costs the same however many boxes there are.

A box in a cell is replaced by weights on its four corners. For the bound of a rectangle of anchors,
the corners of the cells that share its columns count with distance 0 along the width, those that
share its rows with distance 0 along the height, all others with their distance from the
rectangle's corner. ``certificate`` has the proof.

One node is the corner of up to four cells, which may lie on either side of a rectangle's edge. In
*halves*, therefore, each cell has columns 2 c and 2 c + 1 of its own: the half h is the node
(h + 1) // 2, and cells i to j - 1 are the halves 2 i to 2 j - 1.
"""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from itertools import count, product

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.node_grid import Floats, NodeGrid, iou_stencil
from tinysight.boxes.plane_search import CONCAVITY

# No IoU is so large: nodes without boxes gain nothing.
_NEVER = 2.0


@dataclass(frozen=True, order=True)
class Span:
    """Cells from ``start`` up to ``end`` along one axis, or nodes from one to the other."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """How many cells."""
        return self.end - self.start

    def halves(self) -> tuple[Span, ...]:
        """Return the two parts; one cell cannot be cut."""
        if self.size < 2:
            return (self,)
        middle = (self.start + self.end) // 2
        return Span(self.start, middle), Span(middle, self.end)


Rectangle = tuple[Span, Span]
"""Columns and rows."""


@dataclass(frozen=True)
class _NodeGain:
    """What an anchor on a node gains from the weights on the nodes."""

    total: float
    window: Rectangle
    up_to_column: Floats
    """Sums over the first 0, 1, 2, … columns of the window."""
    up_to_row: Floats

    def outside(self, rectangle: Rectangle, of_both: float) -> float:
        """Return the gain from nodes that share neither columns nor rows with a rectangle.

        Args:
            rectangle: The rectangle.
            of_both: Gain from those that share both.
        """
        shared = 0.0
        for span, nodes, up_to in zip(
            rectangle, self.window, (self.up_to_column, self.up_to_row), strict=True
        ):
            # The window may be that of a neighbour of the rectangle; outside of it is no gain.
            first, end = np.clip((span.start - nodes.start, span.end + 1 - nodes.start), 0, None)
            shared += float(up_to[min(end, len(up_to) - 1)] - up_to[min(first, len(up_to) - 1)])
        return self.total - shared + of_both


class CellSearch:
    """Gains of anchors on the boxes of a grid, over thresholds at its nodes.

    Args:
        grid: The boxes.
        thresholds: (columns, rows) at the nodes, in [0, 1]; bilinear in the cells.
    """

    def __init__(self, grid: NodeGrid, thresholds: Floats) -> None:
        columns, rows = grid.shape
        self._step_ln = grid.step_ln
        self._num_cells = columns - 1, rows - 1
        self._weights = grid.weights
        self._thresholds = np.where(self._weights > 0, thresholds, _NEVER)
        self._weight_below_half = float(self._weights[thresholds < 0.5].sum())
        # The cells' own corners, (2 columns, 2 rows) and (2 rows, 2 columns): lines lie together.
        weights = np.empty((2 * (columns - 1), 2 * (rows - 1)))
        for index, corner in enumerate(grid.corners):
            weights[index % 2 :: 2, index // 2 :: 2] = corner
        half_nodes = [(np.arange(2 * cells) + 1) // 2 for cells in self._num_cells]
        at_halves = np.where(weights > 0, thresholds[np.ix_(*half_nodes)], _NEVER)
        self._half_weights = weights, np.ascontiguousarray(weights.T)
        self._half_thresholds = at_halves, np.ascontiguousarray(at_halves.T)
        self._radius = max(columns, rows)
        self._stencil = iou_stencil(grid.step_ln, self._radius)
        self._decay = np.exp(-self._step_ln * np.arange(self._radius + 1))
        self._node_gains: dict[tuple[int, int], _NodeGain] = {}

    def largest_gain(self, *, tolerance: float, deadline_s: float) -> tuple[float, bool]:
        """Bound the gain of every anchor in the plane; as ``plane_search.largest_gain``."""
        numbers = count()
        whole = Span(0, self._num_cells[0]), Span(0, self._num_cells[1])
        bound, reached = self.bound(whole, whole)
        queue = [(-bound, next(numbers), whole, whole)]
        while True:
            negative, _, rectangle, window = queue[0]
            is_cell = rectangle[0].size == rectangle[1].size == 1
            is_close = is_cell or -negative - reached <= tolerance
            if is_close or time.thread_time() > deadline_s:
                return -negative, is_close
            heapq.heappop(queue)
            window = self.narrowed(rectangle, window)
            for part in product(rectangle[0].halves(), rectangle[1].halves()):
                bound, at_corner = self.bound(part, window)
                reached = max(reached, at_corner)
                heapq.heappush(queue, (-bound, next(numbers), part, window))

    def bound(self, rectangle: Rectangle, window: Rectangle) -> tuple[float, float]:
        """Return a bound of the gains of the anchors in a rectangle, and a gain that one reaches.

        Args:
            rectangle: Cells in which the anchor lies.
            window: Nodes, from the first to the last, that such anchors can gain from; it holds
                those of the rectangle.
        """
        largest = reached = 0.0
        shared = self._gains_of_shared(rectangle, window)
        own = _nodes_of(rectangle)
        for (i, column), (j, row) in product(
            *(enumerate((span.start, span.end)) for span in rectangle)
        ):
            of_both = float(self._gains_on(own, column, row).sum())
            gain = self.node_gain(column, row, window)
            reached = max(reached, gain.total)
            largest = max(largest, gain.outside(rectangle, of_both) + float(shared[i, j]))
        squares_ln = sum((span.size * self._step_ln) ** 2 for span in rectangle)
        return largest + CONCAVITY / 8 * squares_ln * self._weight_below_half, reached

    def node_gain(self, column: int, row: int, window: Rectangle) -> _NodeGain:
        """Return what an anchor on a node gains; the window holds all that it can gain from."""
        found = self._node_gains.get((column, row))
        if found is None:
            gains = self._gains_on(_nodes_of(window), column, row)
            up_to = [np.concatenate([[0.0], gains.sum(axis).cumsum()]) for axis in (1, 0)]
            found = _NodeGain(float(up_to[0][-1]), window, *up_to)
            self._node_gains[column, row] = found
        return found

    def narrowed(self, rectangle: Rectangle, window: Rectangle) -> Rectangle:
        """Return the part of a window that anchors in a rectangle can gain from."""
        growth = [
            1 / self._decay[_distances(span, nodes)]
            for span, nodes in zip(rectangle, window, strict=True)
        ]
        # Of the two forms of the IoU, that of sizes that do not nest is the larger one.
        most = 1 / (np.add.outer(growth[0], growth[1]) - 1)
        is_near = most > self._thresholds[_nodes_of(window)]
        spans = []
        for axis, span in enumerate(rectangle):
            near = np.flatnonzero(is_near.any(axis=1 - axis)) + window[axis].start
            both = [*near[:1].tolist(), *near[-1:].tolist(), span.start, span.end]
            spans.append(Span(min(both), max(both)))
        return spans[0], spans[1]

    def _gains_on(self, inside: tuple[slice, slice], column: int, row: int) -> Floats:
        """Return what an anchor on a node gains from each node of a block."""
        columns, rows = inside
        across, down = self._radius - column, self._radius - row
        gains = np.subtract(
            self._stencil[
                columns.start + across : columns.stop + across, rows.start + down : rows.stop + down
            ],
            self._thresholds[columns, rows],
        )
        np.maximum(gains, 0.0, out=gains)
        gains *= self._weights[columns, rows]
        return gains

    def _gains_of_shared(self, rectangle: Rectangle, window: Rectangle) -> Floats:
        """Return what the corners, (2, 2), gain from the nodes on the columns and rows."""
        gains = np.zeros((2, 2))
        halves = [
            (max(2 * nodes.start - 1, 0), min(2 * nodes.end + 1, 2 * cells))
            for nodes, cells in zip(window, self._num_cells, strict=True)
        ]
        rows, (first, last) = rectangle[1], halves[0]
        gains += self._gains_of_lines(0, rectangle, slice(*halves[1]), rows)
        columns = rectangle[0]
        for part in (
            slice(first, max(2 * columns.start - 1, first)),
            slice(min(2 * columns.end + 1, last), last),
        ):
            gains += self._gains_of_lines(1, rectangle, part, columns).T
        return gains

    def _gains_of_lines(self, axis: int, rectangle: Rectangle, part: slice, across: Span) -> Floats:
        """Return what corners gain from the columns of a rectangle, or from its rows with axis 1.

        Args:
            axis: 0 for columns, 1 for rows.
            rectangle: The rectangle.
            part: Halves of each line that count.
            across: The rectangle's cells along the line.

        Returns:
            (2, 2): the corner at the first or last line, by the one at the start or end of them.
        """
        own = rectangle[axis]
        weights, thresholds = self._half_weights[axis], self._half_thresholds[axis]
        halves = np.arange(part.start, part.stop)
        distance = (halves + 1) // 2 - np.array([[across.start], [across.end]])
        distance[:, (halves >= 2 * across.start) & (halves < 2 * across.end)] = 0
        lines = slice(2 * own.start, 2 * own.end)
        excess = self._decay[np.abs(distance)][:, None] - thresholds[lines, part]
        np.maximum(excess, 0.0, out=excess)
        excess *= weights[lines, part]
        gains = np.tile(excess.sum(axis=(1, 2)), (2, 1))
        # The halves next to the lines are of cells on the other side of the edge.
        for half, node in ((2 * own.start - 1, own.start), (2 * own.end, own.end)):
            if 0 <= half < len(weights):
                line_distance = node - np.array([own.start, own.end])
                iou = self._stencil[
                    self._radius + line_distance[:, None, None], self._radius + distance
                ]
                iou -= thresholds[half, part]
                np.maximum(iou, 0.0, out=iou)
                gains += iou @ weights[half, part]
        return gains


def _nodes_of(rectangle: Rectangle) -> tuple[slice, slice]:
    columns, rows = rectangle
    return slice(columns.start, columns.end + 1), slice(rows.start, rows.end + 1)


def _distances(span: Span, nodes: Span) -> NDArray[np.intp]:
    """Return how far each node is from a span."""
    node = np.arange(nodes.start, nodes.end + 1)
    return np.maximum(0, np.maximum(span.start - node, node - span.end))
