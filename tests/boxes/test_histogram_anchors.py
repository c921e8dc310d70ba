from __future__ import annotations

import numpy as np
import pytest

from tests.boxes.tables import COCO_VAL, assert_same_bits, real_table
from tinysight.boxes.geometry import best_possible_recall, mean_best_iou, sizes_at_input
from tinysight.boxes.histogram_anchors import fit_to_histogram
from tinysight.boxes.sizes import merge_histograms, size_histogram
from tinysight.errors import DataError


def boxes_of(seed: int, count: int = 3000) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(4, 0.8, (count, 2)))


def fit(boxes: np.ndarray, *ks: int) -> tuple:  # type: ignore[type-arg]
    return fit_to_histogram(
        size_histogram(boxes), ks, input_size_wh=(640, 640), fit="letterbox", num_starts=2
    )


def test_the_value_over_cells_is_that_over_the_boxes() -> None:
    boxes = boxes_of(0)
    for found in fit(boxes, 1, 3, 9):
        assert found.mean_best_iou == pytest.approx(
            mean_best_iou(boxes, found.anchors_wh_px), abs=1e-4
        )
        assert found.best_possible_recall == pytest.approx(
            best_possible_recall(boxes, found.anchors_wh_px), abs=2e-3
        )


def test_anchors_of_clear_groups_are_found() -> None:
    groups = np.array([(20.0, 40.0), (100.0, 90.0), (400.0, 150.0)])
    boxes = np.repeat(groups, 500, axis=0) * np.exp(
        np.random.default_rng(0).normal(0, 0.02, (1500, 2))
    )
    (found,) = fit(boxes, 3)
    assert found.anchors_wh_px == pytest.approx(groups, rel=0.02)
    assert found.mean_best_iou > 0.95


def test_parts_in_any_order_give_the_same_anchors() -> None:
    parts = [size_histogram(boxes_of(seed, 500)) for seed in range(4)]
    whole, other = (
        fit_to_histogram(
            merge_histograms(*order), (5,), input_size_wh=(64, 64), fit="stretch", num_starts=2
        )[0]
        for order in (parts, parts[::-1])
    )
    assert_same_bits(whole, other)


def test_real_coco_reaches_the_value_of_the_evidence() -> None:
    # 0.6116 for k = 9 on train2017 is the best known; val2017 is a sample of the same kind.
    sizes = sizes_at_input(real_table(COCO_VAL), (640, 640), "letterbox")
    (found,) = fit(sizes, 9)
    assert mean_best_iou(sizes, found.anchors_wh_px) > 0.611


@pytest.mark.parametrize("k", [0, 2])
def test_a_k_out_of_range_is_refused(k: int) -> None:
    with pytest.raises(
        DataError, match=rf"`k` \(={k}\) must be from 1 to the number of distinct s"
    ):
        fit(np.array([(5.0, 5.0)] * 9), k)


def test_no_box_is_refused() -> None:
    with pytest.raises(DataError, match="Anchors need at least one box"):
        fit(np.zeros((0, 2)), 1)
