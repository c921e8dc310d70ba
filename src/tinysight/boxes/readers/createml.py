"""Create ML json: a list of images, each with annotations of a label and a box.

Source:
    https://developer.apple.com/documentation/createml/building-an-object-detector-data-source
    names the keys ``imagefilename`` and ``annotation``; nearly all files in use, those of labelImg
    and Roboflow among them, have ``image`` and ``annotations``. x and y are the centre of the box
    and count pixels from the top left corner, unless the program that trains is told otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import position_inside
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.ids import plain_label
from tinysight.boxes.readers.json_text import load_json, shown_number
from tinysight.boxes.readers.record_notes import RecordNotes
from tinysight.boxes.records import RawBoxes, ReadOptions

IMAGE_KEYS = ("image", "imagefilename")
LIST_KEYS = ("annotations", "annotation")
BOX_KEYS = ("x", "y", "width", "height")

_NO_LABEL = "(no label)"


def read_createml(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a file of annotations for Create ML.

    The format states no image sizes.

    Args:
        paths: The one file.
        options: Not used here; sizes are filled in later.

    Raises:
        DataError: The file is not JSON, or no list.
    """
    (path,) = paths
    root, mendings = load_json(path, (list[Any],))
    collector = Collector(paths)
    for note in mendings:
        collector.note(note)
    notes = RecordNotes(path, "images[{position}]")
    first_of: dict[str, int] = {}
    for number, entry in enumerate(root):
        name = first_value(entry, IMAGE_KEYS)
        if isinstance(name, str) and name:
            if first_of.setdefault(name, number) != number:
                message = "an image must be listed once, but {0} too is of it. Put together."
                notes.add(
                    "repeated_image", "accepted", message, number, f"images[{first_of[name]}]"
                )
            image = collector.image(name, name)
        else:
            if isinstance(entry, dict):
                message = "an image must have a file name as `image`, got {0}."
                notes.add("image_without_name", "accepted", message, number, shown_number(name))
            image = collector.image(number, f"(image {number})", is_named=False)
        for place, annotation in enumerate(_annotations_of(entry)):
            _collect(annotation, image, position_inside(number, place), collector)
    for note in notes.groups():
        collector.note(note)
    return collector.raw_boxes(
        "createml", "images[{owner}].annotations[{position}]", BoxOrder("cxcywh")
    )


def first_value(entry: Any, keys: Sequence[str]) -> Any:
    """Return what an object has under the first of some keys that it has."""
    if not isinstance(entry, dict):
        return None
    return next((entry[key] for key in keys if key in entry), None)


def _annotations_of(entry: Any) -> list[Any]:
    """Return the records of an image; what is not a list of them is one record."""
    if not isinstance(entry, dict):
        return [entry]
    found = first_value(entry, LIST_KEYS)
    if found is None:
        return []
    return found if isinstance(found, list) else [found]


def _collect(annotation: Any, image: int, position: int, collector: Collector) -> None:
    label = plain_label(annotation.get("label")) if isinstance(annotation, dict) else ""
    box = annotation.get("coordinates") if isinstance(annotation, dict) else annotation
    class_row = collector.class_of(label or _NO_LABEL, is_named=bool(label))
    if not isinstance(box, dict):
        row = collector.box(None, image, class_row, position)
        message = "an annotation must have coordinates with x, y, width and height, got {0}."
        collector.mark("box_missing", "unusable", message, row, shown_number(box))
        return
    row = collector.box([box.get(key) for key in BOX_KEYS], image, class_row, position)
    if not label:
        message = "an annotation must have a label, got none."
        collector.mark("unknown_category", "orphan", message, row)
