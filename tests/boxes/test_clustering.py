from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.boxes.sizes_of_boxes import Floats, drawn_sizes, size_lists
from tinysight.boxes.clustering import (
    WeightedSizes,
    distinct_sizes,
    histogram_points,
    polish,
    refine,
    search_anchors,
    swap_search,
)
from tinysight.boxes.objectives import MeanIoU, RatioFitness
from tinysight.boxes.sizes import size_histogram


def value_of(sizes: WeightedSizes, anchors: Floats, objective: MeanIoU | RatioFitness) -> float:
    return float(sizes.weights @ objective.scores(sizes.wh, anchors).max(axis=1))


def test_distinct_sizes_are_sorted_and_weighted() -> None:
    distinct = distinct_sizes(np.array([[3.0, 1.0], [1.0, 2.0], [3.0, 1.0], [1.0, 1.0]]))
    assert distinct.wh.tolist() == [[1, 1], [1, 2], [3, 1]]
    assert distinct.weights.tolist() == [0.25, 0.25, 0.5]


def test_histogram_points_are_as_fine_as_asked_for() -> None:
    histogram = size_histogram(drawn_sizes(5000))
    assert 100 < len(histogram_points(histogram, 400, 1).weights) <= 400
    assert len(histogram_points(histogram, 2, 30).weights) >= 30


@pytest.mark.parametrize("objective", [MeanIoU(), MeanIoU(0.5), RatioFitness()])
@pytest.mark.parametrize("seed", range(4))
def test_swaps_end_where_no_exchange_helps(seed: int, objective: MeanIoU | RatioFitness) -> None:
    sizes = drawn_sizes(40, seed)
    weights = np.random.default_rng(seed).dirichlet(np.ones(40))
    candidates = objective.scores(sizes, sizes)
    rows = swap_search(candidates, weights, np.arange(4))
    value = weights @ candidates[:, rows].max(axis=1)
    for slot in range(4):
        for candidate in range(40):
            other = rows.copy()
            other[slot] = candidate
            assert weights @ candidates[:, other].max(axis=1) <= value + 1e-12


def test_swaps_find_the_best_three_of_few_points() -> None:
    sizes = drawn_sizes(14, seed=3)
    weights = np.full(14, 1 / 14)
    candidates = MeanIoU().scores(sizes, sizes)
    best = max(candidates[:, trio].max(axis=1).mean() for trio in combinations(range(14), 3))
    found = max(
        float(
            weights @ candidates[:, swap_search(candidates, weights, np.array(start))].max(axis=1)
        )
        for start in ((0, 1, 2), (5, 6, 7), (10, 12, 13))
    )
    assert found == pytest.approx(best)


@settings(deadline=None, max_examples=30)
@given(size_lists(least=4))
def test_refining_and_polishing_never_lose(sizes: Floats) -> None:
    distinct = distinct_sizes(sizes)
    for objective in (MeanIoU(), MeanIoU(0.3), RatioFitness()):
        start = distinct.wh[:2]
        refined, value = refine(distinct, start, objective)
        assert value >= value_of(distinct, start, objective) - 1e-12
        assert value == pytest.approx(value_of(distinct, refined, objective))
        polished = value_of(distinct, polish(distinct, refined, objective), objective)
        assert polished >= value - 1e-12


def test_one_anchor_is_where_the_pulls_balance() -> None:
    # The best single anchor, by trying all pairs of a width and a height of the boxes: between
    # them the value is convex, so the best is one of these.
    sizes = drawn_sizes(25, seed=5, spread=0.5)
    distinct = distinct_sizes(sizes)
    grid = np.stack(np.meshgrid(*sizes.T, indexing="ij"), axis=-1).reshape(-1, 2)
    best = MeanIoU().scores(sizes, grid).mean(axis=0).max()
    found = search_anchors([distinct], 1, MeanIoU(), seed=0, num_starts=1)
    assert value_of(distinct, found, MeanIoU()) == pytest.approx(best, abs=1e-12)


def test_anchors_ascend_by_area_and_more_starts_are_never_worse() -> None:
    histogram = size_histogram(drawn_sizes(3000))
    levels = [histogram_points(histogram, most, 5) for most in (300, 1000, 3000)]
    values = []
    for num_starts in (1, 6):
        anchors = search_anchors(levels, 5, MeanIoU(), seed=0, num_starts=num_starts)
        assert (np.diff(anchors.prod(axis=1)) >= 0).all()
        values.append(value_of(levels[-1], anchors, MeanIoU()))
    assert values[1] >= values[0] - 1e-6


def test_as_many_anchors_as_sizes_fit_perfectly() -> None:
    distinct = distinct_sizes(drawn_sizes(7))
    anchors = search_anchors([distinct], 7, MeanIoU(), seed=0, num_starts=2)
    assert value_of(distinct, anchors, MeanIoU()) == pytest.approx(1)
