from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from tests.boxes.sizes_of_boxes import Floats, drawn_sizes, size_lists
from tests.boxes.tables import make_table
from tinysight.boxes.geometry import (
    best_iou,
    best_possible_recall,
    is_within_ratio,
    mean_of_scores,
    pairwise_iou,
    pairwise_ratio,
    sizes_at_input,
    sizes_in_image,
)
from tinysight.errors import DataError


def iou_by_hand(box: tuple[float, float], anchor: tuple[float, float]) -> float:
    shared = min(box[0], anchor[0]) * min(box[1], anchor[1])
    return shared / (box[0] * box[1] + anchor[0] * anchor[1] - shared)


def test_iou_of_sizes_is_that_of_centred_boxes() -> None:
    assert pairwise_iou([[2, 2]], [[2, 2], [1, 2], [4, 1], [4, 4]]).tolist() == [
        [1.0, 0.5, 2 / 6, 0.25]
    ]


@settings(deadline=None, max_examples=50)
@given(size_lists())
def test_iou_agrees_with_a_plain_loop_is_symmetric_and_1_for_itself(sizes: Floats) -> None:
    iou = pairwise_iou(sizes, sizes)
    by_hand = [[iou_by_hand(tuple(b), tuple(a)) for a in sizes] for b in sizes]
    np.testing.assert_allclose(iou, by_hand, rtol=1e-12)
    np.testing.assert_allclose(iou, iou.T, rtol=1e-12)
    np.testing.assert_allclose(np.diag(iou), 1.0, rtol=1e-12)
    assert (iou > 0).all()


def test_ratio_is_the_worse_side_either_way() -> None:
    assert pairwise_ratio([[10, 10]], [[10, 10], [5, 10], [10, 40], [20, 5]]).tolist() == [
        [1.0, 0.5, 0.25, 0.5]
    ]


def test_best_scores_over_many_boxes_are_those_of_all_pairs() -> None:
    boxes, anchors = drawn_sizes(40_000), drawn_sizes(5, seed=1)
    np.testing.assert_allclose(best_iou(boxes, anchors), pairwise_iou(boxes, anchors).max(axis=1))


def test_within_the_ratio_are_boxes_whose_best_ratio_is_above_its_inverse() -> None:
    boxes, anchors = drawn_sizes(40_000), drawn_sizes(5, seed=1)
    expected = pairwise_ratio(boxes, anchors).max(axis=1) > 1 / 4
    assert 0.05 < expected.mean() < 0.98
    np.testing.assert_array_equal(is_within_ratio(boxes, anchors), expected)
    np.testing.assert_array_equal(
        is_within_ratio(boxes, anchors, 1.5), pairwise_ratio(boxes, anchors).max(axis=1) > 1 / 1.5
    )
    assert best_possible_recall(boxes, anchors) == expected.mean()
    assert best_possible_recall(np.empty((0, 2)), anchors) == 0.0


def test_a_side_that_differs_by_exactly_4_is_not_recalled() -> None:
    assert best_possible_recall([[40, 10], [39.9, 10]], [[10, 10]]) == 0.5


def test_the_mean_is_right_and_has_the_same_bits_in_any_order() -> None:
    scores = np.random.default_rng(0).random(3_000_000)
    mean = mean_of_scores(scores)
    assert mean == pytest.approx(scores.mean(), abs=1e-12)
    assert mean == mean_of_scores(np.sort(scores)) == mean_of_scores(scores[::-1])
    assert mean_of_scores(np.empty(0)) == 0.0


def test_letterbox_scales_by_one_factor_and_stretch_by_two() -> None:
    table = make_table([(0, 0, 0, 0, 100, 50)], image_wh=[(400, 200)])
    assert sizes_at_input(table, (640, 640), "letterbox").tolist() == [[160, 80]]
    assert sizes_at_input(table, (640, 640), "stretch").tolist() == [[160, 160]]
    assert sizes_at_input(table, (640, 160), "letterbox").tolist() == [[80, 40]]
    assert sizes_in_image(table).tolist() == [[0.25, 0.25]]


def test_crowd_boxes_are_left_out() -> None:
    boxes = [(0, 0, 0, 0, 100, 50), (0, 0, 0, 0, 10, 10)]
    table = make_table(boxes, image_wh=[(400, 200)], crowd=[0])
    assert sizes_in_image(table).tolist() == [[0.025, 0.05]]


def test_a_missing_image_size_is_named() -> None:
    table = make_table([(0, 0, 0, 0, 1, 1)], image_wh=[(np.nan, np.nan)])
    name = table.image_names[0]
    with pytest.raises(
        DataError,
        match=rf"{name}: the size of the image must be known to scale its boxes to the network "
        r"input; it is missing for 1 of 1 box. Pass --images DIR or --image-size WxH\.$",
    ):
        sizes_in_image(table)


def test_an_input_of_no_size_is_refused() -> None:
    table = make_table([(0, 0, 0, 0, 1, 1)], image_wh=[(4, 4)])
    with pytest.raises(DataError, match=r"must be at least 1 x 1 pixels, got 0 x 640\. Give the"):
        sizes_at_input(table, (0, 640), "letterbox")


def test_shorter_side_is_the_first_whole_size_at_which_a_side_is_met() -> None:
    """By trying: the image grows until its shorter side has 80 pixels or its longer one 133."""
    rng = np.random.default_rng(4)
    images_wh = [(int(w), int(h)) for w, h in rng.integers(20, 400, (40, 2))]
    boxes = [(row, 0, 0.0, 0.0, w / 2, h / 4) for row, (w, h) in enumerate(images_wh)]
    found = sizes_at_input(make_table(boxes, image_wh=images_wh), (133, 80), "shorter-side")
    for (width, height), (box_w, box_h) in zip(images_wh, found.tolist(), strict=True):
        steps = np.arange(1, 200_000) / 20_000
        is_met = (steps * min(width, height) >= 80) | (steps * max(width, height) >= 133)
        scale = float(steps[is_met.argmax()])
        assert (box_w, box_h) == pytest.approx((scale * width / 2, scale * height / 4), rel=1e-3)


def test_an_input_for_the_shorter_side_names_the_longest_side_first() -> None:
    table = make_table([(0, 0, 0, 0, 1, 1)], image_wh=[(4, 4)])
    with pytest.raises(DataError) as caught:
        sizes_at_input(table, (800, 1333), "shorter-side")
    assert str(caught.value) == (
        "`input_size_wh` must be the longest that a longer side may be x the shorter side for the "
        "fit shorter-side, got 800 x 1333. Turn them round: 1333 x 800."
    )


def test_an_unknown_fit_is_refused() -> None:
    table = make_table([(0, 0, 0, 0, 1, 1)], image_wh=[(4, 4)])
    with pytest.raises(
        DataError, match="`fit` must be one of letterbox, stretch, shorter-side, got 'crop'"
    ):
        sizes_at_input(table, (640, 640), "crop")  # type: ignore[arg-type]
