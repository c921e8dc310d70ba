"""The fixed bins in which box shapes and positions are counted.

Edges never depend on the data, so counts of parts of a data set add up to those of the whole. The
outermost bins of a logarithmic axis also take what lies beyond them: no box is left out.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE_NAMES = ("small", "medium", "large")
SMALL_BELOW_PX2 = 32**2
"""Area below which COCO calls an object small, square pixels of the source image."""

LARGE_FROM_PX2 = 96**2
"""Area from which COCO calls an object large, square pixels of the source image."""

SIDE_BINS = 64
"""Bins of a width or height in pixels, a quarter of an octave each."""

SIDE_EDGES_PX = 2.0 ** (np.arange(SIDE_BINS + 1) / 4 - 2)
"""Edges of those bins: 1/4 px to 16,384 px."""

REL_BINS = 50
"""Bins of a width or height as a fraction of the image."""

ASPECT_BINS = 32
"""Bins of width / height, a quarter of an octave each."""

ASPECT_EDGES = 2.0 ** (np.arange(ASPECT_BINS + 1) / 4 - 4)
"""Edges of those bins: 1/16 to 16."""

GRID_CELLS = 32
"""Cells a side of the map of positions."""

_FIRST_SIDE = -8  # the first edges, in quarters of an octave
_FIRST_ASPECT = -16
_QUARTER_EDGES = tuple(0.5 * 2 ** (quarter / 4) for quarter in (1, 2, 3))

Counts = NDArray[np.int64]


def size_class(area_px2: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return 0, 1 or 2 for each area: small, medium or large by the limits of COCO.

    COCO measures the area of the object's outline where there is one; a box file has only boxes,
    so fewer objects are small here than in COCO's own evaluation.
    """
    return np.searchsorted((SMALL_BELOW_PX2, LARGE_FROM_PX2), area_px2, side="right")


def side_bin(side_px: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each width or height in pixels, > 0."""
    return np.clip(_quarter_octaves(side_px) - _FIRST_SIDE, 0, SIDE_BINS - 1)


def aspect_bin(aspect: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each width / height, > 0."""
    return np.clip(_quarter_octaves(aspect) - _FIRST_ASPECT, 0, ASPECT_BINS - 1)


def _quarter_octaves(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return floor(4 log2 x) exactly, from the bits: a logarithm may round across an edge."""
    mantissa, exponent = np.frexp(values)  # x = mantissa * 2**exponent, mantissa in [1/2, 1)
    quarters = 4 * (exponent.astype(np.intp) - 1)
    for edge in _QUARTER_EDGES:
        quarters += mantissa >= edge
    return quarters


def rel_bin(side_rel: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the bin of each fraction of the image; what is above 1 counts in the last."""
    return np.clip((side_rel * REL_BINS).astype(np.intp), 0, REL_BINS - 1)


def count_by(
    rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]
) -> Counts:
    """Count how often each (row, column) occurs."""
    key = rows.astype(np.int64) * shape[1] + columns
    return np.bincount(key, minlength=shape[0] * shape[1]).reshape(shape)


def count_centres(
    start_rel: tuple[NDArray[np.float64], NDArray[np.float64]],
    side_rel: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Counts:
    """Count box centres on a grid over the image.

    Args:
        start_rel: Left and top of each box as fractions of its image, each (n,).
        side_rel: Width and height, likewise.

    Returns:
        (GRID_CELLS, GRID_CELLS), rows from the top; a centre outside counts in the nearest cell.
    """
    column, row = (
        np.clip(((start + side / 2) * GRID_CELLS).astype(np.intp), 0, GRID_CELLS - 1)
        for start, side in zip(start_rel, side_rel, strict=True)
    )
    return count_by(row, column, (GRID_CELLS, GRID_CELLS))


def count_covered(
    start_rel: tuple[NDArray[np.float64], NDArray[np.float64]],
    side_rel: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> Counts:
    """Count for each cell of a grid over the image the boxes that contain its centre.

    Args:
        start_rel: Left and top of each box as fractions of its image, each (n,).
        side_rel: Width and height, likewise.

    Returns:
        (GRID_CELLS, GRID_CELLS), rows from the top.
    """
    # The cells whose centre is in [start, end): a box adds 1 at one corner of its block of cells
    # and takes it away past the others, and two running sums fill the block.
    left, top = (_first_cell(start) for start in start_rel)
    right, bottom = (
        _first_cell(start + side) for start, side in zip(start_rel, side_rel, strict=True)
    )
    shape = (GRID_CELLS + 1, GRID_CELLS + 1)
    steps = (
        count_by(top, left, shape)
        - count_by(top, right, shape)
        - count_by(bottom, left, shape)
        + count_by(bottom, right, shape)
    )
    return np.asarray(steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1])


def _first_cell(edge_rel: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the first cell whose centre is not before an edge; one past the last if none is."""
    return np.clip(np.ceil(edge_rel * GRID_CELLS - 0.5), 0, GRID_CELLS).astype(np.intp)
