from __future__ import annotations

import numpy as np
import pytest

from tests.boxes.tables import draw_table
from tinysight.boxes.geometry import best_possible_recall, mean_best_iou, sizes_at_input
from tinysight.boxes.presets import PRESETS
from tinysight.boxes.verdict import (
    RECALL_MARGIN,
    closest_default,
    judge_anchors,
    judge_sets,
    score_presets,
)

YOLOV5 = PRESETS["yolov5-p5"]


def around(anchors: np.ndarray, spread: float, each: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Boxes whose sizes scatter around anchors, five an image."""
    rng = np.random.default_rng(1)
    boxes = np.repeat(anchors, each, axis=0) * np.exp(
        rng.normal(0, spread, (len(anchors) * each, 2))
    )
    boxes = rng.permutation(boxes)
    return boxes, np.arange(len(boxes)) // 5


FACTORS = ((0.9, "yolov5-p5"), (1.4, "yolov4"), (1.0, "yolov3-tiny"))


def test_the_default_stays_where_it_fits() -> None:
    boxes, image = around(YOLOV5.anchors_wh_px, 0.2)
    found = judge_anchors(YOLOV5.anchors_wh_px * 1.1, YOLOV5, boxes, image)
    assert found.keep_default
    assert found.can_be_told
    assert found.iou_gain < 0
    assert found.text.startswith("Keep the yolov5-p5 anchors: the others do not fit better.")


def test_a_clear_gain_changes_the_anchors() -> None:
    mine = YOLOV5.anchors_wh_px * (0.7, 1.8)
    boxes, image = around(mine, 0.2)
    found = judge_anchors(mine, YOLOV5, boxes, image)
    assert not found.keep_default
    assert found.iou_gain > 0.1
    assert found.gain_interval is not None
    assert found.gain_interval[0] < found.iou_gain < found.gain_interval[1]
    assert found.text.startswith("Change the anchors: the mean best IoU rises by ")
    assert "more than the 2 points that make a change worth its cost" in found.text
    assert "On these boxes the mean best IoU is " in found.text
    assert "A higher IoU is no promise of a higher mAP" in found.text


def test_a_gain_below_the_margin_keeps_the_default() -> None:
    mine = YOLOV5.anchors_wh_px * (0.7, 1.8)
    boxes, image = around(mine, 0.2)
    found = judge_anchors(mine, YOLOV5, boxes, image, margin=0.5, held_out=True)
    assert found.keep_default
    assert "is below the 50 points that make a change worth its cost" in found.text
    assert "On boxes they were not fitted to" in found.text
    assert "no promise" not in found.text


def test_a_gain_that_few_images_cannot_prove_keeps_the_default() -> None:
    mine = np.array([(50.0, 50.0), (300.0, 100.0)])
    boxes = np.array([(50.0, 50.0), (116.0, 90.0)] * 3)
    gain = mean_best_iou(boxes, mine) - mean_best_iou(boxes, YOLOV5.anchors_wh_px)
    assert gain < 0  # the second box is an anchor of yolov5
    boxes = np.array([(50.0, 50.0)] * 9 + [(116.0, 90.0)] * 3)
    image = np.array([0] * 9 + [1] * 3)
    gain = mean_best_iou(boxes, mine) - mean_best_iou(boxes, YOLOV5.anchors_wh_px)
    assert gain > 0.02
    found = judge_anchors(mine, YOLOV5, boxes, image)
    assert found.keep_default
    assert "points is above the 2 points" in found.text
    assert "but too uncertain with this few images" in found.text
    assert "Mind that 2 anchors are compared with 9." in found.text


def test_more_boxes_within_reach_change_the_anchors() -> None:
    # Long thin boxes that no published anchor comes near, in every image among ordinary ones.
    boxes, image = around(YOLOV5.anchors_wh_px, 0.0, each=50)
    thin = np.full((15, 2), (600.0, 8.0))
    boxes, image = np.concatenate([boxes, thin]), np.concatenate([image, np.arange(15)])
    mine = np.concatenate([YOLOV5.anchors_wh_px[:-1], [(600.0, 8.0)], YOLOV5.anchors_wh_px[-1:]])
    found = judge_anchors(mine, YOLOV5, boxes, image, margin=0.2)
    assert not found.keep_default
    assert "3.2 % more of the boxes get an anchor near their shape" in found.text


def test_fewer_boxes_within_reach_keep_the_default() -> None:
    boxes = np.array([(200.0, 200.0)] * 50 + [(10.0, 13.0)] * 5)
    image = np.tile(np.arange(11), 5)
    found = judge_anchors(np.array([(200.0, 200.0)]), YOLOV5, boxes, image)
    assert found.iou_gain > 0.1
    assert found.keep_default
    assert found.recall_gain == pytest.approx(-5 / 55)
    assert (
        "others would leave 9.1 % more of the boxes without an anchor near their shape"
        in found.text
    )


def test_several_sets_are_judged_as_each_alone() -> None:
    boxes, image = around(YOLOV5.anchors_wh_px, 0.4)
    pairs = [(YOLOV5.anchors_wh_px * factor, PRESETS[name]) for factor, name in FACTORS]
    together = judge_sets(pairs, boxes, image, margin=0.01, seed=3)
    alone = [
        judge_anchors(anchors, default, boxes, image, margin=0.01, seed=3)
        for anchors, default in pairs
    ]
    assert list(together) == alone
    assert len({verdict.text for verdict in together}) == len(FACTORS)


def test_the_figures_are_those_of_the_geometry() -> None:
    boxes, image = around(YOLOV5.anchors_wh_px, 0.8)
    mine = PRESETS["yolov4"].anchors_wh_px
    found = judge_anchors(mine, YOLOV5, boxes, image)
    assert found.iou_fitted == mean_best_iou(boxes, mine)
    assert found.iou_default == mean_best_iou(boxes, YOLOV5.anchors_wh_px)
    assert found.recall_fitted == best_possible_recall(boxes, mine)
    assert found.recall_default == best_possible_recall(boxes, YOLOV5.anchors_wh_px)


def test_the_closest_default_has_the_nearest_number_and_fits_best() -> None:
    boxes, _ = around(PRESETS["yolov4"].anchors_wh_px, 0.05)
    assert closest_default(9, boxes, (416, 416)).name == "yolov4"
    assert closest_default(9, boxes, (640, 640)).name == "yolov7"  # the same at another input
    assert len(closest_default(7, boxes, (640, 640)).anchors_wh_px) == 6
    assert len(closest_default(100, boxes, (640, 640)).anchors_wh_px) == 45


def test_presets_are_scored_at_the_users_input_and_at_their_own() -> None:
    table = draw_table(1)
    sizes = sizes_at_input(table, (640, 640), "letterbox")
    scores = score_presets(table, sizes)
    assert len(scores) == len(PRESETS)
    means = [score.mean_best_iou for score in scores]
    assert means == sorted(means, reverse=True)
    by_name = {score.name: score for score in scores}
    assert by_name["yolov5-p5"].own_mean_best_iou == by_name["yolov5-p5"].mean_best_iou
    assert by_name["yolov3"].own_mean_best_iou != by_name["yolov3"].mean_best_iou
    assert by_name["yolov3"].mean_best_iou == by_name["yolov5-p5"].mean_best_iou
    assert [score.name for score in score_presets(table, sizes, [YOLOV5])] == ["yolov5-p5"]


def test_one_box_out_of_few_does_not_decide_against_a_large_gain() -> None:
    boxes = np.array([(300.0, 300.0)] * 40 + [(10.0, 13.0)])
    image = np.arange(41)
    found = judge_anchors(np.array([(300.0, 300.0)]), YOLOV5, boxes, image)
    assert found.recall_gain == pytest.approx(-1 / 41)
    assert found.recall_gain < -RECALL_MARGIN
    assert not found.keep_default
    assert found.text.startswith(
        "Change the anchors, but not to these as they are: the mean best IoU rises by"
    )
    assert (
        "make a change worth its cost, yet 1 more of the 41 boxes would be left without an anchor "
        "near its shape."
    ) in found.text
    assert "recall is 0.9756 and 1.0000 (-2.4 points; 95 % interval -7.3 to +0.0)." in found.text
    assert (
        "Raise the recall first: fit more anchors, or the same number with `tinysight boxes "
        "anchors --recall-weight 1`, and compare again. A higher IoU is no promise"
    ) in found.text


def test_a_small_loss_of_recall_is_said_beside_the_gain() -> None:
    boxes = np.array([(300.0, 300.0)] * 997 + [(10.0, 13.0)] * 3)
    found = judge_anchors(np.array([(300.0, 300.0)]), YOLOV5, boxes, np.arange(1000))
    assert (found.keep_default, found.recall_gain) == (False, pytest.approx(-0.003))
    assert found.recall_interval is not None
    assert found.recall_interval[0] < -0.003 < found.recall_interval[1] <= 0
    assert found.text.startswith("Change the anchors: the mean best IoU rises by")
    assert (
        ", though 3 more of the 1,000 boxes would be left without an anchor near their shape."
        in (found.text)
    )
    assert "Raise the recall first" in found.text


def test_recall_that_rises_costs_no_word_of_warning() -> None:
    mine = YOLOV5.anchors_wh_px * (0.7, 1.8)
    boxes, image = around(mine, 0.2)
    found = judge_anchors(mine, YOLOV5, boxes, image)
    assert found.recall_gain >= 0
    assert "Raise the recall" not in found.text


def test_one_image_is_too_few_to_tell() -> None:
    boxes = np.array([(50.0, 50.0)] * 9)
    found = judge_anchors(np.array([(50.0, 50.0)]), YOLOV5, boxes, np.zeros(9, np.int64))
    assert found.iou_gain > 0.02
    assert (found.keep_default, found.can_be_told, found.gain_interval) == (True, False, None)
    assert found.text.startswith(
        "Whether to keep the yolov5-p5 anchors cannot be told: one image is too few. On"
    )
    assert "points; one image has no interval); the best possible recall" in found.text
    assert found.text.endswith("Mind that 1 anchor is compared with 9.")


def test_no_margin_changes_no_anchors_for_their_equals() -> None:
    boxes, image = around(YOLOV5.anchors_wh_px, 0.2)
    found = judge_anchors(YOLOV5.anchors_wh_px, YOLOV5, boxes, image, margin=0.0)
    assert found.keep_default
    assert found.text.startswith("Keep the yolov5-p5 anchors: the others do not fit better.")


def test_recall_in_words_is_1_only_if_it_is_all() -> None:
    boxes = np.concatenate([np.full((29_999, 2), (50.0, 50.0)), [(900.0, 3.0)]])
    found = judge_anchors(np.array([(50.0, 50.0)]), YOLOV5, boxes, np.arange(len(boxes)))
    assert found.recall_fitted > 0.99995
    assert "the best possible recall is 0.9999 and 0.9999." in found.text
