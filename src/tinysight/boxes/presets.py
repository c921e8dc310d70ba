"""Published anchors: what frameworks use when nobody chooses, with source and input size."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import Fit, sizes_at_input
from tinysight.errors import DataError

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

Pairs = Sequence[tuple[float, float]]

_LONGEST_SHOWN = 60  # characters of a name in a message


@dataclass(frozen=True)
class AnchorPreset:
    """The anchors that a framework ships."""

    name: str
    framework: str
    levels_wh_px: tuple[NDArray[np.float64], ...]
    """For each level (a, 2) anchors in pixels at the input, in the framework's own order."""

    strides_px: tuple[int, ...]
    """Stride of each level, pixels at the input."""

    input_size_wh: tuple[int, int]
    """The input the anchors were made for, pixels."""

    fit: Fit
    source: str
    """Repository, path and commit or version of the file that has them."""

    @property
    def anchors_wh_px(self) -> NDArray[np.float64]:
        """All anchors, (k, 2), pixels at the input, ascending area."""
        anchors = np.concatenate(self.levels_wh_px)
        return anchors[np.argsort(anchors.prod(axis=1), kind="stable")]


def find_preset(name: str) -> AnchorPreset:
    """Return a preset by its name.

    Raises:
        DataError: There is none of that name.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
        raise DataError(
            f"{shown}: there is no such file, and the name of a preset must be one of "
            f"{', '.join(PRESETS)}.{hint} Name a file of anchors or a preset."
        )
    return PRESETS[name]


def sizes_at_preset(table: BoxTable, preset: AnchorPreset) -> NDArray[np.float64]:
    """Return the box sizes as a network with the preset's input sees them, without crowd boxes.

    Returns:
        (n, 2), pixels at ``preset.input_size_wh``.

    Raises:
        DataError: A box's image has no size.
    """
    return sizes_at_input(table, preset.input_size_wh, preset.fit)


def sizes_times_ratios(sizes_px: Iterable[float], ratios: Iterable[float]) -> NDArray[np.float64]:
    """Return an anchor of area size**2 for each size and ratio height / width, (r * s, 2)."""
    sizes = list(sizes_px)
    pairs = [(size / ratio**0.5, size * ratio**0.5) for ratio in ratios for size in sizes]
    return np.array(pairs, dtype=np.float64)


def _yolo(
    name: str,
    framework: str,
    levels: Sequence[Pairs],
    input_size_px: int,
    fit: Fit,
    source: str,
) -> AnchorPreset:
    strides = tuple(8 * 2**level for level in range(len(levels)))
    arrays = tuple(np.array(level, dtype=np.float64) for level in levels)
    return AnchorPreset(
        name, framework, arrays, strides, (input_size_px, input_size_px), fit, source
    )


def _region(name: str, cells: Pairs, source: str) -> AnchorPreset:
    """YOLOv2: one level of stride 32, anchors in cells of 32 pixels."""
    anchors = np.array(cells, dtype=np.float64) * 32
    return AnchorPreset(name, "YOLOv2 (darknet)", (anchors,), (32,), (416, 416), "stretch", source)


def _ssd300(name: str, min_percent: Sequence[int], source: str) -> AnchorPreset:
    """SSD300: per level a square of min, one of sqrt(min * max), and min at each ratio."""
    ratios = ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,))
    levels = []
    for index, extra in enumerate(ratios):
        least, greatest = 3.0 * min_percent[index], 3.0 * min_percent[index + 1]
        both_ways = [1.0, *(1 / ratio for ratio in extra), *extra]
        square = (least * greatest) ** 0.5
        levels.append(np.concatenate([sizes_times_ratios([least], both_ways), [[square, square]]]))
    strides = (8, 16, 32, 64, 100, 300)
    framework = "SSD300 (caffe)"
    return AnchorPreset(name, framework, tuple(levels), strides, (300, 300), "stretch", source)


def _pyramid(
    name: str,
    framework: str,
    sizes_px: Sequence[Sequence[float]],
    ratios: Sequence[float],
    first_stride_px: int,
    source: str,
    *,
    input_size_wh: tuple[int, int] = (1333, 800),
    fit: Fit = "shorter-side",
    has_whole_corners: bool = False,
) -> AnchorPreset:
    """Sizes x ratios on every level; torchvision rounds the corners of its anchors."""
    levels = tuple(sizes_times_ratios(sizes, ratios) for sizes in sizes_px)
    if has_whole_corners:
        levels = tuple(2 * np.rint(level / 2) for level in levels)
    strides = tuple(first_stride_px * 2**level for level in range(len(levels)))
    return AnchorPreset(name, framework, levels, strides, input_size_wh, fit, source)


_SIDES_PX = (32, 64, 128, 256, 512)
_OCTAVES = tuple([side * 2 ** (third / 3) for third in range(3)] for side in _SIDES_PX)
_WHOLE_OCTAVES = tuple([float(int(size)) for size in sizes] for sizes in _OCTAVES)

_COCO_P5 = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)
_COCO_V4 = (
    ((12, 16), (19, 36), (40, 28)),
    ((36, 75), (76, 55), (72, 146)),
    ((142, 110), (192, 243), (459, 401)),
)
_P6_1280 = (
    ((19, 27), (44, 40), (38, 94)),
    ((96, 68), (86, 152), (180, 137)),
    ((140, 301), (303, 264), (238, 542)),
    ((436, 615), (739, 380), (925, 792)),
)

_DARKNET = "AlexeyAB/darknet 59596d78"
_YOLOV5 = "ultralytics/yolov5 5081342f models/hub/anchors.yaml"
_DETECTRON2 = "facebookresearch/detectron2 02b5c4e2"
_TORCHVISION = "pytorch/vision 01fdb488 torchvision/models/detection"

_ALL = (
    _region(
        "yolov2-coco",
        (
            (0.57273, 0.677385),
            (1.87446, 2.06253),
            (3.33843, 5.47434),
            (7.88282, 3.52778),
            (9.77052, 9.16828),
        ),
        f"{_DARKNET} cfg/yolov2.cfg",
    ),
    _region(
        "yolov2-voc",
        (
            (1.3221, 1.73145),
            (3.19275, 4.00944),
            (5.05587, 8.09892),
            (9.47112, 4.84053),
            (11.2364, 10.0071),
        ),
        f"{_DARKNET} cfg/yolov2-voc.cfg",
    ),
    _yolo("yolov3", "YOLOv3 (darknet)", _COCO_P5, 416, "stretch", f"{_DARKNET} cfg/yolov3.cfg"),
    AnchorPreset(
        "yolov3-tiny",
        "YOLOv3-tiny (darknet)",
        (
            np.array([(10, 14), (23, 27), (37, 58)], dtype=np.float64),
            np.array([(81, 82), (135, 169), (344, 319)], dtype=np.float64),
        ),
        (16, 32),
        (416, 416),
        "stretch",
        f"{_DARKNET} cfg/yolov3-tiny.cfg",
    ),
    _yolo(
        "yolov4",
        "YOLOv4 (darknet)",
        _COCO_V4,
        512,
        # yolov4.cfg has no letter_box, and without it darknet stretches; yolov4-csp.cfg, which has
        # the same anchors, sets it.
        "stretch",
        f"{_DARKNET} cfg/yolov4.cfg (width and height as in its comment on training)",
    ),
    _yolo("yolov5-p5", "yolov5", _COCO_P5, 640, "letterbox", f"{_YOLOV5} anchors_p5_640"),
    _yolo(
        "yolov5-p6-640",
        "yolov5",
        (
            ((9, 11), (21, 19), (17, 41)),
            ((43, 32), (39, 70), (86, 64)),
            ((65, 131), (134, 130), (120, 265)),
            ((282, 180), (247, 354), (512, 387)),
        ),
        640,
        "letterbox",
        f"{_YOLOV5} anchors_p6_640",
    ),
    _yolo("yolov5-p6", "yolov5", _P6_1280, 1280, "letterbox", f"{_YOLOV5} anchors_p6_1280"),
    _yolo(
        "yolov5-p7-640",
        "yolov5",
        (
            ((11, 11), (13, 30), (29, 20)),
            ((30, 46), (61, 38), (39, 92)),
            ((78, 80), (146, 66), (79, 163)),
            ((149, 150), (321, 143), (157, 303)),
            ((257, 402), (359, 290), (524, 372)),
        ),
        640,
        "letterbox",
        f"{_YOLOV5} anchors_p7_640",
    ),
    _yolo(
        "yolov5-p7",
        "yolov5",
        (
            ((19, 22), (54, 36), (32, 77)),
            ((70, 83), (138, 71), (75, 173)),
            ((165, 159), (148, 334), (375, 151)),
            ((334, 317), (251, 626), (499, 474)),
            ((750, 326), (534, 814), (1079, 818)),
        ),
        1280,
        "letterbox",
        f"{_YOLOV5} anchors_p7_1280",
    ),
    _yolo(
        "yolov7",
        "YOLOv7",
        _COCO_V4,
        640,
        "letterbox",
        "WongKinYiu/yolov7 a207844b cfg/training/yolov7.yaml",
    ),
    _yolo(
        "yolov7-p6",
        "YOLOv7 (w6, e6, d6)",
        _P6_1280,
        1280,
        "letterbox",
        "WongKinYiu/yolov7 7341e0a7 cfg/training/yolov7-w6.yaml",
    ),
    _ssd300(
        "ssd300-coco",
        (7, 15, 33, 51, 69, 87, 105),
        "weiliu89/caffe fce68774 examples/ssd/ssd_coco.py",
    ),
    _ssd300(
        "ssd300-voc",
        (10, 20, 37, 54, 71, 88, 105),
        "weiliu89/caffe 4817bf8b (branch ssd) examples/ssd/ssd_pascal.py",
    ),
    _pyramid(
        "retinanet",
        "RetinaNet (detectron2)",
        _OCTAVES,
        (0.5, 1.0, 2.0),
        8,
        f"{_DETECTRON2} configs/Base-RetinaNet.yaml",
    ),
    _pyramid(
        "faster-rcnn-fpn",
        "Faster R-CNN with FPN (detectron2)",
        [(side,) for side in _SIDES_PX],
        (0.5, 1.0, 2.0),
        4,
        f"{_DETECTRON2} configs/Base-RCNN-FPN.yaml",
    ),
    _pyramid(
        "efficientdet-d0",
        "EfficientDet-D0",
        _OCTAVES,
        (1.0, 0.5, 2.0),
        8,
        "google/automl 6a54c874 efficientdet/hparams_config.py",
        input_size_wh=(512, 512),
        fit="letterbox",
    ),
    _pyramid(
        "torchvision-retinanet",
        "torchvision retinanet_resnet50_fpn",
        _WHOLE_OCTAVES,
        (0.5, 1.0, 2.0),
        8,
        f"{_TORCHVISION}/retinanet.py",
        has_whole_corners=True,
    ),
    _pyramid(
        "torchvision-faster-rcnn",
        "torchvision fasterrcnn_resnet50_fpn",
        [(side,) for side in _SIDES_PX],
        (0.5, 1.0, 2.0),
        4,
        f"{_TORCHVISION}/faster_rcnn.py",
        has_whole_corners=True,
    ),
)

PRESETS: dict[str, AnchorPreset] = {preset.name: preset for preset in _ALL}
"""Every preset by its name."""
