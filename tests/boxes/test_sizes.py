from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boxes.sizes_of_boxes import Floats, drawn_sizes, size_lists
from tests.boxes.tables import assert_same_bits
from tinysight.boxes.geometry import mean_best_iou, mean_of_scores, pairwise_iou
from tinysight.boxes.sizes import (
    CELL_LN,
    CELLS_PER_OCTAVE,
    POSITION_ERROR_LN,
    STEPS,
    merge_histograms,
    size_histogram,
)
from tinysight.errors import DataError


def test_powers_of_two_lie_at_the_start_of_their_cells() -> None:
    histogram = size_histogram([[1, 2], [0.5, 64], [1, 2]])
    assert histogram.cells.tolist() == [[-64, 384], [0, 64]]
    assert histogram.counts.tolist() == [1, 2]
    assert histogram.moments.tolist() == [[0, 0, 0], [0, 0, 0]]
    assert histogram.num_boxes == 3


@settings(deadline=None, max_examples=50)
@given(size_lists(), st.integers(0, 30), st.randoms(use_true_random=False))
def test_parts_merge_to_the_same_bits_in_any_order_and_any_cut(
    sizes: Floats, cut: int, random: object
) -> None:
    whole = size_histogram(sizes)
    shuffled = sizes.copy()
    random.shuffle(order := list(range(len(sizes))))  # type: ignore[attr-defined]
    shuffled = sizes[order]
    parts = [size_histogram(shuffled[:cut]), size_histogram(shuffled[cut:])]
    assert_same_bits(merge_histograms(*parts), whole)
    assert_same_bits(merge_histograms(*parts[::-1]), whole)


@settings(deadline=None, max_examples=50)
@given(size_lists(most=1))
def test_a_single_box_is_kept_within_the_stated_error(sizes: Floats) -> None:
    kept = size_histogram(sizes).log_centroids()
    assert np.abs(kept - np.log(sizes)).max() <= POSITION_ERROR_LN * (1 + 1e-6)


def test_moments_are_sums_of_positions_and_products() -> None:
    sizes = np.exp2(np.array([[3.25, 1.5], [3.5, 1.75]]) / CELLS_PER_OCTAVE)
    histogram = size_histogram(sizes)
    assert histogram.cells.tolist() == [[3, 1]]
    quarter = STEPS // 4
    assert histogram.moments.tolist() == [
        [3 * quarter, 5 * quarter, quarter * 2 * quarter + 2 * quarter * 3 * quarter]
    ]


def test_far_apart_sizes_take_no_more_memory_than_near_ones() -> None:
    histogram = size_histogram([[1e-90, 1e90], [1e90, 1e-90]])
    assert histogram.counts.tolist() == [1, 1]
    wh, weights = histogram.coarse_points(1)
    np.testing.assert_allclose(wh, [[1e-90, 1e90], [1e90, 1e-90]], rtol=1e-4)
    assert weights.tolist() == [0.5, 0.5]


def test_coarse_points_keep_the_score_of_anchors_to_second_order() -> None:
    sizes, anchors = drawn_sizes(20_000), drawn_sizes(5, seed=1)
    exact = mean_best_iou(sizes, anchors)
    histogram = size_histogram(sizes)
    for factor, tolerance in ((1, 2e-5), (2, 1e-4), (4, 4e-4), (8, 1.6e-3)):
        wh, weights = histogram.coarse_points(factor)
        assert weights.sum() == pytest.approx(1)
        value = float(weights @ pairwise_iou(wh, anchors).max(axis=1))
        assert value == pytest.approx(exact, abs=tolerance)
    assert mean_of_scores(np.ones(3)) == 1


def test_no_boxes_give_an_empty_histogram() -> None:
    histogram = size_histogram(np.empty((0, 2)))
    assert histogram.num_boxes == 0
    assert_same_bits(
        merge_histograms(histogram, size_histogram([[3, 4]])), size_histogram([[3, 4]])
    )


def test_more_boxes_than_one_part_are_counted_exactly() -> None:
    sizes = np.tile(drawn_sizes(1000), (1100, 1))
    once = size_histogram(sizes[:1000])
    many = size_histogram(sizes)
    np.testing.assert_array_equal(many.cells, once.cells)
    np.testing.assert_array_equal(many.counts, once.counts * 1100)
    np.testing.assert_array_equal(many.moments, once.moments * 1100)


@pytest.mark.parametrize("wrong", [0.0, -3.0, 1e91, np.nan, np.inf])
def test_a_size_that_is_none_is_named(wrong: float) -> None:
    with pytest.raises(
        DataError,
        match=re.escape(
            f"sizes[1]: width and height must be from 1e-90 to 1e90, got {wrong} x 5.0."
        ),
    ):
        size_histogram([[1.0, 2.0], [wrong, 5.0]])


def test_a_cell_is_about_one_percent_wide() -> None:
    assert pytest.approx(0.01083, abs=1e-5) == CELL_LN
