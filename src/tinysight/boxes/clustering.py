"""Anchors that maximise the mean best score of weighted box sizes.

Three steps, each keeping the best value it has seen:

1. ``swap_search`` places anchors on coarse points of the size histogram: seeds, then the best
   exchange of one anchor for one point, until none helps (a local search for k-medians).
2. ``refine`` moves them: boxes go to their best anchor, then each side of each anchor goes to where
   the pulls of its boxes balance. For IoU that point is a weighted median, since a box pulls the
   side of its anchor up if it is larger and down if it is smaller.
3. The same on finer points, and last on the boxes themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.objectives import Objective
from tinysight.boxes.sizes import SizeHistogram

Floats = NDArray[np.float64]

# Points on which to exchange anchors (each is compared with each), to move those of every start,
# and those of the best start.
LEVEL_POINTS = (1_200, 6_000, 20_000)

_MOST_ROUNDS = 200
_CACHED = 16_384  # numbers in a working array
_MOST_PAIRED = 100  # sizes whose widths and heights are paired: some 10,000 candidates
_MOST_SWEEPS = 20
_MOST_FINISHED = 3  # starts that are refined on the finest sizes
# Directions in which one anchor climbs, and how far: 0.1 % to 15 %.
_LINES = ((1, 0), (0, 1), (1, 1), (1, -1))
_STEPS_LN = np.concatenate([-np.geomspace(0.15, 0.001, 16), np.geomspace(0.001, 0.15, 16)])
# A step to the nearest box may be half as long again where boxes are few.
_LONGEST_LN = 2 * 0.15


@dataclass(frozen=True)
class WeightedSizes:
    """Distinct box sizes and the share of the boxes that each stands for."""

    wh: Floats
    """(n, 2) width and height, > 0."""

    weights: Floats
    """(n,) > 0, their sum is 1."""


def distinct_sizes(sizes_wh: Floats) -> WeightedSizes:
    """Return the distinct sizes in ascending order with their shares: no trace of the boxes' order.

    Args:
        sizes_wh: (n, 2), > 0, n >= 1.
    """
    # A complex number sorts by its real, then its imaginary part, faster than rows do.
    pairs, counts = np.unique(
        np.ascontiguousarray(sizes_wh, dtype=np.float64).view(np.complex128).ravel(),
        return_counts=True,
    )
    return WeightedSizes(pairs.view(np.float64).reshape(-1, 2), counts / len(sizes_wh))


def point_levels(histogram: SizeHistogram, k: int) -> list[WeightedSizes]:
    """Return points of the histogram, coarse to fine, on which ``search_anchors`` works best."""
    return [histogram_points(histogram, most, k) for most in LEVEL_POINTS]


def histogram_points(histogram: SizeHistogram, most: int, k: int) -> WeightedSizes:
    """Return the finest points that are at most ``most``, or more if ``k`` needs them.

    Args:
        histogram: Sizes of the boxes.
        most: Number of points aimed at.
        k: Least number of points, if the histogram has as many cells.
    """
    factor = 1
    while True:
        points = WeightedSizes(*histogram.coarse_points(factor))
        if len(points.weights) <= most:
            break
        factor *= 2
    while len(points.weights) < k and factor > 1:
        factor //= 2
        points = WeightedSizes(*histogram.coarse_points(factor))
    return points


def search_anchors(
    levels: Sequence[WeightedSizes], k: int, objective: Objective, *, seed: int, num_starts: int
) -> Floats:
    """Return the best anchors found from several starts, (k, 2), ascending by area.

    Args:
        levels: Sizes from coarse, at most some thousand for the swaps, to fine; at least ``k`` in
            the first. Every start is refined on the second (or the first if there is no other),
            the best one on those after it.
        k: Number of anchors, >= 1.
        objective: What is maximised.
        seed: Of the starts after the first, which is greedy.
        num_starts: >= 1.
    """
    rng = np.random.default_rng([seed, k])
    coarse, medium = levels[0], levels[min(1, len(levels) - 1)]
    candidates_wh = _candidates(coarse.wh)
    candidates = objective.scores(coarse.wh, candidates_wh)
    found: list[tuple[float, Floats]] = []
    seen: set[tuple[int, ...]] = set()
    for start in range(num_starts):
        if start == 0:
            rows = _greedy(candidates, coarse.weights, k)
        else:
            rows = _spread(candidates, coarse.weights, k, rng)
        rows = np.sort(swap_search(candidates, coarse.weights, rows))
        if (key := tuple(rows.tolist())) in seen:
            continue
        seen.add(key)
        anchors, value = refine(medium, candidates_wh[rows], objective)
        found.append((value, anchors))
    # Points that stand for many boxes rank starts only roughly.
    found = sorted(found, key=lambda entry: -entry[0])[:_MOST_FINISHED]
    for sizes in levels[2:]:
        found = [refine(sizes, anchors, objective)[::-1] for _, anchors in found]
    return max(found, key=lambda entry: entry[0])[1]


def swap_search(candidates: Floats, weights: Floats, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Exchange one anchor for one candidate, the best pair each time, until no exchange helps.

    Args:
        candidates: (n, c) score of each point with an anchor at each candidate.
        weights: (n,) shares of the points.
        rows: (k,) candidates at which the anchors start.

    Source:
        Schubert and Rousseeuw 2019, "Faster k-Medoids Clustering" (arXiv:1810.05691), FastPAM1:
        all k * n exchanges for the price of n.
    """
    rows, k = rows.copy(), len(rows)
    parts = _parts(candidates)
    for _ in range(_MOST_ROUNDS):
        own = candidates[:, rows]
        owner = own.argmax(axis=1)
        best = own[np.arange(len(own)), owner]
        own[np.arange(len(own)), owner] = 0.0
        second = own.max(axis=1) if k > 1 else np.zeros(len(own))
        shares = np.where(owner == np.arange(k)[:, None], weights, 0.0)  # (k, n)
        change = np.zeros((k, candidates.shape[1]))
        for part in parts:
            # Adding j gains max(0, score - best); removing i as well costs its points the step
            # down to the better of j and their second anchor.
            gained = candidates[part] - best[part, None]
            lost = np.minimum(gained, 0.0)
            np.maximum(lost, (second - best)[part, None], out=lost)
            np.maximum(gained, 0.0, out=gained)
            change += weights[part] @ gained + shares[:, part] @ lost
        slot, candidate = np.unravel_index(change.argmax(), change.shape)
        if change[slot, candidate] <= 1e-12:
            break
        rows[slot] = candidate
    return rows


def refine(sizes: WeightedSizes, anchors_wh: Floats, objective: Objective) -> tuple[Floats, float]:
    """Move anchors to where the pulls of their boxes balance, until the value stands still.

    Args:
        sizes: What the anchors are for.
        anchors_wh: (k, 2) start.
        objective: What is maximised; the result is never worse than the start.

    Returns:
        Anchors ascending by area, (k, 2), and their value on ``sizes``.
    """
    orders = [np.argsort(sizes.wh[:, axis], kind="stable") for axis in (0, 1)]
    anchors, best, best_value = anchors_wh, anchors_wh, -1.0
    num_idle = 0
    for _ in range(_MOST_ROUNDS):
        scores = objective.scores(sizes.wh, anchors)
        owner = scores.argmax(axis=1)
        value = float(sizes.weights @ scores[np.arange(len(owner)), owner])
        num_idle = 0 if value > best_value + 1e-9 else num_idle + 1
        if value > best_value:
            best, best_value = anchors, value
        if num_idle > 3:
            break
        moved = anchors.copy()
        for axis, order in enumerate(orders):
            sorted_owner = owner[order]
            for index in range(len(anchors)):
                members = order[sorted_owner == index]
                if len(members):
                    moved[index, axis] = _balance(sizes, members, moved[index], axis, objective)
        if np.array_equal(moved, anchors):
            break
        anchors = moved
    return _by_area(best), best_value


def polish(sizes: WeightedSizes, anchors_wh: Floats, objective: Objective) -> Floats:
    """Climb from anchor to anchor along lines in the plane of logarithms, until none helps.

    Where many boxes share a side, as in small or rounded data, balanced pulls are a local maximum
    among many: a small step loses and a larger one gains.

    Args:
        sizes: What the anchors are for.
        anchors_wh: (k, 2) start.
        objective: What is maximised; the result is never worse than the start.

    Returns:
        Anchors ascending by area, (k, 2).
    """
    sides = [np.unique(sizes.wh[:, axis]) for axis in (0, 1)]
    anchors = anchors_wh.copy()
    scores = objective.scores(sizes.wh, anchors)
    for _ in range(_MOST_SWEEPS):
        before = anchors.copy()
        for index in range(len(anchors)):
            others = np.delete(scores, index, axis=1).max(axis=1, initial=0.0)
            for line in _LINES:
                # Only boxes that this anchor serves, or may serve after the longest step.
                own = np.maximum(scores[:, index], np.finfo(np.float64).tiny)
                near = own * objective.most_growth(_LONGEST_LN) > others
                wh, weights, rest = sizes.wh[near], sizes.weights[near], others[near, None]
                steps = np.exp(np.outer(_STEPS_LN, line))
                candidates = np.unique(_on_sides(anchors[index] * steps, sides, line), axis=0)
                values = weights @ np.maximum(objective.scores(wh, candidates), rest)
                value = float(weights @ np.maximum(scores[near, index], rest[:, 0]))
                best = int(values.argmax())
                if values[best] > value + 1e-12:
                    anchors[index] = candidates[best]
                    scores[:, index] = objective.scores(sizes.wh, candidates[best : best + 1])[:, 0]
        if np.array_equal(before, anchors):
            break
    return _by_area(anchors)


def _on_sides(anchors_wh: Floats, sides: Sequence[Floats], line: tuple[int, int]) -> Floats:
    """Move the sides that changed to those of the nearest boxes, where the kinks are."""
    moved = anchors_wh.copy()
    for axis in (0, 1):
        if line[axis]:
            after = np.searchsorted(sides[axis], anchors_wh[:, axis]).clip(1, len(sides[axis]) - 1)
            low, high = sides[axis][after - 1], sides[axis][after]
            moved[:, axis] = np.where(
                anchors_wh[:, axis] - low < high - anchors_wh[:, axis], low, high
            )
    return moved


def _by_area(anchors_wh: Floats) -> Floats:
    return anchors_wh[np.lexsort((anchors_wh[:, 0], anchors_wh.prod(axis=1)))]


def _balance(
    sizes: WeightedSizes, members: NDArray[np.intp], anchor: Floats, axis: int, objective: Objective
) -> float:
    """Return the side at which the pulls up of larger boxes equal those down of smaller ones."""
    boxes = sizes.wh[members]  # ascending along axis
    up, down = objective.pulls(boxes, anchor, axis)
    weights = sizes.weights[members]
    smaller, larger = np.cumsum(down * weights), np.cumsum((up * weights)[::-1])[::-1]
    # At boxes[i]: those after it pull up, those up to it pull down.
    balance = np.append(larger[1:], 0.0) - smaller
    if not smaller[-1] > 0:
        return float(anchor[axis])
    return float(boxes[int((balance <= 0).argmax()), axis])


def _candidates(sizes_wh: Floats) -> Floats:
    """Return where anchors may start: the sizes, and for few all pairs of a width and a height."""
    if len(sizes_wh) > _MOST_PAIRED:
        return sizes_wh
    sides = np.meshgrid(np.unique(sizes_wh[:, 0]), np.unique(sizes_wh[:, 1]), indexing="ij")
    # The sizes come first, so that a row of theirs is also one of the candidates.
    return np.concatenate([sizes_wh, np.stack(sides, axis=-1).reshape(-1, 2)])


def _parts(candidates: Floats) -> list[slice]:
    """Cut the points into parts whose arrays stay in the processor's cache."""
    length = max(1, _CACHED // candidates.shape[1])
    return [slice(first, first + length) for first in range(0, len(candidates), length)]


def _greedy(candidates: Floats, weights: Floats, k: int) -> NDArray[np.intp]:
    rows: list[int] = []
    best = np.zeros(len(weights))
    parts = _parts(candidates)
    for _ in range(k):
        gains = np.zeros(candidates.shape[1])
        for part in parts:
            gains += weights[part] @ np.maximum(candidates[part], best[part, None])
        gains[rows] = -1.0
        rows.append(int(gains.argmax()))
        best = np.maximum(best, candidates[:, rows[-1]])
    return np.array(rows, dtype=np.intp)


def _spread(
    candidates: Floats, weights: Floats, k: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Draw points one after the other, each as likely as what it still lacks (as k-means++)."""
    rows: list[int] = []
    lacking = np.ones(len(weights))
    for _ in range(k):
        share = np.cumsum(weights * lacking + 1e-12 * (lacking > 0))
        rows.append(
            min(int(np.searchsorted(share, rng.random() * share[-1], "right")), len(share) - 1)
        )
        lacking = np.minimum(lacking, 1 - candidates[:, rows[-1]])
        lacking[rows] = 0.0
    return np.array(rows, dtype=np.intp)
