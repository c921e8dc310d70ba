from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boxes.sizes_of_boxes import Floats, drawn_sizes, size_lists
from tinysight.boxes.geometry import pairwise_iou
from tinysight.boxes.plane_search import CONCAVITY, BoxPoints, gain_bound, largest_gain


def gains_of(sizes: Floats, thresholds: Floats, anchors: Floats) -> Floats:
    return np.maximum(pairwise_iou(sizes, anchors) - thresholds[:, None], 0).mean(axis=0)


def test_the_iou_is_no_more_concave_than_claimed() -> None:
    step = 1e-3
    distances = np.linspace(0, 3, 121)
    least = np.inf
    for y in distances:
        for form in (
            lambda x, y=y: np.exp(-x - y),
            lambda x, y=y: 1 / (np.exp(x) + np.exp(y) - 1),
        ):
            x = distances + step
            curvature = (form(x + step) - 2 * form(x) + form(x - step)) / step**2
            least = min(least, float(curvature.min()))
            # Where the IoU is at least 1/2 it is convex.
            assert (curvature[form(x + step) >= 0.5] >= -1e-9).all()
    assert -CONCAVITY - 1e-6 <= least < -0.9 * CONCAVITY


@settings(deadline=None, max_examples=60)
@given(size_lists(most=12), st.integers(0, 2**32 - 1))
def test_the_bound_of_a_rectangle_holds_for_anchors_everywhere_in_it(
    sizes: Floats, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    thresholds = rng.random(len(sizes))
    points = BoxPoints.of_boxes(np.log(sizes), np.full(len(sizes), 1 / len(sizes)), thresholds)
    start = np.log(sizes[0]) - rng.random(2) * rng.choice([1.5, 0.1, 0.0])
    end = start + rng.random(2) * rng.choice([2.0, 0.2, 0.01])
    bound = gain_bound(points, start, end)
    # Points that are too far to count take no part, not even in the term for concavity.
    near_bound = gain_bound(points.near(start, end), start, end)
    assert near_bound <= bound + 1e-12
    anchors = np.exp(start + rng.random((400, 2)) * (end - start))
    on_boxes = np.clip(np.log(sizes), start, end)  # where the kinks are
    anchors = np.vstack([anchors, np.exp(on_boxes)])
    assert gains_of(sizes, thresholds, anchors).max() <= near_bound + 1e-12


@pytest.mark.parametrize("least_threshold", [0.0, 0.5])
def test_the_largest_gain_is_bounded_closely(least_threshold: float) -> None:
    sizes = drawn_sizes(60, spread=0.5)
    thresholds = np.random.default_rng(0).uniform(least_threshold, 0.9, 60)
    points = BoxPoints.of_boxes(np.log(sizes), np.full(60, 1 / 60), thresholds)
    bound, is_close = largest_gain(points, tolerance=1e-6, deadline_s=time.thread_time() + 60)
    assert is_close
    # Between the boxes' sides the gain is convex but for little, so its maxima are on them.
    grid = np.stack(np.meshgrid(*sizes.T, indexing="ij"), axis=-1).reshape(-1, 2)
    best = gains_of(sizes, thresholds, grid).max()
    assert best - 1e-12 <= bound <= best + 2e-6


def test_out_of_time_the_bound_is_looser_and_says_so() -> None:
    sizes = drawn_sizes(60)
    points = BoxPoints.of_boxes(np.log(sizes), np.full(60, 1 / 60), np.full(60, 0.5))
    tight, _ = largest_gain(points, tolerance=1e-6, deadline_s=time.thread_time() + 60)
    loose, is_close = largest_gain(points, tolerance=1e-6, deadline_s=time.thread_time() - 1)
    assert not is_close
    assert loose >= tight


def test_equal_boxes_have_one_best_anchor() -> None:
    points = BoxPoints.of_boxes(np.log([[30.0, 40.0]]), np.array([1.0]), np.array([0.25]))
    bound, is_close = largest_gain(points, tolerance=1e-9, deadline_s=time.thread_time() + 60)
    assert is_close
    assert bound == pytest.approx(0.75)
