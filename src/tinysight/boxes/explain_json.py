"""The schema of a COCO or VIA json file, shown on its own first records."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from tinysight.boxes.explanation import RecordNote, field_notes, shorten
from tinysight.boxes.readers.json_text import load_json

_FIRST_BYTES = 2**20

_TOP = {
    "images": "list of the photographs: id, file name, size",
    "annotations": "list of the boxes: each names its image and category by id",
    "categories": "list of the classes: id and name",
    "info": "who made the file and when; not used",
    "licenses": "terms of the photographs; not used",
    "type": "an old mark of the kind of file; not used",
}
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "images": {
        "id": "the number by which annotations name this image",
        "file_name": "the image file",
        "width": "width of the image in pixels",
        "height": "height of the image in pixels",
        "license": "id of one of `licenses`",
        "date_captured": "when the photograph was taken",
        "coco_url": "where COCO serves the photograph",
        "flickr_url": "where the photograph came from",
    },
    "annotations": {
        "id": "the number of this box",
        "image_id": "the `id` of the image the box is in",
        "category_id": "the `id` of the category of what is in the box",
        "bbox": "the box: left, top, width, height in pixels, counted from the top left corner",
        "iscrowd": "1 when the box is around a group that was not told apart",
        "area": "area of the object in square pixels: in its outline, or of its box if it has none",
        "segmentation": "outline of the object: x, y, x, y, … of its polygons, or a mask",
        "keypoints": "x, y, visibility of each joint of a person",
        "num_keypoints": "how many joints are marked",
        "score": "how sure a detector is of this box",
    },
    "categories": {
        "id": "the number by which annotations name this category",
        "name": "the name of the class",
        "supercategory": "a wider class that this one belongs to",
    },
}
_USED = {
    "images": frozenset({"id", "file_name", "width", "height"}),
    "annotations": frozenset({"id", "image_id", "category_id", "bbox", "iscrowd"}),
    "categories": frozenset({"id", "name"}),
}
_VIA_REGION = {
    "name": "the shape: rect, polygon, circle, ellipse, point",
    "x": "left edge of the rectangle in pixels",
    "y": "top edge of the rectangle in pixels",
    "width": "width of the rectangle in pixels",
    "height": "height of the rectangle in pixels",
    "all_points_x": "x of each point of the outline; the box goes around them",
    "all_points_y": "y of each point of the outline",
    "cx": "x of the centre",
    "cy": "y of the centre",
    "r": "radius",
    "rx": "radius along x",
    "ry": "radius along y",
}


def coco_records(path: Path) -> tuple[tuple[str, ...], tuple[RecordNote, ...]]:
    """Return how a COCO file is built, and its first image, annotation and category."""
    top, _ = load_json(path, (dict[str, msgspec.Raw], list[msgspec.Raw]))
    if isinstance(top, list):
        layout: tuple[str, ...] = ("The file is a bare list of annotations, without images.",)
        first = _parsed(bytes(memoryview(top[0])[:_FIRST_BYTES])) if top else None
        found = {"annotations": first} if isinstance(first, dict) else {}
    else:
        layout = (
            "The file is one JSON object. Its lists refer to one another by ids:",
            *(f"{name}: {_TOP.get(name, 'an extra; not used')}" for name in top),
        )
        found = {}
        for name in ("images", "annotations", "categories"):
            first = _first_item(top[name]) if name in top else None
            if isinstance(first, dict):
                found[name] = first
    return layout, tuple(
        RecordNote(f"{name}[0]", field_notes(_as_json(first), _FIELDS[name], _USED[name]))
        for name, first in found.items()
    )


def via_records(path: Path) -> tuple[tuple[str, ...], tuple[RecordNote, ...]]:
    """Return how a VIA file is built, and its first image and region."""
    root, _ = load_json(path, (dict[str, Any],))
    entries = root.get("_via_img_metadata", root)
    layout = (
        "The file is one JSON object with an entry for each image; an entry lists its regions, "
        "each a shape with attributes. It has no image sizes: pass --images DIR.",
    )
    notes = []
    for key, entry in entries.items() if isinstance(entries, dict) else ():
        if not isinstance(entry, dict) or not entry.get("regions"):
            continue
        meanings = {
            "filename": "the image file",
            "size": "bytes of the image file; not its width or height",
            "regions": "the shapes drawn on the image",
            "file_attributes": "attributes of the image as a whole",
        }
        used = frozenset({"filename", "regions"})
        notes.append(
            RecordNote(f"image {shorten(key)}", field_notes(_as_json(entry), meanings, used))
        )
        regions = entry["regions"]
        listed = list(regions.values()) if isinstance(regions, dict) else regions
        region = listed[0] if isinstance(listed, list) and listed else None
        if isinstance(region, dict):
            shape, attributes = region.get("shape_attributes"), region.get("region_attributes")
            if isinstance(shape, dict):
                fields = field_notes(_as_json(shape), _VIA_REGION, frozenset(_VIA_REGION))
                notes.append(RecordNote("its first region: shape_attributes", fields))
            if isinstance(attributes, dict):
                told = dict.fromkeys(attributes, "an attribute; the commonest one is the class")
                fields = field_notes(_as_json(attributes), told, frozenset(attributes))
                notes.append(RecordNote("its first region: region_attributes", fields))
        break
    return layout, tuple(notes)


def _first_item(raw: msgspec.Raw) -> Any:
    """Return the first item of a JSON list without parsing the others."""
    text = bytes(memoryview(raw)[:_FIRST_BYTES])
    start = text.find(b"[") + 1
    return _parsed(text[start:]) if text.lstrip().startswith(b"[") else None


def _parsed(text: bytes) -> Any:
    try:
        return json.JSONDecoder().raw_decode(text.decode("utf-8", errors="replace").lstrip())[0]
    except (ValueError, RecursionError):  # no item, or one that is longer than what is given
        return None


def _as_json(record: Mapping[str, Any]) -> dict[str, str]:
    """Return each value as the file writes it, so that "7" and 7 differ."""
    return {key: json.dumps(value, ensure_ascii=False) for key, value in record.items()}
