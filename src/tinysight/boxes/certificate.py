"""A proof of how good anchors can be: an upper bound on the mean best IoU of any k anchors.

Let W(b) be shares of the boxes (their sum is 1), K(b, a) the IoU of box size b and anchor a, and
m(b) any thresholds in [0, 1]. For every box and every set A of k anchors

    max_{a in A} K(b, a) <= m(b) + sum_{a in A} max(0, K(b, a) - m(b)),

so the mean best IoU of A is at most

    D(m) = sum_b W(b) m(b) + k * max_a g(a),    g(a) = sum_b W(b) max(0, K(b, a) - m(b)).

``thresholds`` looks for m that make D small; they need no proof. ``plane_search`` bounds the
maximum of g over the whole plane of anchors. With x and y the distances of the logarithms of the
sides of b and a, K is exp(-x - y) where one size contains the other and 1 / (exp(x) + exp(y) - 1)
where not. Three facts follow:

1. K does not fall when a moves towards b along an axis. So the best anchors lie in the rectangle
   that the boxes span, and over a range of a that holds b's coordinate, x = 0 is the best.
2. Along an axis, on one side of b, the second derivative of K is at least -1/27: exp is convex, and
   X (X - Y + 1) / (X + Y - 1)**3, that of the other form with X = exp(x) >= 1 and Y = exp(y) >= 1,
   is least at X = 1, Y = 3. Where K >= 1/2 it is not negative, as then Y <= 3 - X <= X + 1. So
   max(0, K - m) is convex there if m >= 1/2, and convex but for a curvature of 1/27 otherwise.
3. A function whose second derivatives along both axes are at least -c is, in a rectangle of sides
   p and q, at most the bilinear interpolation of its corners plus c (p**2 + q**2) / 8.

Over a rectangle of anchors, g is therefore at most its largest value at the four corners, where
boxes whose coordinate lies inside the range count with distance 0 along that axis, plus the term
of (3) for the boxes with m < 1/2.

With very many boxes, those of a cell of the histogram are replaced by weights on its corners, and
m is taken bilinear in the cell (``cell_search``). A corner counts with distance 0 along an axis for
a rectangle that shares the cell's range there, so that no edge of K lies between the corners. By
(2) and (3), with the roles of a and b exchanged, this lowers no g by more than
c (p**2 + q**2) / 8, which is added; so is the distance of the positions that the histogram keeps
from the true ones (K changes by |dx| + |dy| at most).

Rounding: sums of double precision, made in parts of some thousand terms, are off by far less than
1e-9 even when multiplied by 100 anchors; 1e-9 is added.

Source:
    The relaxation is that of the p-median problem; Cornuejols, Fisher, Nemhauser 1977, "Location of
    bank accounts to optimize float". The bound of g for continuous anchors is derived here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from tinysight.boxes.cell_search import CellSearch
from tinysight.boxes.clustering import WeightedSizes
from tinysight.boxes.geometry import best_iou
from tinysight.boxes.node_grid import Floats, NodeGrid, build_node_grid
from tinysight.boxes.plane_search import CONCAVITY, BoxPoints, largest_gain
from tinysight.boxes.sizes import POSITION_ERROR_LN, SizeHistogram
from tinysight.boxes.thresholds import find_thresholds, interpolate, settle_few

ROUNDING = 1e-9
"""Added to every bound: more than the rounding errors of its sums."""

MOST_EXACT_SIZES = 50_000
"""Up to so many distinct sizes the proof is on the boxes themselves, else on the histogram."""

_FEW_SIZES = 250  # up to so many, every box gets a threshold of its own after a coarse grid
_FINEST, _FINEST_OF_FEW = 2, 8
_MOST_NODES = 4_000_000
_TOLERANCE = 2e-5  # share of the bound below which more precision is not looked for
# Shares of the budget after which the search for thresholds ends: for boxes, for cells, and that
# for those of few boxes.
_END_OF_SEARCH, _END_FOR_CELLS, _END_OF_FEW = 0.7, 0.55, 0.9
# Share that is left for the bound though the search ended late: without it nothing is proved.
_LEAST_FOR_BOUND = 0.2


@dataclass(frozen=True)
class Certificate:
    """What was proved about every set of k anchors on these boxes."""

    upper_bound: float
    """No k anchors have a larger mean best IoU."""

    mean_best_iou: float
    """What the anchors at hand reach."""

    is_finished: bool
    """False if time ran out before the bound stood still."""

    seconds: float
    """Processor time taken."""

    @property
    def is_empty(self) -> bool:
        """Whether time ran out before anything was proved: no IoU is larger than 1 anyway."""
        return not self.is_finished and self.upper_bound >= 1 > self.mean_best_iou

    @property
    def gap(self) -> float:
        """Share of the bound by which the anchors at hand may miss the best possible ones."""
        return max(0.0, (self.upper_bound - self.mean_best_iou) / self.upper_bound)


def certify(
    sizes: WeightedSizes, histogram: SizeHistogram, anchors_wh: Floats, *, budget_s: float
) -> Certificate:
    """Bound the mean best IoU of any k anchors on these boxes from above.

    Args:
        sizes: Distinct sizes of the boxes.
        histogram: Of the same boxes.
        anchors_wh: (k, 2) good anchors, in the unit of the boxes. The bound holds whatever they
            are; the better they are, the sooner it is tight.
        budget_s: Seconds of processor time to spend, > 0, so that other work on the machine does
            not loosen the bound. With less time the bound is looser, never wrong; it is the
            same in every run in which the time suffices.

    Returns:
        The bound, and how far the anchors can be below it.
    """
    from threadpoolctl import threadpool_limits

    # One thread: sums have the same bits on any machine, and proofs side by side do not wait.
    with threadpool_limits(limits=1):
        return _certify(sizes, histogram, anchors_wh, budget_s)


def _certify(
    sizes: WeightedSizes, histogram: SizeHistogram, anchors_wh: Floats, budget_s: float
) -> Certificate:
    start_s = time.thread_time()
    k = len(anchors_wh)
    reached = float(sizes.weights @ best_iou(sizes.wh, anchors_wh))
    has_few = len(sizes.weights) <= _FEW_SIZES
    is_exact = len(sizes.weights) <= MOST_EXACT_SIZES
    grid, thresholds, is_searched = find_thresholds(
        histogram,
        anchors_wh,
        reached,
        deadline_s=start_s + (_END_OF_SEARCH if is_exact else _END_FOR_CELLS) * budget_s,
        finest=_FINEST_OF_FEW if has_few else _FINEST,
    )
    tolerance = _TOLERANCE * reached / k
    deadline_s = max(start_s + budget_s, time.thread_time() + _LEAST_FOR_BOUND * budget_s)
    if is_exact:
        logs = np.log(sizes.wh)
        at_boxes = interpolate(thresholds, grid, logs)
        if has_few:
            end_s = start_s + _END_OF_FEW * budget_s
            at_boxes = settle_few(sizes, at_boxes, k, deadline_s=end_s)
        points = BoxPoints.of_boxes(logs, sizes.weights, at_boxes)
        gain, is_close = largest_gain(points, tolerance=tolerance, deadline_s=deadline_s)
        base = float(sizes.weights @ at_boxes)
    else:
        cells = _cells_for_proof(histogram)
        at_nodes = interpolate(thresholds, grid, np.log(cells.node_sizes()).reshape(-1, 2))
        at_nodes = at_nodes.reshape(cells.shape)
        search = CellSearch(cells, at_nodes)
        gain, is_close = search.largest_gain(tolerance=tolerance, deadline_s=deadline_s)
        margin = k * CONCAVITY * cells.step_ln**2 / 4 + 2 * POSITION_ERROR_LN
        base = float((cells.weights * at_nodes).sum()) + margin
    bound = base + k * gain + ROUNDING
    return Certificate(
        upper_bound=min(1.0, bound),  # no IoU is larger than 1
        mean_best_iou=reached,
        is_finished=is_searched and is_close,
        seconds=time.thread_time() - start_s,
    )


def _cells_for_proof(histogram: SizeHistogram) -> NodeGrid:
    """Return the cells of the histogram, larger ones where sizes differ beyond all measure."""
    columns, rows = (np.ptp(histogram.cells, axis=0) + 2.0).tolist()
    factor = 1
    while columns / factor * (rows / factor) > _MOST_NODES:
        factor *= 2
    return build_node_grid(histogram, factor)
