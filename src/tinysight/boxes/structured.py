"""Anchors as RetinaNet, SSD and EfficientDet want them: sizes for each level, times shared ratios.

All anchors of a level are its sizes (square roots of areas) with every ratio of height to width.
A size or a ratio moves many anchors at once, so the search climbs along these few parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.boxes.anchors import distinct_or_fault
from tinysight.boxes.clustering import WeightedSizes, histogram_points
from tinysight.boxes.geometry import best_possible_recall, mean_best_iou
from tinysight.boxes.objectives import MeanIoU
from tinysight.boxes.sizes import size_histogram
from tinysight.errors import DataError

Floats = NDArray[np.float64]

_POINTS = (1_000, 6_000)  # sizes on which to climb, coarse and fine
_MOST_SWEEPS = 40
_STEPS_LN = np.concatenate([-np.geomspace(0.3, 0.002, 10), np.geomspace(0.002, 0.3, 10)])


@dataclass(frozen=True)
class StructuredAnchors:
    """Sizes for each level, ratios for all; the anchors are all their products."""

    sizes_px: Floats
    """(levels, scales) square roots of the anchors' areas, pixels at the input, ascending."""

    ratios: Floats
    """(ratios,) height / width, ascending."""

    mean_best_iou: float
    """Over all boxes."""

    best_possible_recall: float
    """Share of boxes with an anchor no side of which differs by the factor 4 or more."""

    @property
    def levels_wh_px(self) -> Floats:
        """Width and height of the anchors of each level, (levels, scales * ratios, 2)."""
        return _anchors(np.log(self.sizes_px), np.log(self.ratios))


def fit_structured(
    sizes_wh_px: ArrayLike,
    num_levels: int,
    num_scales: int,
    num_ratios: int,
    *,
    is_doubling: bool = True,
) -> StructuredAnchors:
    """Fit sizes and ratios for the largest mean best IoU.

    Args:
        sizes_wh_px: (n, 2) width and height of the boxes, pixels at the input, > 0.
        num_levels: Levels of the feature pyramid, >= 1.
        num_scales: Sizes on each level, >= 1.
        num_ratios: Ratios, shared by all levels, >= 1.
        is_doubling: Each level has twice the sizes of the one before, as its stride has
            (RetinaNet, EfficientDet); if not, every level has sizes of its own (SSD).

    Raises:
        DataError: There are no boxes, or a number is below 1.
    """
    for name, number in (
        ("num_levels", num_levels),
        ("num_scales", num_scales),
        ("num_ratios", num_ratios),
    ):
        if number < 1:
            raise DataError(f"`{name}` must be at least 1, got {number}.")
    boxes = np.asarray(sizes_wh_px, dtype=np.float64).reshape(-1, 2)
    distinct = distinct_or_fault(boxes)
    histogram = size_histogram(boxes)
    sizes_ln, ratios_ln = _start(distinct, num_levels, num_scales, num_ratios, is_doubling)
    for most in _POINTS:
        few = len(distinct.weights) <= most
        points = distinct if few else histogram_points(histogram, most, 1)
        sizes_ln, ratios_ln = _climb(points, sizes_ln, ratios_ln, is_doubling)
    anchors = _anchors(sizes_ln, ratios_ln).reshape(-1, 2)
    return StructuredAnchors(
        sizes_px=np.exp(np.sort(sizes_ln, axis=1)),
        ratios=np.exp(np.sort(ratios_ln)),
        mean_best_iou=mean_best_iou(boxes, anchors),
        best_possible_recall=best_possible_recall(boxes, anchors),
    )


def _anchors(sizes_ln: Floats, ratios_ln: Floats) -> Floats:
    """Return anchors, (levels, scales * ratios, 2), from logarithms of sizes and ratios."""
    half = ratios_ln / 2
    widths, heights = (sizes_ln[..., None] + sign * half for sign in (-1, 1))
    return np.exp(np.stack([widths, heights], axis=-1)).reshape(len(sizes_ln), -1, 2)


def _start(
    sizes: WeightedSizes, num_levels: int, num_scales: int, num_ratios: int, is_doubling: bool
) -> tuple[Floats, Floats]:
    """Spread sizes and ratios evenly over what most boxes have."""
    logs = np.log(sizes.wh)
    size_low, size_high = _quantiles(logs.sum(axis=1) / 2, sizes.weights)
    spread = np.linspace(size_low, size_high, num_levels * num_scales + 2)[1:-1]
    sizes_ln = spread.reshape(num_levels, num_scales)
    if is_doubling:
        doubled = np.arange(num_levels)[:, None] * np.log(2)
        sizes_ln = doubled + np.linspace(0, np.log(2), num_scales, endpoint=False)
        sizes_ln += (size_low + size_high) / 2 - sizes_ln.mean()
    ratio_low, ratio_high = _quantiles(logs[:, 1] - logs[:, 0], sizes.weights)
    return sizes_ln, np.linspace(ratio_low, ratio_high, num_ratios + 2)[1:-1]


def _quantiles(values: Floats, weights: Floats) -> tuple[float, float]:
    """Return the weighted quantiles at 5 and 95 %."""
    order = np.argsort(values, kind="stable")
    shares = np.cumsum(weights[order])
    rows = np.searchsorted(shares, [0.05, 0.95]).clip(max=len(order) - 1)
    low, high = values[order[rows]].tolist()
    return low, high


def _climb(
    points: WeightedSizes, sizes_ln: Floats, ratios_ln: Floats, is_doubling: bool
) -> tuple[Floats, Floats]:
    """Change one parameter at a time, by the best of many steps, until no step helps."""
    objective = MeanIoU()
    scores = objective.scores(points.wh, _anchors(sizes_ln, ratios_ln).reshape(-1, 2))
    parameters = _parameters(sizes_ln.shape, len(ratios_ln), is_doubling)
    for _ in range(_MOST_SWEEPS):
        is_better = False
        for size_moves, ratio_moves in parameters:
            moves = (size_moves[..., None] | ratio_moves).ravel()
            rest = scores[:, ~moves].max(axis=1, initial=0.0)
            best_value = float(points.weights @ np.maximum(scores[:, moves].max(axis=1), rest))
            best: tuple[Floats, Floats, Floats] | None = None
            for step in _STEPS_LN:
                moved = sizes_ln + step * size_moves, ratios_ln + step * ratio_moves
                tried = objective.scores(points.wh, _anchors(*moved).reshape(-1, 2)[moves])
                value = float(points.weights @ np.maximum(tried.max(axis=1), rest))
                if value > best_value + 1e-9:
                    best_value, best = value, (*moved, tried)
            if best is not None:
                sizes_ln, ratios_ln, scores[:, moves] = best
                is_better = True
        if not is_better:
            break
    return sizes_ln, ratios_ln


def _parameters(
    shape: tuple[int, ...], num_ratios: int, is_doubling: bool
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Return which sizes, (levels, scales), and which ratios each parameter moves."""
    num_levels, num_scales = shape
    no_size, no_ratio = np.zeros(shape, dtype=np.bool_), np.zeros(num_ratios, dtype=np.bool_)
    level_of, scale_of = np.indices(shape)
    groups = [np.ones(shape, dtype=np.bool_)]
    groups += [scale_of == scale for scale in range(num_scales)]
    if not is_doubling:
        groups += [level_of == level for level in range(num_levels)]
        groups += [
            (level_of == level) & (scale_of == scale)
            for level in range(num_levels)
            for scale in range(num_scales)
        ]
    ratios = np.eye(num_ratios, dtype=np.bool_)
    return [(group, no_ratio) for group in groups] + [
        (no_size, chosen) for chosen in (~no_ratio, *ratios)
    ]
