"""Anchors written in the form that each framework reads, and as JSON and CSV.

Frameworks that only know sizes times ratios get exactly that where the anchors have this structure;
otherwise a few lines of code that hand the framework the anchors themselves, or a fault that says
what to use instead.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tinysight.boxes.export_inputs import input_warnings
from tinysight.boxes.export_pyramids import (
    render_detectron2,
    render_detectron2_code,
    render_mmdetection,
    render_ssd,
    render_torchvision,
)
from tinysight.boxes.export_yolo import (
    render_darknet,
    render_darknet_v2,
    render_darknet_v3,
    render_yolov5,
)
from tinysight.boxes.leveled_anchors import LeveledAnchors
from tinysight.boxes.strides import STRIDES_PX, Rule, assign_strides, too_large_anchors
from tinysight.errors import DataError
from tinysight.whole_files import write_text

if TYPE_CHECKING:
    from tinysight.boxes.anchors import AnchorSet

ONE_LEVEL_PX = {"darknet-v2": (32,)}
"""Strides of the formats that know a single level."""

_UNEVEN = ("darknet", "darknet-v3")  # whose levels may hold different numbers of anchors

FORMAT_VERSION = 1
"""Of the JSON form, which ``anchor_files.load_anchors`` reads back."""


def render_anchors(leveled: LeveledAnchors, to: str) -> str:
    """Return the text of one framework's file.

    Args:
        leveled: The anchors on their levels.
        to: A name of :data:`FORMATS`.

    Raises:
        DataError: The name is unknown, or the format cannot hold these anchors.
    """
    check_format(to)
    return FORMATS[to](leveled)


def check_format(to: str) -> None:
    """Refuse the name of a format that nobody writes.

    Raises:
        DataError: It is not one of :data:`FORMATS`.
    """
    if to not in FORMATS:
        close = difflib.get_close_matches(to, FORMATS, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise DataError(f"{to}: the format must be one of {', '.join(FORMATS)}.{hint}")


def export_warnings(leveled: LeveledAnchors, to: str) -> tuple[str, ...]:
    """Return what to look at before a framework trains with these anchors, in full sentences.

    Args:
        leveled: The anchors on their levels.
        to: A name of :data:`FORMATS`.
    """
    by_size: tuple[str, ...] = ()
    if to in _UNEVEN and any(len(too_large_anchors(level)) for level in leveled.levels[:-1]):
        by_size = ("darknet may have each anchor on the level of its size: pass --divide size.",)
    return (*leveled.assignment.warnings, *by_size, *input_warnings(leveled, to))


def export_anchors(
    anchors: AnchorSet,
    to: str,
    out: str | Path,
    *,
    strides_px: Sequence[int] | None = None,
    rule: Rule = "equal",
    num_classes: int | None = None,
) -> tuple[str, ...]:
    """Put fitted anchors on the levels of a detector and write the file that its framework reads.

    Args:
        anchors: What :func:`tinysight.fit_anchors` found.
        to: A name of :data:`FORMATS`, such as ``"yolov5"`` or ``"mmdetection"``.
        out: The file; an older one is replaced.
        strides_px: Stride of each level in pixels, finest first; 8, 16 and 32 when not given, or
            what the format is bound to.
        rule: ``"equal"``, as many anchors on every level, or ``"size"``, each on that of its size.
        num_classes: Number of classes, which darknet needs.

    Returns:
        What to look at before the framework trains with them, in full sentences.

    Raises:
        DataError: The name is unknown, or the format cannot hold these anchors; nothing is written.
        RunError: The file cannot be written; an older one is still there.
    """
    check_format(to)
    strides = strides_px or ONE_LEVEL_PX.get(to) or STRIDES_PX
    assignment = assign_strides(anchors.anchors_wh_px, strides, rule=rule)
    leveled = LeveledAnchors(assignment, anchors.input_size_wh, anchors.fit, num_classes)
    write_text(Path(out), render_anchors(leveled, to))
    return export_warnings(leveled, to)


def render_json(leveled: LeveledAnchors) -> str:
    """Write everything at full precision, to be read again by this package."""
    value = {
        "format_version": FORMAT_VERSION,
        "input_size_wh": None if "size" in leveled.assumed else leveled.input_size_wh,
        "fit": None if "fit" in leveled.assumed else leveled.fit,
        "anchors_wh_px": _by_area(leveled),
        "levels": [
            {"stride_px": level.stride_px, "anchors_wh_px": level.anchors_wh_px.tolist()}
            for level in leveled.levels
        ],
    }
    return json.dumps(value, indent=1) + "\n"


def render_csv(leveled: LeveledAnchors) -> str:
    """Write a row for each anchor: its stride, width and height in pixels, and the input it is for.

    What of the input is only assumed is left empty.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ("stride_px", "width_px", "height_px", "input_width_px", "input_height_px", "fit")
    )
    size: tuple[object, ...] = ("", "") if "size" in leveled.assumed else leveled.input_size_wh
    fit = "" if "fit" in leveled.assumed else leveled.fit
    for level in leveled.levels:
        for width, height in level.anchors_wh_px.tolist():
            rows.writerow((level.stride_px, width, height, *size, fit))
    return text.getvalue()


def _by_area(leveled: LeveledAnchors) -> list[list[float]]:
    anchors = leveled.assignment.anchors_wh_px
    ordered: list[list[float]] = anchors[np.argsort(anchors.prod(axis=1), kind="stable")].tolist()
    return ordered


FORMATS: dict[str, Callable[[LeveledAnchors], str]] = {
    "csv": render_csv,
    "darknet": render_darknet,
    "darknet-v2": render_darknet_v2,
    "darknet-v3": render_darknet_v3,
    "detectron2": render_detectron2,
    "detectron2-code": render_detectron2_code,
    "json": render_json,
    "mmdetection": render_mmdetection,
    "ssd": render_ssd,
    "torchvision": render_torchvision,
    "yolov5": render_yolov5,
    "yolov7": render_yolov5,
}
"""The writer of each format by its name."""
