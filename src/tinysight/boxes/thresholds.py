"""Thresholds that make the bound of ``certificate`` small: the dual of the p-median relaxation.

For thresholds m(b) in [0, 1] and shares W(b) of the boxes, no k anchors score more than

    D(m) = sum_b W(b) m(b) + k * max_a gain(a),   gain(a) = sum_b W(b) max(0, IoU(b, a) - m(b)).

D is convex in m. Its maximum is smoothed to tau * log sum exp(gain / tau) and lowered by
accelerated gradient steps while tau falls. In the metric of the weights the gradient is
1 - k * cover(b), where cover(b) is how much of the anchors' softmax share b gains from: thresholds
rise where boxes are covered more than once and fall where less. Any thresholds give a valid bound,
so nothing here has to be exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from tinysight.boxes.clustering import WeightedSizes
from tinysight.boxes.geometry import best_iou, pairwise_iou
from tinysight.boxes.node_grid import (
    Floats,
    NodeGrid,
    Nodes,
    Pairs,
    Windows,
    build_node_grid,
    finer,
)
from tinysight.boxes.sizes import SizeHistogram

# Steps after which the gains of all candidates are computed again, and after which their pairs are.
_REFRESH, _REBUILD = 8, 40
_NEAR = 12.0  # candidates so many tau below the largest gain have a share of e**-12 or less
# How far a threshold may move between two rebuilds, and between two refreshes.
_SLACK, _CLOSE = 0.04, 0.02
# Bounds the curvature of the smoothed maximum times tau: k times the share that one anchor covers.
_CURVATURE = 1.3


@dataclass(frozen=True)
class _Stage:
    """One grid on the way from coarse to fine; the numbers are found by trial."""

    factor: int
    """Cells of the histogram a side of a cell."""

    taus: tuple[float, ...]
    """Falling temperatures."""

    num_steps: int
    """Gradient steps at each temperature: many on coarse grids, where they are cheap."""

    stride: int = 1
    """Anchors are considered at every so many nodes: between them the gain hardly changes."""

    least_gain: float = 0.0
    """Anchors are considered where on the grid before they gained this share of the largest."""


_STAGES = (
    _Stage(16, (3e-3, 1e-3), num_steps=48),
    _Stage(8, (1e-3, 3e-4, 1e-4), num_steps=48),
    _Stage(4, (1e-4, 3e-5), num_steps=64, stride=2, least_gain=0.8),
    _Stage(2, (3e-5,), num_steps=12, stride=2, least_gain=0.95),
)
_LOWEST = 0.15  # least threshold, in parts of the mean best IoU: how far an anchor looks
_MOST_NODES = 200_000

_TAUS_OF_FEW = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
_STEPS_OF_FEW = 96
_MOST_TAKEN = 1_000


def find_thresholds(
    histogram: SizeHistogram,
    anchors_wh: Floats,
    value: float,
    *,
    deadline_s: float,
    finest: int,
) -> tuple[NodeGrid, Floats, bool]:
    """Look for thresholds for which the dual is small, from coarse grids to fine ones.

    Args:
        histogram: Sizes of the boxes.
        anchors_wh: (k, 2) good anchors; the IoU with them is where the search starts.
        value: Their mean best IoU.
        deadline_s: ``time.thread_time`` at which to stop.
        finest: Cells of the histogram a side of a cell of the last grid: 16, 8, 4 or 2.

    Returns:
        A grid, a threshold in [0, 1] for each of its nodes, (columns, rows), and whether the time
        was enough for the last grid.
    """
    start_s = time.thread_time()
    k, lowest = len(anchors_wh), _LOWEST * value
    grid = build_node_grid(histogram, _first_factor(histogram))
    at_nodes = best_iou(grid.node_sizes().reshape(-1, 2), anchors_wh).reshape(grid.shape)
    thresholds = np.clip(at_nodes, lowest, 1.0)
    if grid.factor > _STAGES[0].factor:
        return grid, thresholds, False
    for stage in _STAGES:
        if stage.factor < finest:
            break
        candidates = _all_nodes(grid)
        if stage.factor < grid.factor:
            now_s = time.thread_time()
            # A stage takes about as long as all before it.
            if deadline_s - now_s < now_s - start_s or grid.weights.size > _MOST_NODES // 4:
                return grid, thresholds, False
            coarse, grid = grid, build_node_grid(histogram, stage.factor)
            candidates = _candidates(coarse, thresholds, lowest, grid, stage)
            thresholds = finer(thresholds, coarse, grid)
        for tau in stage.taus:
            thresholds = lower_thresholds(
                grid.weights.ravel(),
                thresholds.ravel(),
                partial(_close_pairs, grid, candidates, lowest),
                k,
                lowest=lowest,
                tau=tau,
                num_steps=stage.num_steps,
                deadline_s=deadline_s,
            ).reshape(grid.shape)
    return grid, thresholds, time.thread_time() <= deadline_s


def _first_factor(histogram: SizeHistogram) -> int:
    """Return the factor of the first grid, a larger one where sizes differ beyond all measure."""
    span = np.ptp(histogram.cells, axis=0)
    factor = _STAGES[0].factor
    while float((span // factor + 2.0).prod()) > _MOST_NODES:
        factor *= 2
    return factor


def interpolate(values: Floats, grid: NodeGrid, logs: Floats) -> Floats:
    """Interpolate values at nodes, (columns, rows), to sizes given by logarithms, (n, 2)."""
    result_index, shares = [], []
    for axis in (0, 1):
        position = logs[:, axis] / grid.step_ln - grid.low[axis]
        before = np.clip(np.floor(position).astype(np.intp), 0, grid.shape[axis] - 2)
        result_index.append(before)
        shares.append(np.clip(position - before, 0.0, 1.0))
    (column, row), (s, t) = result_index, shares
    near = (1 - t) * values[column, row] + t * values[column, row + 1]
    far = (1 - t) * values[column + 1, row] + t * values[column + 1, row + 1]
    return np.asarray((1 - s) * near + s * far)


def _close_pairs(grid: NodeGrid, anchors: Nodes, lowest: float, thresholds: Floats) -> Pairs:
    return Windows(grid, thresholds.reshape(grid.shape), lowest).pairs(anchors, _SLACK)


def _candidates(
    coarse: NodeGrid, thresholds: Floats, lowest: float, grid: NodeGrid, stage: _Stage
) -> Nodes:
    """Return nodes next to those coarse ones whose gain is not far below the largest."""
    nodes = _all_nodes(coarse)
    gains = Windows(coarse, thresholds, lowest).gains(nodes)
    centers = (nodes[gains >= stage.least_gain * gains.max()] + coarse.low) * 2 - grid.low
    wanted = np.zeros(grid.shape, dtype=np.bool_)
    for column in (-1, 0, 1):
        for row in (-1, 0, 1):
            moved = centers + np.array([column, row])
            inside = ((moved >= 0) & (moved < grid.shape)).all(axis=1)
            wanted[tuple(moved[inside].T)] = True
    found = np.argwhere(wanted)
    on_stride = found[((found + grid.low) % stage.stride == 0).all(axis=1)]
    return on_stride if len(on_stride) else found


def _all_nodes(grid: NodeGrid) -> Nodes:
    return np.argwhere(np.ones(grid.shape, dtype=np.bool_))


def lower_thresholds(
    weights: Floats,
    thresholds: Floats,
    find_pairs: Callable[[Floats], Pairs],
    k: int,
    *,
    lowest: float,
    tau: float,
    num_steps: int,
    deadline_s: float,
) -> Floats:
    """Take gradient steps on the smoothed dual and return the best thresholds met.

    Args:
        weights: (n,) shares of the boxes at each node.
        thresholds: (n,) start, in [lowest, 1].
        find_pairs: Gives the pairs of candidate anchors and nodes that are close at some
            thresholds, and stay of use while these move by less than ``SLACK``.
        k: Number of anchors.
        lowest: Least threshold.
        tau: Temperature of the smoothed maximum, a gain.
        num_steps: Gradient steps at most.
        deadline_s: ``time.thread_time`` at which to stop.
    """
    point = leading = best = thresholds
    momentum, best_value = 1.0, np.inf
    pairs = near = find_pairs(leading)
    for step in range(num_steps + 1):
        if step and step % _REBUILD == 0:
            pairs = find_pairs(leading)
        if step % _REFRESH == 0 or step == num_steps:
            excess = pairs.excess(leading)
            gains = pairs.gains(excess)
            value = float(weights @ leading) + k * float(gains.max())
            if value < best_value:
                best, best_value = leading, value
            if step == num_steps or time.thread_time() > deadline_s:
                break
            near = pairs.select(gains > gains.max() - _NEAR * tau, excess > -_CLOSE)
        excess = near.excess(leading)
        gains = near.gains(excess)
        shares = np.exp((gains - gains.max()) / tau)
        slope = 1 - k * near.cover(excess, shares / shares.sum(), len(weights))
        moved = np.clip(leading - slope * (tau / _CURVATURE), lowest, 1.0)
        change = moved - point
        if float((slope * weights) @ change) > 0:
            leading, momentum = moved, 1.0  # it overshoots: start the acceleration again
        else:
            faster = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            leading = np.clip(moved + (momentum - 1) / faster * change, lowest, 1.0)
            momentum = faster
        point = moved
    return np.asarray(best)


def settle_few(sizes: WeightedSizes, thresholds: Floats, k: int, *, deadline_s: float) -> Floats:
    """Lower the thresholds of a few boxes themselves, each its own.

    Between the widths and heights of boxes the gain is convex but for terms of second order, so the
    candidates are all pairs of one box's width with one's height; those that gain most are taken in
    turn by turn.

    Args:
        sizes: At most some hundred distinct sizes.
        thresholds: (n,) start, in [0, 1].
        k: Number of anchors.
        deadline_s: ``time.thread_time`` at which to stop.
    """
    anchors = np.stack(
        np.meshgrid(np.unique(sizes.wh[:, 0]), np.unique(sizes.wh[:, 1]), indexing="ij"), axis=-1
    ).reshape(-1, 2)
    taken = np.zeros(len(anchors), dtype=np.bool_)
    for tau in _TAUS_OF_FEW:
        gains = _gains_of_few(sizes, thresholds, anchors)
        taken[np.argsort(-gains, kind="stable")[:_MOST_TAKEN]] = True
        iou = pairwise_iou(anchors[taken], sizes.wh)
        every = Pairs(
            np.tile(np.arange(len(sizes.wh)), len(iou)),
            iou.ravel(),
            np.tile(sizes.weights, len(iou)),
            np.full(len(iou), len(sizes.wh), dtype=np.intp),
        )
        thresholds = lower_thresholds(
            sizes.weights,
            thresholds,
            lambda _, pairs=every: pairs,  # type: ignore[misc]
            k,
            lowest=0.0,
            tau=tau,
            num_steps=_STEPS_OF_FEW,
            deadline_s=deadline_s,
        )
    return thresholds


def _gains_of_few(sizes: WeightedSizes, thresholds: Floats, anchors_wh: Floats) -> Floats:
    gains = np.zeros(len(anchors_wh))
    for wh, weight, threshold in zip(sizes.wh, sizes.weights, thresholds, strict=True):
        gains += weight * np.maximum(pairwise_iou(wh, anchors_wh)[0] - threshold, 0.0)
    return gains
