from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.optimize import linprog

from tests.boxes.sizes_of_boxes import Floats, drawn_sizes
from tinysight.boxes.clustering import distinct_sizes, search_anchors
from tinysight.boxes.geometry import mean_best_iou, pairwise_iou
from tinysight.boxes.node_grid import build_node_grid
from tinysight.boxes.objectives import MeanIoU
from tinysight.boxes.sizes import size_histogram
from tinysight.boxes.thresholds import find_thresholds, interpolate, settle_few


def far() -> float:
    return time.thread_time() + 60


def dual(weights: Floats, thresholds: Floats, iou: Floats, k: int) -> float:
    """The bound with anchors at the columns of ``iou`` only."""
    gains = weights @ np.maximum(iou - thresholds[:, None], 0)
    return float(weights @ thresholds + k * gains.max())


def p_median_relaxation(weights: Floats, iou: Floats, k: int) -> float:
    """The linear programme that the dual belongs to, solved by HiGHS."""
    num_boxes, num_anchors = iou.shape
    # x[b, a] how much of box b anchor a serves, y[a] how much of anchor a is open.
    cost = np.concatenate([-(weights[:, None] * iou).ravel(), np.zeros(num_anchors)])
    serve = np.zeros((num_boxes, num_boxes * num_anchors + num_anchors))
    opened = np.zeros((num_boxes * num_anchors, serve.shape[1]))
    for box in range(num_boxes):
        row = slice(box * num_anchors, (box + 1) * num_anchors)
        serve[box, row] = 1
        opened[row, row] = np.eye(num_anchors)
        opened[row, -num_anchors:] = -np.eye(num_anchors)
    budget = np.concatenate([np.zeros(num_boxes * num_anchors), np.ones(num_anchors)])
    result = linprog(
        cost,
        A_ub=np.vstack([serve, opened, budget]),
        b_ub=np.concatenate([np.ones(num_boxes), np.zeros(len(opened)), [k]]),
        bounds=(0, 1),
    )
    return float(-result.fun)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_thresholds_of_few_boxes_reach_the_value_of_the_linear_programme(k: int) -> None:
    sizes = distinct_sizes(drawn_sizes(9, seed=2))
    anchors = np.stack(np.meshgrid(*sizes.wh.T, indexing="ij"), axis=-1).reshape(-1, 2)
    iou = pairwise_iou(sizes.wh, anchors)
    best = p_median_relaxation(sizes.weights, iou, k)
    thresholds = settle_few(sizes, np.full(9, 0.6), k, deadline_s=far())
    value = dual(sizes.weights, thresholds, iou, k)
    assert best - 1e-9 <= value <= best * 1.0005


@pytest.mark.parametrize("k", [1, 3])
def test_thresholds_on_the_grid_make_a_smaller_bound_than_those_of_the_anchors(k: int) -> None:
    boxes = drawn_sizes(400, spread=0.5)
    sizes, histogram = distinct_sizes(boxes), size_histogram(boxes)
    anchors = search_anchors([sizes], k, MeanIoU(), seed=0, num_starts=1)
    value = mean_best_iou(boxes, anchors)
    grid, thresholds, is_done = find_thresholds(
        histogram, anchors, value, deadline_s=far(), finest=2
    )
    assert is_done
    assert grid.factor == 2
    assert 0 <= thresholds.min() <= thresholds.max() <= 1
    at_boxes = interpolate(thresholds, grid, np.log(sizes.wh))
    iou = pairwise_iou(sizes.wh, drawn_sizes(3000, seed=1, spread=0.5))
    submodular = dual(sizes.weights, pairwise_iou(sizes.wh, anchors).max(axis=1), iou, k)
    bound = dual(sizes.weights, at_boxes, iou, k)
    assert bound < value * 1.005
    assert k == 1 or submodular > value * 1.03


def test_without_time_the_start_is_returned() -> None:
    boxes = drawn_sizes(100)
    anchors = boxes[:2]
    grid, thresholds, is_done = find_thresholds(
        size_histogram(boxes), anchors, 0.5, deadline_s=time.thread_time() - 1, finest=2
    )
    assert not is_done
    start = pairwise_iou(grid.node_sizes().reshape(-1, 2), anchors).max(axis=1)
    np.testing.assert_allclose(thresholds.ravel(), np.clip(start, 0.075, 1))


def test_interpolation_is_exact_at_nodes_and_constant_outside() -> None:
    grid = build_node_grid(size_histogram(drawn_sizes(50)), 8)
    values = np.random.default_rng(0).random(grid.shape)
    logs = np.log(grid.node_sizes()).reshape(-1, 2)
    np.testing.assert_allclose(interpolate(values, grid, logs), values.ravel(), atol=1e-9)
    corner = interpolate(values, grid, np.array([[-50.0, -50.0], [50.0, 50.0]]))
    np.testing.assert_allclose(corner, [values[0, 0], values[-1, -1]])
