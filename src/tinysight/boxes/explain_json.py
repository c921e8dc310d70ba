"""The schema of a json file, shown on its own first records."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tinysight.boxes.explanation import RecordNote, field_notes, shorten
from tinysight.boxes.readers.createml import IMAGE_KEYS, LIST_KEYS, first_value
from tinysight.boxes.readers.json_text import NOT_A_NUMBER, load_json, shown_number
from tinysight.boxes.readers.via import class_attribute, image_entries, regions_of
from tinysight.errors import DataError

_FIRST_BYTES = 2**20
_SHOWN_BYTES = 400
_NO_NUMBER = re.compile(f'"({NOT_A_NUMBER}[^"]*)"')
_BREAK = re.compile(r"\s*\n\s*")
_BREAK_AT_BRACKET = re.compile(r"(?<=[\[{])\s*\n\s*|\s*\n\s*(?=[\]}])")

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
    "name": "the shape: rect, polygon, circle, ellipse; or point, polyline, which give no box",
    "x": "left edge of the rectangle in pixels",
    "y": "top edge of the rectangle in pixels",
    "width": "width of the rectangle in pixels",
    "height": "height of the rectangle in pixels",
    "all_points_x": "x of each point of the outline; the box goes around them",
    "all_points_y": "y of each point of the outline",
    "cx": "x of the centre",
    "cy": "y of the centre",
    "r": "radius",
    "rx": "radius along x, before the ellipse is turned",
    "ry": "radius along y, before the ellipse is turned",
    "theta": "by how many radians the ellipse is turned about its centre; the box goes around that",
}


_LABELME = {
    "version": "the version of the program that wrote the file; not needed",
    "flags": "marks of the image as a whole",
    "shapes": "the shapes drawn on the image",
    "imagePath": "the image file, as seen from the folder of this file",
    "imageData": "the image itself as text, or null; at most its size is read",
    "imageHeight": "height of the image in pixels",
    "imageWidth": "width of the image in pixels",
}
_LABELME_USED = frozenset(_LABELME) - {"version", "flags"}
_LABELME_SHAPE = {
    "label": "the class of what is in the shape",
    "points": "x, y of its points in pixels: corners of a rectangle or mask, the outline of a "
    "polygon, the centre and a point on the rim of a circle",
    "shape_type": "what the points mean; lines and points have no area and give no box",
    "group_id": "shapes with one number belong together; each gives a box of its own",
    "mask": "the mask as a picture; only its size is read",
    "description": "a remark",
    "flags": "marks of this shape",
}
_LABELME_SHAPE_USED = frozenset({"label", "points", "shape_type", "group_id", "mask"})
_CREATEML_IMAGE = {
    **dict.fromkeys(IMAGE_KEYS, "the image file"),
    **dict.fromkeys(LIST_KEYS, "list of the boxes on the image"),
}
_CREATEML_BOX = {
    "label": "the class of what is in the box",
    "coordinates": "the box: x and y of its centre, its width and its height, in pixels",
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
    entries = image_entries(root)
    attribute = class_attribute(list(entries.values()))
    layout = (
        "The file is one JSON object with an entry for each image; an entry lists its regions, "
        "each a shape with attributes. It has no image sizes: pass --images DIR.",
    )
    notes = []
    for key, entry in entries.items():
        if not regions_of(entry):
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
        region = regions_of(entry)[0]
        if isinstance(region, dict):
            shape, attributes = region.get("shape_attributes"), region.get("region_attributes")
            if isinstance(shape, dict):
                fields = field_notes(_as_json(shape), _VIA_REGION, frozenset(_VIA_REGION))
                notes.append(RecordNote("its first region: shape_attributes", fields))
            if isinstance(attributes, dict):
                told = dict.fromkeys(attributes, "another attribute of the region")
                told[attribute] = "the class of what is in the region"
                fields = field_notes(_as_json(attributes), told, frozenset({attribute}))
                notes.append(RecordNote("its first region: region_attributes", fields))
        break
    return layout, tuple(notes)


def labelme_records(files: Sequence[str]) -> tuple[tuple[str, ...], tuple[RecordNote, ...]]:
    """Return how a LabelMe file is built, and the first file and shape."""
    layout = (
        "Each image has a file of its own: one JSON object with the name and size of the image and "
        "the list of its shapes.",
    )
    notes: tuple[RecordNote, ...] = ()
    for name in files:
        try:
            top, _ = load_json(Path(name), (dict[str, msgspec.Raw],))
        except DataError:  # one bad file of a tree is a finding of the reading
            continue
        fields = field_notes(_beginnings(top), _LABELME, _LABELME_USED)
        file_note = RecordNote(f"file {Path(name).name}", fields)
        first = _first_raw(top["shapes"]) if "shapes" in top else None
        if first is not None:
            fields = field_notes(_beginnings(first), _LABELME_SHAPE, _LABELME_SHAPE_USED)
            return layout, (file_note, RecordNote("its first shape: shapes[0]", fields))
        notes = notes or (file_note,)
    return layout, notes


def createml_records(path: Path) -> tuple[tuple[str, ...], tuple[RecordNote, ...]]:
    """Return how a Create ML file is built, and its first image with a box and that box."""
    layout = (
        "The file is a list of images; each has a list of annotations, each with a label and a "
        "box. It has no image sizes: pass --images DIR.",
    )
    root, _ = load_json(path, (list[Any],))
    notes: tuple[RecordNote, ...] = ()
    for number, entry in enumerate(root):
        if not isinstance(entry, dict):
            continue
        fields = field_notes(_as_json(entry), _CREATEML_IMAGE, frozenset(_CREATEML_IMAGE))
        image_note = RecordNote(f"images[{number}]", fields)
        found = first_value(entry, LIST_KEYS)
        first = found[0] if isinstance(found, list) and found else None
        if isinstance(first, dict):
            fields = field_notes(_as_json(first), _CREATEML_BOX, frozenset(_CREATEML_BOX))
            return layout, (image_note, RecordNote("its first annotation", fields))
        notes = notes or (image_note,)
    return layout, notes


def _first_raw(raw: msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    """Return the first item of a list that is an object, without parsing the others."""
    try:
        items = msgspec.json.decode(raw, type=list[msgspec.Raw])
        return msgspec.json.decode(items[0], type=dict[str, msgspec.Raw]) if items else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _beginnings(record: Mapping[str, msgspec.Raw]) -> dict[str, str]:
    """Return each value as the file writes it, of long ones such as pictures the beginning."""
    return {
        key: _as_in_file(
            _on_one_line(bytes(memoryview(raw)[:_SHOWN_BYTES]).decode(errors="replace"))
        )
        for key, raw in record.items()
    }


def _on_one_line(text: str) -> str:
    """Return JSON without its line breaks and what they are indented by, which no text has."""
    return _BREAK.sub(" ", _BREAK_AT_BRACKET.sub("", text))


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
    return {
        key: _as_in_file(json.dumps(value, ensure_ascii=False)) for key, value in record.items()
    }


def _as_in_file(text: str) -> str:
    """Return JSON with NaN and the infinities where strings stand for them since it was read."""
    return _NO_NUMBER.sub(lambda found: shown_number(found[1]), text)
