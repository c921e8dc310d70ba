"""A histogram of box sizes on a logarithmic grid: what anchors are fitted to and proved on.

The plane (log2 w, log2 h) is cut into square cells, 64 an octave. A cell keeps how many boxes it
holds and three whole-number moments of their positions inside it, so that

* histograms of parts of a data set merge, in any order, to the same bits;
* anchors are fitted on at most some ten thousand cells, however many boxes there are;
* the boxes of a cell can be replaced by weights on its four corners with an error of second order
  and a known sign (see ``certificate``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.errors import DataError

CELLS_PER_OCTAVE = 64
"""Cells on the finest grid for every factor of 2 in width or height."""

STEPS = 2**15
"""Positions inside a cell are kept in this many steps."""

CELL_LN = float(np.log(2) / CELLS_PER_OCTAVE)
"""Side of a cell in natural logarithms, about 0.0108."""

# log2 is right to some units in the last place, 2**-50 or so; a step is 2**-21.
POSITION_ERROR_LN = CELL_LN * (0.5 + 1e-3) / STEPS
"""Largest distance of a box's kept position from the true one, a coordinate, natural logarithm."""

LARGEST = 1e90
"""Sides may be up to this and down to its inverse, so that areas and their quotients are finite."""

_CHUNK = 2**20  # boxes at a time: float64 sums of whole numbers below 2**30 * 2**20 are exact
_MOST_DENSE = 2**22


@dataclass(frozen=True)
class SizeHistogram:
    """Cells that hold boxes, ascending by column and row; all whole numbers."""

    cells: NDArray[np.int64]
    """(m, 2) column and row: floor of 64 log2 of width and height."""

    counts: NDArray[np.int64]
    """(m,) boxes in the cell, > 0."""

    moments: NDArray[np.int64]
    """(m, 3) sums over the boxes of s, t and s * t, where s, t in [0, STEPS) are the position."""

    @property
    def num_boxes(self) -> int:
        """How many boxes were counted."""
        return int(self.counts.sum())

    def log_centroids(self) -> NDArray[np.float64]:
        """Return the mean natural logarithm of width and height in each cell, (m, 2)."""
        offsets = self.moments[:, :2] / (self.counts[:, None] * STEPS)
        return np.asarray((self.cells + offsets) * CELL_LN)

    def coarse_points(self, factor: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Join ``factor`` x ``factor`` cells to one point each.

        Args:
            factor: Cells a side, >= 1.

        Returns:
            Width and height of the points, (p, 2), the unit of the boxes, and the share of the
            boxes that each stands for, (p,).
        """
        joined, owner = _unique_cells(self.cells // factor)
        counts = np.bincount(owner, self.counts, len(joined))
        logs = self.log_centroids() * self.counts[:, None]
        sums = np.stack([np.bincount(owner, logs[:, axis], len(joined)) for axis in (0, 1)], axis=1)
        return np.exp(sums / counts[:, None]), counts / self.num_boxes


def size_histogram(sizes_wh: ArrayLike) -> SizeHistogram:
    """Count boxes by size; the result does not depend on their order.

    Args:
        sizes_wh: (n, 2), width and height, > 0, any unit.

    Raises:
        DataError: A width or height is not above 0, or has no area in double precision.
    """
    sizes = np.asarray(sizes_wh, dtype=np.float64).reshape(-1, 2)
    _check_sizes(sizes)
    parts = [
        _count(sizes[start : start + _CHUNK]) for start in range(0, max(len(sizes), 1), _CHUNK)
    ]
    return merge_histograms(*parts)


def merge_histograms(*parts: SizeHistogram) -> SizeHistogram:
    """Return the histogram of all boxes of the parts, the same bits for any order of them."""
    if len(parts) == 1:
        return parts[0]
    cells, owner = _unique_cells(np.concatenate([part.cells for part in parts]))
    counts = np.zeros(len(cells), dtype=np.int64)
    moments = np.zeros((len(cells), 3), dtype=np.int64)
    np.add.at(counts, owner, np.concatenate([part.counts for part in parts]))
    np.add.at(moments, owner, np.concatenate([part.moments for part in parts]))
    return SizeHistogram(cells, counts, moments)


def _check_sizes(sizes_wh: NDArray[np.float64]) -> None:
    wrong = ~((sizes_wh >= 1 / LARGEST) & (sizes_wh <= LARGEST)).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        width, height = sizes_wh[row].tolist()
        raise DataError(
            f"sizes[{row}]: width and height must be from 1e-90 to 1e90, got {width} x {height}. "
            f"Drop such boxes first (`tinysight boxes check` names them)."
        )


def _count(sizes_wh: NDArray[np.float64]) -> SizeHistogram:
    if not len(sizes_wh):
        empty = np.zeros((0, 3), dtype=np.int64)
        return SizeHistogram(empty[:, :2], empty[:, 0], empty)
    # Contiguous columns, so that log2 is the same machine code for every element and order.
    positions = [
        np.rint(np.log2(np.ascontiguousarray(sizes_wh[:, axis])) * (CELLS_PER_OCTAVE * STEPS))
        for axis in (0, 1)
    ]
    whole = [np.floor_divide(position, STEPS) for position in positions]
    within = [position - STEPS * cell for position, cell in zip(positions, whole, strict=True)]
    low = [cell.min() for cell in whole]
    spans = [int(cell.max() - start) + 1 for cell, start in zip(whole, low, strict=True)]
    columns = [(cell - start).astype(np.int64) for cell, start in zip(whole, low, strict=True)]
    key = columns[0] * spans[1] + columns[1]
    if spans[0] * spans[1] <= _MOST_DENSE:
        counts = np.bincount(key, minlength=spans[0] * spans[1])
        used = np.flatnonzero(counts)
        owner, num_bins = key, len(counts)
    else:
        used, owner, counts = np.unique(key, return_inverse=True, return_counts=True)
        num_bins = len(used)
    sums = [np.bincount(owner, weight, num_bins) for weight in (*within, within[0] * within[1])]
    if num_bins != len(used):
        counts, sums = counts[used], [total[used] for total in sums]
    cells = np.stack([used // spans[1] + int(low[0]), used % spans[1] + int(low[1])], axis=1)
    return SizeHistogram(cells, counts, np.stack(sums, axis=1).astype(np.int64))


def _unique_cells(cells: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct cells, ascending, and the index of each given cell among them."""
    if not len(cells):
        return cells, np.zeros(0, dtype=np.int64)
    low = cells.min(axis=0)
    span = int(cells[:, 1].max() - low[1]) + 1
    keys, owner = np.unique(
        (cells[:, 0] - low[0]) * span + cells[:, 1] - low[1], return_inverse=True
    )
    return np.stack([keys // span + low[0], keys % span + low[1]], axis=1), owner
