"""Box sizes as weights on the nodes of a logarithmic grid, and what an anchor gains from them.

Two sizes have an IoU that depends on the differences of their logarithms alone, so on a grid all
IoUs are a few numbers, the *stencil*: entry (i, j) for two nodes i columns and j rows apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tinysight.boxes.sizes import CELL_LN, STEPS, SizeHistogram

Floats = NDArray[np.float64]
Nodes = NDArray[np.intp]  # (m, 2) column and row

# A threshold above every IoU: nodes outside the grid gain nothing.
_OUTSIDE = 2.0


@dataclass(frozen=True)
class NodeGrid:
    """Shares of the boxes on the nodes of a grid.

    A box in a cell is replaced by weights on its four corners, by bilinear interpolation.
    """

    factor: int
    """Cells of the histogram a side of a cell here."""

    low: NDArray[np.int64]
    """(2,) column and row of node (0, 0), in steps of this grid from size 1."""

    corners: Floats
    """(4, columns - 1, rows - 1) weights that the boxes of each cell put on its nodes
    (0, 0), (1, 0), (0, 1), (1, 1)."""

    @cached_property
    def weights(self) -> Floats:
        """(columns, rows) shares of the boxes, their sum is 1."""
        columns, rows = self.corners.shape[1:]
        weights = np.zeros((columns + 1, rows + 1))
        for index, corner in enumerate(self.corners):
            column, row = index % 2, index // 2
            weights[column : column + columns, row : row + rows] += corner
        return weights

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows of nodes."""
        _, columns, rows = self.corners.shape
        return columns + 1, rows + 1

    @property
    def step_ln(self) -> float:
        """Distance of neighbouring nodes in natural logarithms."""
        return self.factor * CELL_LN

    def node_sizes(self) -> Floats:
        """Return width and height at every node, (columns, rows, 2)."""
        columns, rows = self.shape
        logs = np.stack(np.meshgrid(np.arange(columns), np.arange(rows), indexing="ij"), axis=-1)
        return np.asarray(np.exp((logs + self.low) * self.step_ln))


def build_node_grid(histogram: SizeHistogram, factor: int) -> NodeGrid:
    """Put the boxes of a histogram on a grid with cells of ``factor`` x ``factor`` of its cells."""
    cells = histogram.cells // factor
    low = cells.min(axis=0)
    within = (histogram.cells - cells * factor).astype(np.float64)
    counts = histogram.counts.astype(np.float64)
    # Sums over the boxes of their position (s, t) in the larger cell, and of s * t, in [0, 1].
    sum_s, sum_t, sum_st = (histogram.moments / (STEPS, STEPS, STEPS**2)).T
    sum_st = (
        counts * within[:, 0] * within[:, 1] + within[:, 0] * sum_t + within[:, 1] * sum_s + sum_st
    ) / factor**2
    sum_s, sum_t = (
        (counts * within[:, axis] + total) / factor for axis, total in enumerate((sum_s, sum_t))
    )
    columns, rows = (cells.max(axis=0) - low + 1).tolist()
    key = (cells[:, 0] - low[0]) * rows + cells[:, 1] - low[1]
    corners = [
        np.bincount(key, weight, columns * rows).reshape(columns, rows)
        for weight in (counts - sum_s - sum_t + sum_st, sum_s - sum_st, sum_t - sum_st, sum_st)
    ]
    # Differences of rounded sums may fall below 0 by a unit in the last place.
    return NodeGrid(factor, low, np.maximum(np.stack(corners), 0.0) / histogram.num_boxes)


def finer(values: Floats, grid: NodeGrid, target: NodeGrid) -> Floats:
    """Interpolate values at the nodes of ``grid`` to those of ``target``, of half its step."""
    result = values
    for axis in (0, 1):
        position = (np.arange(target.shape[axis]) + target.low[axis]) / 2 - grid.low[axis]
        before = np.clip(np.floor(position).astype(np.intp), 0, grid.shape[axis] - 2)
        share = np.expand_dims(position - before, 1 - axis)
        result = (1 - share) * result.take(before, axis) + share * result.take(before + 1, axis)
    return result


def iou_stencil(step_ln: float, radius: int) -> Floats:
    """Return the IoU of a node with those up to ``radius`` away, (2 radius + 1, 2 radius + 1)."""
    distance = np.abs(np.arange(-radius, radius + 1)) * step_ln
    nested = np.exp(-np.add.outer(distance, distance))
    crossed = 1 / (np.add.outer(np.exp(distance), np.exp(distance)) - 1)
    sign = np.sign(np.arange(-radius, radius + 1))
    return np.where(np.multiply.outer(sign, sign) >= 0, nested, crossed)


class Windows:
    """The neighbourhoods of nodes that an anchor there can gain from.

    Thresholds are at least ``lowest``, which bounds how far an anchor reaches. Each anchor looks at
    one window of the padded grid, which stays in the processor's cache; steps of numpy over all
    anchors at once are slower, as they go through memory.
    """

    def __init__(self, grid: NodeGrid, thresholds: Floats, lowest: float) -> None:
        self.grid = grid
        radius = int(np.ceil(np.log(1 / lowest) / grid.step_ln))
        self._stencil = iou_stencil(grid.step_ln, radius)
        weights = np.pad(grid.weights, radius)
        padded = np.pad(thresholds, radius, constant_values=_OUTSIDE)
        # A node without boxes gains nothing.
        padded[weights == 0] = _OUTSIDE
        self._weights = sliding_window_view(weights, self._stencil.shape)
        self._thresholds = sliding_window_view(padded, self._stencil.shape)
        # The distance in memory of two windows' first entries is that of their nodes.
        numbers = np.pad(np.arange(grid.weights.size).reshape(grid.shape), radius)
        self._numbers = sliding_window_view(numbers, self._stencil.shape)

    def gains(self, nodes: Nodes) -> Floats:
        """Return what an anchor at each node gains over the thresholds, (m,).

        It is the sum over nodes of weight * max(0, IoU(node, anchor) - threshold(node)).
        """
        gains, work = np.empty(len(nodes)), np.empty_like(self._stencil)
        for index, (column, row) in enumerate(nodes.tolist()):
            np.subtract(self._stencil, self._thresholds[column, row], out=work)
            np.maximum(work, 0.0, out=work)
            gains[index] = np.einsum("ij,ij", work, self._weights[column, row])
        return gains

    def pairs(self, nodes: Nodes, slack: float) -> Pairs:
        """Return the pairs of an anchor and a node with IoU > threshold - slack.

        Anchors without any are left out: they gain nothing.
        """
        found, values, counts = [], [], np.empty(len(nodes), dtype=np.intp)
        for index, (column, row) in enumerate(nodes.tolist()):
            close = self._stencil > self._thresholds[column, row] - slack
            found.append(self._numbers[column, row][close])
            values.append(self._stencil[close])
            counts[index] = len(values[-1])
        numbers = np.concatenate(found)
        weights = self.grid.weights.ravel()[numbers]
        return Pairs(numbers, np.concatenate(values), weights, counts[counts > 0])


@dataclass(frozen=True)
class Pairs:
    """Pairs of an anchor and a node that are close, anchor by anchor."""

    nodes: NDArray[np.intp]
    """(p,) node, an index into the flattened grid."""

    iou: Floats
    """(p,)"""

    weights: Floats
    """(p,) of the node."""

    counts: NDArray[np.intp]
    """(m,) pairs of each anchor, > 0 each."""

    @cached_property
    def _starts(self) -> NDArray[np.intp]:
        return np.cumsum(self.counts) - self.counts

    @cached_property
    def _owners(self) -> NDArray[np.intp]:
        return np.repeat(np.arange(len(self.counts)), self.counts)

    # Kept for the next step: memory that is fresh from the system costs more than the sums.
    @cached_property
    def _work(self) -> tuple[Floats, Floats]:
        return np.empty_like(self.iou), np.empty_like(self.iou)

    def excess(self, thresholds: Floats) -> Floats:
        """Return IoU - threshold of every pair, (p,); the next call writes over it.

        Args:
            thresholds: Those of the flattened grid.
        """
        excess = self._work[0]
        np.take(thresholds, self.nodes, out=excess, mode="clip")
        return np.subtract(self.iou, excess, out=excess)

    def gains(self, excess: Floats) -> Floats:
        """Return the sum of weight * max(0, excess) of every anchor, (m,)."""
        work = np.maximum(excess, 0.0, out=self._work[1])
        work *= self.weights
        return np.asarray(np.add.reduceat(work, self._starts))

    def cover(self, excess: Floats, shares: Floats, num_nodes: int) -> Floats:
        """Return the sum of the anchors' shares at the nodes that gain from them, (num_nodes,)."""
        work = np.take(shares, self._owners, out=self._work[1], mode="clip")
        work *= excess > 0
        return np.asarray(np.bincount(self.nodes, work, num_nodes), dtype=np.float64)

    def select(self, anchors: NDArray[np.bool_], close: NDArray[np.bool_]) -> Pairs:
        """Return those pairs of some ``anchors`` (m,) that are in ``close`` (p,)."""
        kept = np.repeat(anchors, self.counts) & close
        counts = np.add.reduceat(kept, self._starts, dtype=np.intp)[anchors]
        return Pairs(self.nodes[kept], self.iou[kept], self.weights[kept], counts[counts > 0])
