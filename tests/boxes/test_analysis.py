from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.boxes.tables import make_table, write_coco
from tinysight.boxes.analysis import analyse_boxes, points_for
from tinysight.boxes.findings import Reading
from tinysight.boxes.geometry import mean_best_iou, sizes_at_input
from tinysight.boxes.presets import PRESETS
from tinysight.boxes.reading import read_boxes


def test_asked_sets_have_a_bound_and_the_curve_has_every_k(drawn_reading: Reading) -> None:
    found = analyse_boxes(drawn_reading, (4, 2, 2), certify_s=0.2).anchors
    assert found is not None
    assert [one.k for one in found.sets] == [2, 4]
    assert [one.k for one in found.curve] == list(range(1, 11))
    assert [one.k for one in found.curve if one.upper_bound is not None] == [2, 4]
    assert found.num_boxes == int((~drawn_reading.table.is_crowd).sum())
    assert len(found.verdicts) == 2
    assert found.chosen.k in (2, 4)
    assert found.verdict.iou_fitted == found.chosen.mean_best_iou
    assert found.quality.mean_best_iou == found.chosen.mean_best_iou


def test_the_set_at_the_elbow_is_chosen_where_it_was_asked_for(drawn_reading: Reading) -> None:
    everything = analyse_boxes(drawn_reading, range(1, 11), certify_s=0).anchors
    assert everything is not None
    if everything.choice.k is not None:
        assert everything.chosen.k == everything.choice.k
    other = 1 if everything.choice.k != 1 else 2
    only = analyse_boxes(drawn_reading, (other,), certify_s=0).anchors
    assert only is not None
    assert only.chosen.k == other


def test_too_many_anchors_for_the_sizes_are_left_out_and_said(tmp_path: Path) -> None:
    table = make_table([(0, 0, 0, 0, 10, 10), (0, 0, 5, 5, 20, 30), (0, 0, 1, 1, 20, 30)])
    reading = read_boxes(write_coco(table, tmp_path / "few.json"))
    analysis = analyse_boxes(reading, (2, 3), certify_s=0)
    assert analysis.left_out_ks == (3,)
    assert analysis.anchors is not None
    assert [one.k for one in analysis.anchors.curve] == [1, 2]
    none = analyse_boxes(reading, (3,), certify_s=0)
    assert none.anchors is None
    assert none.why_no_anchors.startswith("There are 2 distinct box sizes, fewer than the anchors")


def test_default_numbers_of_anchors_are_cut_to_the_distinct_sizes(tmp_path: Path) -> None:
    table = make_table([(0, 0, 0, 0, 10, 10), (0, 0, 5, 5, 20, 30)])
    reading = read_boxes(write_coco(table, tmp_path / "two.json"))
    analysis = analyse_boxes(reading, certify_s=0)
    assert analysis.anchors is not None
    assert [one.k for one in analysis.anchors.sets] == [2]
    assert analysis.left_out_ks == (3, 4, 5, 6)


def test_no_boxes_still_give_a_summary(tmp_path: Path) -> None:
    reading = read_boxes(write_coco(make_table(), tmp_path / "none.json"))
    analysis = analyse_boxes(reading, certify_s=0)
    assert analysis.summary.boxes == 0
    assert analysis.anchors is None
    assert analysis.why_no_anchors == (
        "There are 0 distinct box sizes, fewer than the anchors fitted by default (k = 3, 4, 5, 6)."
    )


def test_a_single_size_is_spoken_of_as_such(tmp_path: Path) -> None:
    reading = read_boxes(write_coco(make_table([(0, 0, 0, 0, 9, 9)]), tmp_path / "one.json"))
    analysis = analyse_boxes(reading, (2, 3), certify_s=0)
    assert analysis.why_no_anchors.startswith(
        "There is 1 distinct box size, fewer than the anchors asked for (k = 2, 3)."
    )


def test_sets_are_judged_against_the_anchors_asked_for(drawn_reading: Reading) -> None:
    for against, names in (
        (None, ["yolov2-coco", "yolov3-tiny"]),
        (PRESETS["yolov7"], ["yolov7", "yolov7"]),
    ):
        found = analyse_boxes(drawn_reading, (5, 6), against=against, certify_s=0).anchors
        assert found is not None
        assert [verdict.default for verdict in found.verdicts] == names
        assert f"with {found.verdict.default} 0." in found.verdict.text


def test_the_same_boxes_give_the_same_analysis(drawn_reading: Reading) -> None:
    one, other = (analyse_boxes(drawn_reading, (3,), certify_s=0).anchors for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.chosen.anchors_wh_px.tobytes() == other.chosen.anchors_wh_px.tobytes()
    assert one.choice == other.choice
    assert one.verdicts == other.verdicts


def test_points_stand_for_all_sizes(drawn_reading: Reading) -> None:
    sizes = sizes_at_input(drawn_reading.table, (640, 640), "letterbox")
    assert len(points_for(sizes).weights) == len(np.unique(sizes, axis=0))
    few = points_for(sizes, most=200)
    assert len(few.weights) <= 200
    assert few.weights.sum() == pytest.approx(1)
    anchors = np.array([[50.0, 50.0], [200.0, 300.0]])
    scores = np.array([mean_best_iou(size[None], anchors) for size in few.wh])
    assert float(few.weights @ scores) == pytest.approx(mean_best_iou(sizes, anchors), abs=0.02)
