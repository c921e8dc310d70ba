from __future__ import annotations

import re

import numpy as np
import pytest

from tests.boxes.tables import COCO_VAL, make_table, real_table, score_sizes
from tinysight.boxes.geometry import sizes_at_input
from tinysight.boxes.presets import PRESETS, find_preset, sizes_at_preset, sizes_times_ratios
from tinysight.boxes.quality import match_anchors
from tinysight.boxes.strides import group_levels
from tinysight.boxes.table import BoxTable
from tinysight.errors import DataError


@pytest.fixture(scope="module")
def coco_val() -> BoxTable:
    return real_table(COCO_VAL)


def test_there_is_a_preset_for_every_family() -> None:
    assert len(PRESETS) >= 18
    for family in ("yolov2", "yolov3", "yolov4", "yolov5", "yolov7", "ssd300", "retinanet"):
        assert any(name.startswith(family) for name in PRESETS), family
    assert {"faster-rcnn-fpn", "efficientdet-d0", "torchvision-retinanet"} <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_whole(name: str) -> None:
    preset = PRESETS[name]
    assert preset.name == name
    assert re.search(r"/\S+ [0-9a-f]{8}", preset.source), "repository and commit"
    assert len(preset.levels_wh_px) == len(preset.strides_px)
    assert (preset.anchors_wh_px > 0).all()
    assert (np.diff(preset.anchors_wh_px.prod(axis=1)) >= 0).all()
    assert not group_levels(preset.levels_wh_px, preset.strides_px).warnings


# In AlexeyAB's darknet yolov4-csp.cfg and most later ones have letter_box=1, the others do not.
@pytest.mark.parametrize("name", ["yolov2-coco", "yolov2-voc", "yolov3", "yolov3-tiny", "yolov4"])
def test_a_preset_of_darknet_cites_a_cfg_that_stretches_as_it_says(name: str) -> None:
    preset = PRESETS[name]
    assert preset.fit == "stretch"
    assert re.search(rf" cfg/{name.removesuffix('-coco')}\.cfg\b", preset.source)


def test_yolov7_cites_the_framework_that_letterboxes_and_not_darknet() -> None:
    assert PRESETS["yolov7"].fit == "letterbox"
    assert PRESETS["yolov7"].source == "WongKinYiu/yolov7 a207844b cfg/training/yolov7.yaml"


@pytest.mark.parametrize(
    ("name", "k"),
    [
        ("yolov2-coco", 5),
        ("yolov3", 9),
        ("yolov5-p6", 12),
        ("yolov5-p7", 15),
        ("ssd300-coco", 30),
        ("retinanet", 45),
        ("faster-rcnn-fpn", 15),
        ("efficientdet-d0", 45),
    ],
)
def test_a_preset_has_its_number_of_anchors(name: str, k: int) -> None:
    assert len(PRESETS[name].anchors_wh_px) == k


def test_ssd_has_the_boxes_that_its_prior_layer_makes() -> None:
    first = PRESETS["ssd300-voc"].levels_wh_px[0]
    expected = [(30, 30), (30 * 2**0.5, 30 / 2**0.5), (30 / 2**0.5, 30 * 2**0.5), (1800**0.5,) * 2]
    assert sorted(map(tuple, first.round(9))) == sorted(map(tuple, np.round(expected, 9)))
    last = PRESETS["ssd300-coco"].levels_wh_px[-1]
    assert last.max() == pytest.approx(261 * 2**0.5)


def test_sizes_times_ratios_have_that_area_and_height_over_width() -> None:
    found = sizes_times_ratios([32, 64], [0.5, 1, 2])
    assert len(found) == 6
    assert np.sqrt(found.prod(axis=1)) == pytest.approx([32, 64] * 3)
    assert found[:, 1] / found[:, 0] == pytest.approx([0.5, 0.5, 1, 1, 2, 2])


def test_torchvision_rounds_the_corners_of_its_anchors() -> None:
    first = PRESETS["torchvision-faster-rcnn"].levels_wh_px[0]
    # generate_anchors: 32 * sqrt(2) / 2 = 22.63 is rounded to 23, 11.31 to 11.
    assert sorted(map(tuple, first.tolist())) == [(22, 46), (32, 32), (46, 22)]


@pytest.mark.parametrize(
    ("image_wh", "factor"),
    [
        ((640, 480), 800 / 480),  # the shorter side becomes 800
        ((480, 640), 800 / 480),  # whichever it is
        ((1000, 200), 1333 / 1000),  # unless the longer one would pass 1333
    ],
)
def test_shorter_side_scales_as_detectron2_does(
    image_wh: tuple[float, float], factor: float
) -> None:
    table = make_table([(0, 0, 0, 0, 30, 40), (0, 0, 0, 0, 9, 9)], image_wh=[image_wh], crowd=[1])
    found = sizes_at_preset(table, PRESETS["retinanet"])
    assert found == pytest.approx(np.array([[30 * factor, 40 * factor]]))


def test_an_image_of_unknown_size_is_named() -> None:
    table = make_table([(0, 0, 0, 0, 3, 4)], image_wh=[(np.nan, np.nan)])
    with pytest.raises(DataError, match=r"0\.jpg: the size of the image must be known"):
        sizes_at_preset(table, PRESETS["retinanet"])


def test_an_unknown_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError, match=r"yolo5-p5: .* one of yolov2-coco, .* mean yolov5-p5\?"):
        find_preset("yolo5-p5")
    with pytest.raises(DataError, match=r"Name a file of anchors or a preset\.$"):
        find_preset("qqq")


# Figures of the evidence, measured on COCO train2017; val2017 is a sample of the same kind.
@pytest.mark.parametrize(
    ("name", "mean_iou", "recall"),
    [
        ("yolov3", 0.599, 0.9895),
        ("yolov4", 0.600, None),
        ("yolov7", 0.609, 0.9911),
        ("yolov2-coco", 0.4875, None),
        ("ssd300-coco", 0.596, 0.937),
        ("retinanet", 0.7343, 0.9912),
        ("faster-rcnn-fpn", 0.631, None),
        ("yolov5-p5", 0.611, 0.9946),
    ],
)
def test_presets_score_on_real_coco_as_measured(
    coco_val: BoxTable, name: str, mean_iou: float, recall: float | None
) -> None:
    preset = PRESETS[name]
    found = score_sizes(sizes_at_preset(coco_val, preset), preset.anchors_wh_px)
    assert found.mean_best_iou == pytest.approx(mean_iou, abs=0.004)
    if recall is not None:
        assert found.best_possible_recall == pytest.approx(recall, abs=0.002)


# The comments of models/hub/anchors.yaml: BPR, anchors past thr, metric_all mean/best, past_thr.
@pytest.mark.parametrize(
    ("name", "recall", "past", "mean", "best", "past_mean"),
    [
        ("yolov5-p6-640", 0.9964, 5.54, 0.281, 0.716, 0.469),
        ("yolov5-p6", 0.9950, 5.55, 0.281, 0.714, 0.468),
        ("yolov5-p7-640", 0.9962, 6.76, 0.275, 0.733, 0.466),
        ("yolov5-p7", 0.9968, 6.71, 0.273, 0.732, 0.463),
    ],
)
def test_the_lines_that_yolov5_prints_hold_on_real_coco(
    coco_val: BoxTable,
    name: str,
    recall: float,
    past: float,
    mean: float,
    best: float,
    past_mean: float,
) -> None:
    preset = PRESETS[name]
    matches = match_anchors(sizes_at_preset(coco_val, preset), preset.anchors_wh_px)
    assert (matches.ratio > 1 / 4).mean() == pytest.approx(recall, abs=0.0011)
    assert matches.ratios.anchors_past_threshold == pytest.approx(past, abs=0.03)
    assert matches.ratios.mean_ratio == pytest.approx(mean, abs=0.0015)
    assert matches.ratios.mean_best_ratio == pytest.approx(best, abs=0.0015)
    assert matches.ratios.mean_past_ratio == pytest.approx(past_mean, abs=0.0015)


def test_the_yolo_presets_are_letterboxed_or_stretched_as_their_framework_does() -> None:
    table = make_table([(0, 0, 0, 0, 30, 40)], image_wh=[(640, 320)])
    assert sizes_at_preset(table, PRESETS["yolov3"]).tolist() == [[30 * 416 / 640, 40 * 416 / 320]]
    assert sizes_at_preset(table, PRESETS["yolov5-p5"]).tolist() == [[30.0, 40.0]]
    assert np.array_equal(
        sizes_at_preset(table, PRESETS["yolov7"]), sizes_at_input(table, (640, 640), "letterbox")
    )
