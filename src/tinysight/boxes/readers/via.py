"""VGG Image Annotator json, version 1 and 2: regions with shapes and attributes by image.

Source:
    Dutta & Zisserman 2019, The VIA Annotation Software (arXiv:1904.10699).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import position_inside
from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.json_text import load_json, shown_number
from tinysight.boxes.readers.outlines import around_ellipse, around_points, no_area
from tinysight.boxes.readers.record_notes import RecordNotes
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.errors import DataError

_NO_CLASS = "(no class)"
_NO_AREAS = {"point": "a point", "polyline": "a polyline"}
_CLASS_NAMES = ("class", "label", "category", "type")


def read_via(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a VIA project or its exported annotations.

    The format states no image sizes. Outlines, circles and ellipses give the box around them.

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
    entries = list(image_entries(root).values())
    if not any("regions" in entry for entry in entries):
        raise DataError(
            f"{path}: must have images with `regions`, but has none. Check that this is a VGG "
            f"Image Annotator file, or name its format with --format."
        )
    collector = Collector(paths)
    for note in mendings:
        collector.note(note)
    notes = RecordNotes(path, "images[{position}]")
    attribute = class_attribute(entries)
    for number, entry in enumerate(entries):
        name = entry.get("filename")
        if isinstance(name, str) and name:
            image = collector.image(number, name)
        else:
            message = "an image must have a filename, got none."
            notes.add("image_without_name", "accepted", message, number)
            image = collector.image(number, f"(image {number})", is_named=False)
        if entry.get("regions") is None:
            message = "an image must have regions, if only an empty list, got none. It has no box."
            notes.add("image_without_regions", "accepted", message, number)
        for place, region in enumerate(regions_of(entry)):
            _collect(region, attribute, image, position_inside(number, place), collector)
    for note in notes.groups():
        collector.note(note)
    return collector.raw_boxes("via", "images[{owner}].regions[{position}]", BoxOrder("xywh"))


def image_entries(root: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the entries of images of a file by their keys."""
    found = root.get("_via_img_metadata", root)
    return {
        key: entry
        for key, entry in (found.items() if isinstance(found, dict) else ())
        if isinstance(entry, dict) and ("regions" in entry or "filename" in entry)
    }


def regions_of(entry: Mapping[str, Any]) -> list[Any]:
    """Return the regions of an image, which version 1 has as an object; what is neither is one."""
    regions = entry.get("regions")
    if isinstance(regions, dict):
        return list(regions.values())
    return regions if isinstance(regions, list) else [] if regions is None else [regions]


def class_attribute(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the attribute of regions that names the class, empty where they have none.

    One called so, such as ``label``, if half as many regions have it as the commonest; or else the
    commonest, and of several that are as common the one of the fewest values.
    """
    values: dict[str, list[str]] = {}
    for entry in entries:
        for region in regions_of(entry):
            for key in _attributes_of(region):
                if labels := _labels_of(region, key):
                    values.setdefault(key, []).append(labels[0])
    most = max(map(len, values.values()), default=0)

    def rank(key: str) -> tuple[bool, int, int]:
        count = len(values[key])
        is_called_so = key.strip().lower() in _CLASS_NAMES and 2 * count >= most
        return is_called_so, count, -len(set(values[key]))

    return max(values, key=rank, default="")


def _attributes_of(region: Any) -> dict[str, Any]:
    attributes = region.get("region_attributes") if isinstance(region, dict) else None
    return attributes if isinstance(attributes, dict) else {}


def _labels_of(region: Any, attribute: str) -> list[str]:
    """Return what a region has as an attribute: a text, or the check boxes that are set."""
    value = _attributes_of(region).get(attribute)
    if isinstance(value, dict):  # {"dog": true}
        return [key.strip() for key, is_set in value.items() if is_set and key.strip()]
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
        return [str(value).strip()]
    return []


def _collect(region: Any, attribute: str, image: int, position: int, collector: Collector) -> None:
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    labels = _labels_of(region, attribute)
    class_row = collector.class_of(labels[0] if labels else _NO_CLASS, is_named=bool(labels))
    if not isinstance(shape, dict):
        row = collector.box(None, image, class_row, position)
        message = "a region must have shape_attributes, got {0}."
        shown = shown_number(region if shape is None else shape)
        collector.mark("box_missing", "unusable", message, row, shown)
        return
    row = collector.box(_box_around(shape), image, class_row, position)
    kind = shape.get("name")
    if isinstance(kind, str) and kind in _NO_AREAS:
        no_area(_NO_AREAS[kind], of="a region").mark(collector, row)
    elif not labels:
        message = "a region must have a class among its attributes, got none."
        collector.mark("unknown_category", "harmless", message, row)
    elif len(labels) > 1:
        message = "a region must have one class, got {0}. The first is used."
        collector.mark("several_classes", "harmless", message, row, ", ".join(labels))


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
            turn_deg = math.nan if turn_rad is None else math.degrees(turn_rad)
            if math.isfinite(turn_deg):
                return _as_xywh(around_ellipse(cx, cy, rx, ry, turn_deg))
        return [None] * 4
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
