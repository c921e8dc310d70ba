"""LabelMe json: one file an image, with the shapes that were drawn on it.

Source:
    https://github.com/wkentaro/labelme, labelme/_label_file.py (the keys), labelme/_utils/_shape.py
    (what the points of each type of shape mean) and examples/. Types of X-AnyLabeling, which writes
    the same files, are known too.
"""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import whole_file_finding
from tinysight.boxes.image_sizes import read_image_size_wh
from tinysight.boxes.readers.box_numbers import size_wh_px
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.file_bytes import plain_path
from tinysight.boxes.readers.file_trees import read_tree
from tinysight.boxes.readers.ids import plain_id, plain_label
from tinysight.boxes.readers.json_text import load_json, shown_number
from tinysight.boxes.readers.outlines import (
    Groups,
    Point,
    ShapeFault,
    around_ellipse,
    around_points,
    no_area,
    read_points,
)
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.errors import DataError

SUFFIXES = (".json", ".json.gz")

_NO_LABEL = "(no label)"
_OUTLINES = frozenset(
    {"polygon", "oriented_rectangle", "rotation", "quadrilateral", "cuboid", "mask"}
)
_NO_AREAS = {
    "point": "a point",
    "points": "points",
    "line": "a line",
    "linestrip": "a line strip",
    "linestring": "a line string",
}
_KNOWN = ("rectangle", "circle", *sorted(_OUTLINES), *_NO_AREAS)
_HEAD_OF_MASK_CHARACTERS = 32  # 24 bytes: the signature of a PNG, then its width and height


class Shape(msgspec.Struct, gc=False):
    """One of ``shapes``."""

    label: Any = None
    points: Any = None
    shape_type: Any = None
    group_id: Any = None
    mask: msgspec.Raw = msgspec.Raw()
    """A view of the file, as the next one: a picture as text, of which at most a bit is read."""


class _AnyFile(msgspec.Struct, rename="camel"):
    image_path: Any = None
    image_height: Any = None
    image_width: Any = None
    image_data: msgspec.Raw = msgspec.Raw()


class LabelmeFile(_AnyFile, kw_only=True):
    """A file with shapes that are all objects, which is the rule."""

    shapes: list[Shape]


class _MessyFile(_AnyFile, kw_only=True):
    """A file with anything in the place of shapes."""

    shapes: Any = None


def read_labelme(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read files of LabelMe, and all json files below folders, as one source.

    A file that cannot be read is a finding, unless none can. An image has the size that its file
    states, or that of the image beside it, or that of the image in it.

    Args:
        paths: Files and folders.
        options: Not used here; sizes that are missing are filled in later.

    Raises:
        DataError: No file can be read.
    """
    first_of: dict[str, Path] = {}
    groups = Groups()

    def read_file(file: Path, number: int, collector: Collector) -> None:
        found, shapes = _load(file, collector)
        image, wh_px = _image_of(found, file, number, first_of, collector)
        is_size_known = math.isfinite(sum(wh_px))
        for position, shape in enumerate(shapes):
            row, is_sound = _collect(shape, image, position, number, groups, collector)
            if is_sound and not is_size_known:
                message = (
                    "a file must state the size of its image; its boxes were not checked with it."
                )
                collector.mark("no_image_size", "harmless", message, row)

    collector = read_tree(paths, SUFFIXES, "LabelMe", read_file)
    groups.mark(collector)
    return collector.raw_boxes("labelme", "shapes[{position}]", BoxOrder("xyxy"))


def _load(file: Path, collector: Collector) -> tuple[_AnyFile, list[Any]]:
    """Return a file and its shapes; in the place of one that is no object, what stands there."""
    found, mendings = load_json(file, (LabelmeFile, _MessyFile))
    if not isinstance(found.shapes, list):
        shown = "none" if found.shapes is None else shown_number(found.shapes)[:40]
        raise DataError(
            f"{file}: must be a LabelMe file with a list as `shapes`, got {shown}. Check the file, "
            f"or name its format with --format."
        )
    for note in mendings:
        collector.note(note)
    if isinstance(found, LabelmeFile):
        return found, found.shapes
    return found, [_shape_or_other(item) for item in found.shapes]


def _shape_or_other(item: Any) -> Any:
    """Return a shape of a file where another one is no object; what is none, as it is."""
    if not isinstance(item, dict):
        return item
    fields = {name: item.get(name) for name in ("label", "points", "shape_type", "group_id")}
    mask = item.get("mask")
    text = mask[: _HEAD_OF_MASK_CHARACTERS + 1] if isinstance(mask, str) else ""
    return Shape(**fields, mask=msgspec.Raw(text.encode(errors="replace")))


def _image_of(
    found: _AnyFile,
    file: Path,
    number: int,
    first_of: dict[str, Path],
    collector: Collector,
) -> tuple[int, tuple[float, float]]:
    """Return the row and the size of the image of a file."""
    name = found.image_path
    key: int | str = number
    beside: Path | None = None
    if isinstance(name, str) and name.strip() and "\0" not in name:
        beside = Path(os.path.normpath(file.parent / name.replace("\\", "/")))
        key = str(beside)
        if first_of.setdefault(key, file) != file:
            message = (
                f"an image must have one file, but {first_of[key]} is of {name} too. Their boxes "
                f"were put together."
            )
            collector.note(whole_file_finding("repeated_image", "accepted", str(file), message))
    else:
        name = plain_path(file).stem
        message = f"a file must name its image as imagePath, got none. The image is called {name}."
        collector.note(whole_file_finding("image_without_name", "accepted", str(file), message))
    wh_px = size_wh_px(found.image_width, found.image_height)
    if not math.isfinite(sum(wh_px)):
        size = None if beside is None else read_image_size_wh(beside)
        size = size or _size_of_data(found.image_data)
        wh_px = (math.nan, math.nan) if size is None else size
    elif isinstance(found.image_width, str) or isinstance(found.image_height, str):
        message = (
            f"the size of an image must be numbers, got the text {found.image_width!r} x "
            f"{found.image_height!r}. Read as numbers."
        )
        collector.note(whole_file_finding("image_size_as_text", "repaired", str(file), message))
    return collector.image(key, name, wh_px), wh_px


def _size_of_data(data: msgspec.Raw) -> tuple[int, int] | None:
    """Return the size of the image that a file holds as text, None where there is none."""
    text = bytes(memoryview(data)).strip(b'" \t\r\n')
    if not text or text == b"null":
        return None
    try:
        return read_image_size_wh(io.BytesIO(base64.b64decode(text)))
    except ValueError:
        return None


def _collect(
    shape: Any, image: int, position: int, number: int, groups: Groups, collector: Collector
) -> tuple[int, bool]:
    """Add a shape and return its row and whether it is a box with a label."""
    if not isinstance(shape, Shape):
        class_row = collector.class_of(_NO_LABEL, is_named=False)
        row = collector.box(None, image, class_row, position, number)
        message = "a shape must be an object, got {0}."
        collector.mark("box_missing", "unusable", message, row, shown_number(shape))
        return row, False
    label = plain_label(shape.label)
    class_row = collector.class_of(label or _NO_LABEL, is_named=bool(label))
    kind = "polygon" if shape.shape_type is None else shape.shape_type
    box, fault = box_of_shape(kind, shape)
    row = collector.box(box, image, class_row, position, number)
    if fault is not None:
        fault.mark(collector, row)
    if not label:
        message = "a shape must have a label, got none."
        collector.mark("unknown_category", "orphan", message, row)
    group = plain_id(shape.group_id)
    if group is not None and box is not None and kind in _OUTLINES:
        groups.add((image, class_row, group), row)
    return row, bool(label) and box is not None


def box_of_shape(kind: Any, shape: Shape) -> tuple[list[float] | None, ShapeFault | None]:
    """Return left, top, right, bottom of a shape, and what is odd about it."""
    if not isinstance(kind, str) or kind not in _KNOWN:
        message = f"the type of a shape must be one of {', '.join(_KNOWN)}, got {{0}}."
        return None, ShapeFault("unknown_shape", "unusable", message, shown_number(kind))
    if kind in _NO_AREAS:
        return None, no_area(_NO_AREAS[kind])
    xy, fault = read_points(shape.points)
    if not xy:
        return None, fault
    if kind == "rectangle":
        # X-AnyLabeling writes all four corners.
        return _counted(kind, xy, len(xy) in (2, 4), "two or four", fault)
    if kind == "circle":
        box, fault = _counted(kind, xy, len(xy) == 2, "two", fault)
        if box is None:
            return None, fault
        (cx, cy), on_rim = xy
        radius = math.dist((cx, cy), on_rim)
        return around_ellipse(cx, cy, radius, radius), fault
    if kind == "mask":
        box, fault = _counted(kind, xy, len(xy) == 2, "two", fault)
        return None if box is None else _box_of_mask(box, shape.mask), fault
    return _counted(kind, xy, len(xy) >= 3, "three or more", fault)


def _counted(
    kind: str, xy: Sequence[Point], is_sound: bool, needed: str, fault: ShapeFault | None
) -> tuple[list[float] | None, ShapeFault | None]:
    """Return the box around the points, or the fault that there are not as many as needed."""
    if is_sound:
        return around_points(xy), fault
    message = f"a {kind} must have {needed} points, got {{0}}."
    return None, ShapeFault("wrong_number_of_points", "unusable", message, str(len(xy)))


def _box_of_mask(corners: list[float], mask: msgspec.Raw) -> list[float]:
    """Return the box of a mask: a picture laid on the image at its first corner.

    The second corner of most masks names the last pixel and not the edge, but the picture tells.
    """
    text = bytes(memoryview(mask)[: _HEAD_OF_MASK_CHARACTERS + 1]).lstrip(b'"')
    left, top, right, bottom = corners
    try:
        head = base64.b64decode(text[:_HEAD_OF_MASK_CHARACTERS])
    except ValueError:
        head = b""
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 24:
        left, top = float(round(left)), float(round(top))
        right = left + int.from_bytes(head[16:20], "big")
        bottom = top + int.from_bytes(head[20:24], "big")
    elif all(side.is_integer() for side in map(float, corners)):
        right, bottom = right + 1, bottom + 1
    return [left, top, right, bottom]
