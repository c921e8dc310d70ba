from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from tests.boxes.tables import draw_table
from tinysight.boxes.export import render_anchors
from tinysight.boxes.export_inputs import input_lines, input_warnings
from tinysight.boxes.geometry import sizes_at_input
from tinysight.boxes.leveled_anchors import LeveledAnchors
from tinysight.boxes.presets import PRESETS
from tinysight.boxes.strides import assign_strides, group_levels

FPN = (4, 8, 16, 32, 64)


def leveled(
    fit: str, wh: tuple[int, int] = (640, 640), strides: Sequence[int] = FPN
) -> LeveledAnchors:
    sides = [3.0 * stride for stride in strides for _ in range(2)]
    anchors = [(side, side * (1.5 + row % 2)) for row, side in enumerate(sides)]
    return LeveledAnchors(assign_strides(anchors, strides), wh, fit, 3)


def preset(name: str) -> LeveledAnchors:
    found = PRESETS[name]
    levels = group_levels(found.levels_wh_px, found.strides_px)
    return LeveledAnchors(levels, found.input_size_wh, found.fit)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("torchvision-retinanet", "torchvision"),
        ("torchvision-faster-rcnn", "torchvision"),
        ("retinanet", "detectron2"),
        ("faster-rcnn-fpn", "detectron2-code"),
        ("ssd300-voc", "ssd"),
        ("yolov5-p5", "yolov5"),
        ("yolov7", "yolov7"),
        ("yolov3", "darknet-v3"),
        ("retinanet", "mmdetection"),
        ("retinanet", "json"),
        ("yolov5-p5", "csv"),
    ],
)
def test_published_anchors_need_no_warning_in_their_own_framework(name: str, to: str) -> None:
    assert input_warnings(preset(name), to) == ()


TORCHVISION = "torchvision scales an image until its shorter side has 800 pixels or its longer"
AS_IT_DOES = "`tinysight boxes anchors FILE --fit shorter-side --input-size 1333x800`."


@pytest.mark.parametrize(
    ("anchors", "to", "warning"),
    [
        (
            leveled("letterbox"),
            "torchvision",
            f"{TORCHVISION} side 1333, but these anchors are for an input of 640x640 pixels "
            "(letterbox). Set min_size=640 and max_size=640. Or fit anchors for that with "
            f"{AS_IT_DOES}",
        ),
        (
            leveled("shorter-side", (1000, 600)),
            "torchvision",
            f"{TORCHVISION} side 1333, but these anchors are for an input of 1000x600 pixels "
            "(shorter-side). Set min_size=600 and max_size=1000. Or fit anchors for that with "
            f"{AS_IT_DOES}",
        ),
        (
            leveled("letterbox", (640, 480)),
            "torchvision",
            f"{TORCHVISION} side 1333, but these anchors are for an input of 640x480 pixels "
            f"(letterbox). Fit anchors for that with {AS_IT_DOES}",
        ),
        (
            leveled("stretch", (1333, 800)),
            "detectron2",
            "detectron2 scales an image until its shorter side has 800 pixels or its longer side "
            "1333, but these anchors are for an input of 1333x800 pixels (stretch). Fit anchors "
            f"for that with {AS_IT_DOES}",
        ),
        (
            leveled("letterbox"),
            "detectron2-code",
            "detectron2 scales an image until its shorter side has 800 pixels or its longer side "
            "1333, but these anchors are for an input of 640x640 pixels (letterbox). Set "
            "INPUT.MIN_SIZE_TRAIN (640,), MAX_SIZE_TRAIN 640, MIN_SIZE_TEST 640 and MAX_SIZE_TEST "
            f"640. Or fit anchors for that with {AS_IT_DOES}",
        ),
        (
            leveled("shorter-side", (1333, 800), (8, 16, 32)),
            "torchvision",
            "The pyramid of the network must have 3 feature maps (strides 8, 16, 32), but that of "
            "Faster R-CNN has 5 (4, 8, 16, 32, 64) and that of RetinaNet has 5 (8, 16, 32, 64, "
            "128). Name the strides of yours with --strides, and fit as many anchors for each.",
        ),
        (
            leveled("shorter-side", (1333, 800), (16,)),
            "detectron2",
            "The pyramid of the network must have 1 feature map (strides 16), but that of Faster "
            "R-CNN has 5 (4, 8, 16, 32, 64) and that of RetinaNet has 5 (8, 16, 32, 64, 128). Name "
            "the strides of yours with --strides, and fit as many anchors for each.",
        ),
        (
            preset("yolov5-p5"),
            "ssd",
            "SSD stretches images to its input, but these anchors are for an input of 640x640 "
            "pixels (letterbox). Fit anchors for that with `tinysight boxes anchors FILE --fit "
            "stretch`.",
        ),
        (
            preset("yolov3"),
            "yolov5",
            "yolov5 and v7 scale and pad images, but these anchors are for an input of 416x416 "
            "pixels (stretch). Fit anchors for that with `tinysight boxes anchors FILE --fit "
            "letterbox`.",
        ),
        (
            leveled("letterbox", (640, 480)),
            "mmdetection",
            "mmdetection scales a high image as it does a wide one, but these anchors are for an "
            "input of 640x480 pixels (letterbox). Fit anchors with the fit shorter-side, or for a "
            "square.",
        ),
    ],
)
def test_a_warning_says_what_the_framework_does_and_what_to_set(
    anchors: LeveledAnchors, to: str, warning: str
) -> None:
    assert input_warnings(anchors, to) == (warning,)
    if to != "detectron2":  # which can hold no free anchors
        text = render_anchors(anchors, to)
        said = json.loads(text)["about"] if to == "ssd" else text.replace("\n# ", " ")
        assert warning in " ".join(said.split())
    assert " ".join(input_lines(anchors, to)) == warning
    assert max(map(len, input_lines(anchors, to))) <= 96


def test_a_config_of_detectron2_has_the_warnings_as_comments() -> None:
    one_each = LeveledAnchors(
        assign_strides([(3 * stride, 4 * stride) for stride in FPN], FPN), (640, 640), "letterbox"
    )
    text = render_anchors(one_each, "detectron2").replace("\n# ", " ")
    (warning,) = input_warnings(one_each, "detectron2")
    assert warning in text


@pytest.mark.parametrize(
    ("fit", "wh", "told"),
    [
        ("letterbox", (640, 640), "scale=(640, 640) and keep_ratio=True."),
        ("shorter-side", (1333, 800), "scale=(1333, 800) and keep_ratio=True."),
        ("stretch", (300, 300), "scale=(300, 300) and keep_ratio=False."),
    ],
)
def test_a_config_of_mmdetection_says_the_resize_that_its_pipelines_must_have(
    fit: str, wh: tuple[int, int], told: str
) -> None:
    text = render_anchors(leveled(fit, wh), "mmdetection")
    assert f"# The pipelines must have Resize with {told}\n" in text


def test_a_square_that_images_are_padded_to_is_met_by_its_side_as_both_sizes() -> None:
    table = draw_table()
    as_padded = sizes_at_input(table, (640, 640), "letterbox")
    as_torchvision = sizes_at_input(table, (640, 640), "shorter-side")
    np.testing.assert_array_equal(as_padded, as_torchvision)
