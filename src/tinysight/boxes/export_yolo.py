"""Anchors in the configuration files of the YOLO family: darknet, yolov5 and v7."""

from __future__ import annotations

import math

from tinysight.boxes.leveled_anchors import LeveledAnchors, even_levels, number_text
from tinysight.errors import DataError


def render_darknet(leveled: LeveledAnchors) -> str:
    """Write the last layers of a darknet cfg, finest level first, as YOLOv4 and v7 have them.

    Raises:
        DataError: The number of classes is not known, or a level has no anchor.
    """
    return _yolo_layers(leveled, coarsest_first=False, versions="YOLOv4 and v7")


def render_darknet_v3(leveled: LeveledAnchors) -> str:
    """Write the last layers of a darknet cfg, coarsest level first, as YOLOv3 has them.

    Raises:
        DataError: The number of classes is not known, or a level has no anchor.
    """
    return _yolo_layers(leveled, coarsest_first=True, versions="YOLOv3 and the tiny networks")


def _yolo_layers(leveled: LeveledAnchors, *, coarsest_first: bool, versions: str) -> str:
    num_classes = _classes_of(leveled, "darknet")
    for level in leveled.levels:
        if not len(level.anchors_wh_px):
            raise DataError(
                f"darknet: the [yolo] layer of stride {level.stride_px} must have an anchor, its "
                f"mask would be empty. Divide the anchors equally, or name fewer strides."
            )
    anchors = leveled.assignment.anchors_wh_px
    listed = ",  ".join(f"{number_text(w)},{number_text(h)}" for w, h in anchors.tolist())
    layers = list(zip(leveled.levels, leveled.assignment.masks, strict=True))
    order = "coarsest first" if coarsest_first else "finest first"
    width, height = leveled.input_size_wh
    lines = [
        f"# {leveled.about}",
        f"# In the order of {versions}, {order}: put each pair of layers in the place",
        f"# of the one with the same stride. [net] must have width={width} and height={height}.",
    ]
    for level, mask in reversed(layers) if coarsest_first else layers:
        lines += [
            "",
            f"# stride {level.stride_px}",
            "[convolutional]",
            "size=1",
            "stride=1",
            "pad=1",
            f"filters={(num_classes + 5) * len(mask)}",
            "activation=linear",
            "",
            "[yolo]",
            f"mask = {','.join(str(row) for row in mask)}",
            f"anchors = {listed}",
            f"classes={num_classes}",
            f"num={len(anchors)}",
        ]
    return "\n".join(lines) + "\n"


def render_darknet_v2(leveled: LeveledAnchors) -> str:
    """Write the last layers of a darknet cfg of YOLOv2: one level, anchors in cells.

    Raises:
        DataError: The number of classes is not known, or there are several levels.
    """
    num_classes = _classes_of(leveled, "darknet-v2")
    if len(leveled.levels) != 1:
        raise DataError(
            f"darknet-v2: YOLOv2 has one level, got {len(leveled.levels)}. Name one stride: "
            f"--strides 32."
        )
    cells = leveled.levels[0].anchors_wh_px / leveled.levels[0].stride_px
    listed = ",  ".join(f"{number_text(w)},{number_text(h)}" for w, h in cells.tolist())
    lines = [
        f"# {leveled.about}, written in cells of {leveled.levels[0].stride_px} pixels",
        "[convolutional]",
        "size=1",
        "stride=1",
        "pad=1",
        f"filters={(num_classes + 5) * len(cells)}",
        "activation=linear",
        "",
        "[region]",
        f"anchors = {listed}",
        f"classes={num_classes}",
        "coords=4",
        f"num={len(cells)}",
    ]
    return "\n".join(lines) + "\n"


def render_yolov5(leveled: LeveledAnchors) -> str:
    """Write the ``anchors`` of a yolov5 or yolov7 model yaml, a line a level, finest first.

    Raises:
        DataError: The levels hold different numbers of anchors.
    """
    lines = [f"# {leveled.about}"]
    if leveled.num_classes is not None:
        lines.append(f"nc: {leveled.num_classes}")
    lines.append("anchors:")
    for level in even_levels(leveled, "yolov5"):
        pairs = ", ".join(f"{number_text(w)},{number_text(h)}" for w, h in level.anchors_wh_px)
        lines.append(f"  - [{pairs}]  # {_pyramid_name(level.stride_px)}")
    return "\n".join(lines) + "\n"


def _pyramid_name(stride_px: int) -> str:
    power = math.log2(stride_px)
    return f"P{power:.0f}/{stride_px}" if power.is_integer() else f"stride {stride_px}"


def _classes_of(leveled: LeveledAnchors, framework: str) -> int:
    if leveled.num_classes is None or leveled.num_classes < 1:
        raise DataError(
            f"{framework}: the number of classes must be known and >= 1, because "
            f"filters=(classes + 5) * anchors; got {leveled.num_classes}. Give --classes N."
        )
    return leveled.num_classes
