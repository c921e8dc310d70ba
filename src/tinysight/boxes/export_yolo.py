"""Anchors in the configuration files of the YOLO family: darknet, yolov5 and v7."""

from __future__ import annotations

import math

from tinysight.boxes.export_inputs import input_lines, wrapped
from tinysight.boxes.leveled_anchors import LeveledAnchors, even_levels, number_text
from tinysight.errors import DataError


def render_darknet(leveled: LeveledAnchors) -> str:
    """Write what changes in a darknet cfg, finest level first, as YOLOv4 and v7 have them.

    Raises:
        DataError: The number of classes is not known, or a level has no anchor.
    """
    return _yolo_layers(leveled, coarsest_first=False, versions="YOLOv4 and v7")


def render_darknet_v3(leveled: LeveledAnchors) -> str:
    """Write what changes in a darknet cfg, coarsest level first, as YOLOv3 has them.

    Raises:
        DataError: The number of classes is not known, or a level has no anchor.
    """
    return _yolo_layers(leveled, coarsest_first=True, versions="YOLOv3 and the tiny v3 and v4")


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
    lines = [
        f"# {leveled.about}",
        *_comment(
            f"In the order of {versions}, {order}. In the two layers of the same stride of your "
            f"cfg change only filters in [convolutional] and mask, anchors, classes, num in "
            f"[yolo]. Keep every other line, activation as well."
        ),
        *_comment_on_input(leveled, "darknet"),
    ]
    for level, mask in reversed(layers) if coarsest_first else layers:
        lines += [
            "",
            f"# stride {level.stride_px}",
            "[convolutional]",
            f"filters={(num_classes + 5) * len(mask)}",
            "",
            "[yolo]",
            f"mask = {','.join(str(row) for row in mask)}",
            f"anchors = {listed}",
            f"classes={num_classes}",
            f"num={len(anchors)}",
        ]
    return "\n".join(lines) + "\n"


def render_darknet_v2(leveled: LeveledAnchors) -> str:
    """Write what changes in a darknet cfg of YOLOv2: one level, anchors in cells.

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
        *_comment(
            "In the last two layers of your cfg change only filters in [convolutional] and "
            "anchors, classes, num in [region]. Keep every other line, such as bias_match=1 and "
            "softmax=1: darknet takes 0 for each where it is missing."
        ),
        *_comment_on_input(leveled, "darknet-v2"),
        "",
        "[convolutional]",
        f"filters={(num_classes + 5) * len(cells)}",
        "",
        "[region]",
        f"anchors = {listed}",
        f"classes={num_classes}",
        f"num={len(cells)}",
    ]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrapped(text)]


def _comment_on_input(leveled: LeveledAnchors, to: str) -> list[str]:
    return [f"# {line}" for line in input_lines(leveled, to)]


def render_yolov5(leveled: LeveledAnchors) -> str:
    """Write the ``anchors`` of a yolov5 or yolov7 model yaml, a line a level, finest first.

    Raises:
        DataError: The levels hold different numbers of anchors.
    """
    lines = [f"# {leveled.about}", *_comment_on_input(leveled, "yolov5")]
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
