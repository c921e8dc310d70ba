from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boxes.sizes_of_boxes import (
    Floats,
    drawn_sizes,
    real_boxes_and_images,
    real_sizes_rel,
    size_lists,
)
from tests.boxes.tables import draw_table, make_table
from tinysight.boxes.anchors import (
    DISTANCES,
    AnchorSet,
    Distance,
    FitSettings,
    fit_anchor_sets,
    fit_anchors,
    fit_sets_to_sizes,
    with_proof,
)
from tinysight.boxes.certificate import Certificate
from tinysight.boxes.geometry import best_possible_recall, mean_best_iou, pairwise_ratio
from tinysight.errors import DataError

# Mean best IoU of the best set that any tool or prototype measured has found, by k.
BEST_KNOWN = {
    "sample_coco": {3: 0.63288, 5: 0.68733, 6: 0.70430, 9: 0.74486},
    "voc2007": {5: 0.60641, 9: 0.67664},
    "dogs": {3: 0.84096, 5: 0.88301},
}


def fit(sizes: Floats, k: int, **settings: object) -> AnchorSet:
    chosen = FitSettings(**settings)  # type: ignore[arg-type]
    return fit_sets_to_sizes(sizes, [k], input_size_wh=(640, 640), fit="stretch", settings=chosen)[
        0
    ]


def test_the_listed_distances_are_those_of_the_type() -> None:
    assert get_args(Distance) == DISTANCES


@pytest.mark.parametrize("distance", DISTANCES)
def test_order_of_the_boxes_changes_no_bit(distance: Distance) -> None:
    sizes = np.round(drawn_sizes(2500), 1)
    shuffled = np.random.default_rng(1).permutation(sizes)
    one, other = (fit(order, 4, distance=distance, num_starts=2) for order in (sizes, shuffled))
    assert one.anchors_wh_px.tobytes() == other.anchors_wh_px.tobytes()
    assert one.mean_best_iou == other.mean_best_iou
    assert one.best_possible_recall == other.best_possible_recall


def test_same_seed_same_bits_and_each_k_is_independent_of_the_others() -> None:
    sizes = drawn_sizes(1500)
    settings = FitSettings(num_starts=3, seed=5)
    three, five = fit_sets_to_sizes(
        sizes, [3, 5], input_size_wh=(9, 9), fit="stretch", settings=settings
    )
    assert (
        fit(sizes, 5, num_starts=3, seed=5).anchors_wh_px.tobytes() == five.anchors_wh_px.tobytes()
    )
    assert (three.k, five.k) == (3, 5)


@settings(deadline=None, max_examples=20)
@given(size_lists(least=3), st.integers(1, 3))
def test_what_is_said_of_a_set_is_true_and_scores_are_in_range(sizes: Floats, k: int) -> None:
    k = min(k, len(np.unique(sizes, axis=0)))
    for distance in ("iou", "ratio"):
        found = fit(sizes, k, distance=distance, num_starts=2)
        anchors = found.anchors_wh_px
        assert anchors.shape == (k, 2)
        assert (np.diff(anchors.prod(axis=1)) >= 0).all()
        assert (anchors >= sizes.min(axis=0) - 1e-9).all()
        assert (anchors <= sizes.max(axis=0) + 1e-9).all()
        assert found.mean_best_iou == mean_best_iou(sizes, anchors)
        assert found.best_possible_recall == best_possible_recall(sizes, anchors)
        assert 0 < found.mean_best_iou <= 1


@pytest.mark.parametrize("distance", ["iou", "log", "wh"])
@pytest.mark.parametrize("scale", [2.0, 0.37])
def test_boxes_scaled_by_a_factor_give_anchors_scaled_by_it(
    distance: Distance, scale: float
) -> None:
    sizes = drawn_sizes(800)
    plain, scaled = (fit(sizes * by, 3, distance=distance) for by in (1.0, scale))
    np.testing.assert_allclose(scaled.anchors_wh_px, plain.anchors_wh_px * scale, rtol=1e-9)
    assert scaled.mean_best_iou == pytest.approx(plain.mean_best_iou, abs=1e-9)


def test_through_the_histogram_scaling_costs_no_quality() -> None:
    sizes = drawn_sizes(4000)
    values = [fit(sizes * scale, 5).mean_best_iou for scale in (1.0, 1.7, 4.0)]
    assert max(values) - min(values) < 2e-4


def test_the_mean_best_iou_rises_with_k_up_to_1() -> None:
    sizes = drawn_sizes(12)
    values = [fit(sizes, k).mean_best_iou for k in range(1, 13)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", ["dogs", "voc2007"])
def test_the_best_known_values_are_reached(name: str) -> None:
    sizes = real_sizes_rel(name) * 640
    for k, value in BEST_KNOWN[name].items():
        assert fit(sizes, k).mean_best_iou >= value - 5e-6, k


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 5, 6, 9])
def test_the_best_known_values_of_sample_coco_are_reached(k: int) -> None:
    sizes = real_sizes_rel("sample_coco") * 640
    assert fit(sizes, k).mean_best_iou >= BEST_KNOWN["sample_coco"][k] - 5e-6


def test_one_start_is_hardly_worse() -> None:
    sizes = real_sizes_rel("sample_coco") * 640
    assert fit(sizes, 3, num_starts=1).mean_best_iou >= 0.6327


@pytest.mark.slow
@pytest.mark.parametrize(("k", "published"), [(5, 0.605), (9, 0.6713)])
def test_the_published_values_of_a_widely_used_script_are_reached_on_its_data(
    k: int, published: float
) -> None:
    # All of VOC2007, and xmax - xmin for the width: one less than the pixels that the box covers.
    parts = [real_boxes_and_images(name) for name in ("voc2007", "voc2007_test")]
    sizes = np.concatenate([(boxes - 1) / images for boxes, images in parts])
    value = fit(sizes, k).mean_best_iou
    assert published - 2e-4 < value < published + 3e-3
    assert value == pytest.approx({5: 0.6049, 9: 0.6740}[k], abs=1e-4)


def test_each_objective_wins_by_its_own_measure() -> None:
    sizes = drawn_sizes(3000, spread=1.0)
    by_iou, by_ratio = fit(sizes, 4), fit(sizes, 4, distance="ratio")

    def fitness(anchors: AnchorSet) -> float:
        ratio = pairwise_ratio(sizes, anchors.anchors_wh_px).max(axis=1)
        return float((ratio * (ratio > 0.25)).mean())

    assert by_iou.mean_best_iou >= by_ratio.mean_best_iou
    assert fitness(by_ratio) >= fitness(by_iou)
    for distance in ("log", "wh"):
        assert by_iou.mean_best_iou > fit(sizes, 4, distance=distance).mean_best_iou


def test_weight_on_recall_trades_iou_for_it() -> None:
    sizes = drawn_sizes(3000, spread=1.2)
    plain, weighted = fit(sizes, 3), fit(sizes, 3, recall_weight=1.0)
    assert weighted.best_possible_recall > plain.best_possible_recall
    assert weighted.mean_best_iou < plain.mean_best_iou


def test_a_certificate_is_attached_where_time_is_given() -> None:
    sizes = drawn_sizes(60)
    assert fit(sizes, 2).upper_bound is None
    proved = fit(sizes, 2, certify_s=20)
    assert proved.upper_bound is not None
    assert proved.gap == pytest.approx(1 - proved.mean_best_iou / proved.upper_bound)
    assert proved.is_proof_finished
    euclidean = fit(sizes, 2, distance="wh", certify_s=20)
    assert euclidean.upper_bound == pytest.approx(proved.upper_bound, rel=1e-3)
    assert euclidean.gap is not None
    assert euclidean.gap > proved.gap


def test_a_bound_of_one_for_want_of_time_is_no_bound() -> None:
    plain = fit(drawn_sizes(60), 2)
    nothing = with_proof(plain, Certificate(1.0, plain.mean_best_iou, False, 0.1))
    assert (nothing.upper_bound, nothing.gap, nothing.is_proof_finished) == (None, None, False)
    perfect = with_proof(replace(plain, mean_best_iou=1.0), Certificate(1.0, 1.0, False, 0.1))
    assert (perfect.upper_bound, perfect.gap) == (1, 0)


def test_a_table_is_scaled_to_the_input_and_crowds_are_left_out() -> None:
    table = draw_table(boxes=120)
    found = fit_anchors(table, 2, input_size_wh=(320, 256))
    assert found.input_size_wh == (320, 256)
    assert found.fit == "letterbox"
    alone = make_table([(0, 0, 0, 0, 50, 20), (0, 0, 0, 0, 9, 9)], image_wh=[(100, 200)], crowd=[1])
    (only,) = fit_anchor_sets(alone, [1], input_size_wh=(640, 640), fit="stretch")
    np.testing.assert_allclose(only.anchors_wh_px, [[320, 64]], rtol=1e-9)
    assert only.mean_best_iou == pytest.approx(1)


def test_equal_boxes_have_one_anchor() -> None:
    found = fit(np.full((100, 2), 7.0), 1)
    np.testing.assert_allclose(found.anchors_wh_px, [[7, 7]])


@pytest.mark.parametrize("k", [0, 3])
def test_k_must_fit_the_number_of_distinct_sizes(k: int) -> None:
    sizes = np.array([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(
        DataError,
        match=rf"`k` \(={k}\) must be from 1 to the number of distinct box sizes \(=2\) at this "
        "input. Use another k.",
    ):
        fit(sizes, k)


def test_no_boxes_are_refused() -> None:
    with pytest.raises(DataError, match="Anchors need at least one box that is not a crowd region"):
        fit(np.empty((0, 2)), 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"distance": "cosine"}, "`distance` must be one of iou, log, wh, ratio, got 'cosine'"),
        ({"recall_weight": -1.0}, "`recall_weight` must be 0 or more, got -1.0. 0 is plain IoU"),
        ({"num_starts": 0}, "`num_starts` must be at least 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(drawn_sizes(5), 1, **wrong)
