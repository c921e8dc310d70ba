"""Where a falling curve bends: the rules by which people choose a number of clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-9  # a curve as near as this to its diagonal is a line


def kneedle_elbow(ks: Sequence[int], values: ArrayLike, sensitivity: float = 1.0) -> int | None:
    """Return the elbow of a convex falling curve by Kneedle, or None if it finds none.

    The curve is scaled to the unit square. An elbow is the first point that lies farther below the
    diagonal than its neighbours, if afterwards that distance falls by ``sensitivity`` mean steps.

    Args:
        ks: Ascending, at least 3.
        values: As many, falling.
        sensitivity: S of the paper; the larger, the clearer the elbow must be.

    Source:
        Satopaa, Albrecht, Irwin, Raghavan 2011, "Finding a 'Kneedle' in a Haystack".
    """
    x, below = _below_diagonal(ks, values)
    if len(x) < 3 or np.abs(below).max() < _ROUNDING:
        return None
    padded = np.pad(below, 1, mode="edge")
    is_peak = (below >= padded[:-2]) & (below >= padded[2:])
    is_valley = (below <= padded[:-2]) & (below <= padded[2:])
    least_fall = sensitivity * float(np.diff(x).mean())
    peak, threshold = -1, 0.0
    for index in range(len(x) - 1):
        if is_peak[index]:
            peak, threshold = index, float(below[index]) - least_fall
        if is_valley[index]:
            peak = -1  # past a valley the fall of the peak before it is no longer its own
        if peak >= 0 and below[index + 1] < threshold:
            return int(ks[peak])
    return None


def chord_elbow(ks: Sequence[int], values: ArrayLike) -> int | None:
    """Return where a convex falling curve is farthest below the line between its ends.

    Args:
        ks: Ascending, at least 3 for an answer.
        values: As many, falling.
    """
    x, below = _below_diagonal(ks, values)
    if len(x) < 3 or below.max() < _ROUNDING:
        return None
    return int(ks[int(below.argmax())])


def last_gain(ks: Sequence[int], values: ArrayLike, least_gain: float) -> int | None:
    """Return the last k up to which every further anchor gains at least ``least_gain``.

    Args:
        ks: 1, 2, 3, …
        values: Mean best IoU for each.
        least_gain: Above 0.

    Returns:
        None if the gain never falls below ``least_gain`` in the range.
    """
    too_small = np.flatnonzero(np.diff(np.asarray(values, dtype=np.float64)) < least_gain)
    return int(ks[int(too_small[0])]) if len(too_small) else None


def _below_diagonal(
    ks: Sequence[int], values: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x in [0, 1] and how far the curve is below its diagonal there."""
    x = np.asarray(ks, dtype=np.float64)
    y = np.asarray(values, dtype=np.float64)
    if len(x) < 3 or not y.max() > y.min():
        return x, np.zeros(len(x))
    x = (x - x.min()) / (x.max() - x.min())
    return x, (y.max() - y) / (y.max() - y.min()) - x
