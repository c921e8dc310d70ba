"""VGG Image Annotator json, version 1 and 2: regions with shapes and attributes by image.

Source:
    Dutta & Zisserman 2019, The VIA Annotation Software (arXiv:1904.10699).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import whole_file_finding
from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.json_text import load_json
from tinysight.boxes.readers.outlines import around_ellipse, around_points, no_area
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.errors import DataError

_NO_CLASS = "(no class)"


def read_via(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a VIA project or its exported annotations.

    The format states no image sizes. Shapes other than rectangles give the box around them.

    Args:
        paths: The one file.
        options: Not used here; sizes are filled in later.

    Raises:
        DataError: The file is not JSON, or no VIA file.
    """
    (path,) = paths
    root, mendings = load_json(path, (dict[str, Any],))
    found = root.get("_via_img_metadata", root)
    if not isinstance(found, dict):
        raise DataError(
            f"{path}: _via_img_metadata must be an object, got {type(found).__name__}. "
            f"Export the annotations again."
        )
    entries = [value for value in found.values() if isinstance(value, dict) and "regions" in value]
    if not entries:
        raise DataError(
            f"{path}: must have images with `regions`, but has none. Check that this is a VGG "
            f"Image Annotator file, or name its format with --format."
        )
    collector = Collector(paths)
    for note in mendings:
        collector.note(note)
    attribute = _class_attribute(entries)
    position = 0
    for number, entry in enumerate(entries):
        name = entry.get("filename")
        is_named = True
        if not isinstance(name, str) or not name:
            is_named = False
            message = f"images[{number}]: an image must have a filename, got none."
            collector.note(whole_file_finding("image_without_name", "accepted", str(path), message))
            name = f"(image {number})"
        image = collector.image(number, name, is_named=is_named)
        regions = entry["regions"]
        if isinstance(regions, dict):  # version 1
            regions = list(regions.values())
        for region in regions if isinstance(regions, list) else [regions]:
            _collect(region, attribute, image, position, collector)
            position += 1
    return collector.raw_boxes("via", "regions[{position}]", BoxOrder("xywh"))


def _collect(region: Any, attribute: str, image: int, position: int, collector: Collector) -> None:
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    label = _label_of(attributes, attribute)
    class_row = collector.class_of(label or _NO_CLASS)
    if not isinstance(shape, dict):
        row = collector.box(None, image, class_row, position)
        message = "a region must have shape_attributes, got none."
        collector.mark("box_missing", "unusable", message, row)
        return
    row = collector.box(_box_around(shape), image, class_row, position)
    if shape.get("name") == "point":
        no_area("a point", of="a region").mark(collector, row)
    if label is None:
        message = "a region must have a class among its attributes, got none{0}."
        collector.mark("unknown_category", "harmless", message, row)


def _box_around(shape: dict[str, Any]) -> object:
    """Return x, y, width, height as the file has them, or around a shape that is no rectangle."""
    if "all_points_x" in shape or "all_points_y" in shape:
        xs, ys = (_numbers(shape.get(f"all_points_{axis}")) for axis in "xy")
        if not xs or not ys or len(xs) != len(ys):
            return None
        return _as_xywh(around_points(zip(xs, ys, strict=True)))
    if "cx" in shape and "cy" in shape:
        radii = (shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r")))
        numbers = (shape["cx"], shape["cy"], *radii, shape.get("theta", 0))
        cx, cy, rx, ry, turn_rad = map(as_number, numbers)
        if cx is not None and cy is not None and rx is not None and ry is not None:
            if turn_rad is not None and math.isfinite(turn_rad):
                return _as_xywh(around_ellipse(cx, cy, rx, ry, math.degrees(turn_rad)))
        return [None] if shape.get("name") == "point" else [None] * 4
    return [shape.get(key) for key in ("x", "y", "width", "height")]


def _as_xywh(corners: Sequence[float]) -> list[float]:
    left, top, right, bottom = corners
    return [left, top, right - left, bottom - top]


def _numbers(values: object) -> list[float] | None:
    if not isinstance(values, list):
        return None
    numbers = [as_number(value) for value in values]
    sound = [n for n in numbers if n is not None and math.isfinite(n)]
    return sound if len(sound) == len(numbers) else None


def _class_attribute(entries: Sequence[dict[str, Any]]) -> str:
    """Return the attribute that names the class: the one that most regions have."""
    counts: Counter[str] = Counter()
    for entry in entries:
        regions = entry["regions"]
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        for region in regions if isinstance(regions, list) else ():
            attributes = region.get("region_attributes") if isinstance(region, dict) else None
            if isinstance(attributes, dict):
                counts.update(key for key in attributes if _label_of(attributes, key))
    return counts.most_common(1)[0][0] if counts else ""


def _label_of(attributes: object, attribute: str) -> str | None:
    value = attributes.get(attribute) if isinstance(attributes, dict) else None
    if isinstance(value, dict):  # check boxes: {"dog": true}
        value = next((key for key, is_set in value.items() if is_set), None)
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return str(value).strip()
    return None
