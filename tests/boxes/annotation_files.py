"""Annotation files for tests: sound ones, and what to change to make them messy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def make_coco(**over: Any) -> Record:
    """Two images of 100 x 80 pixels, five boxes that lie in them, two classes."""
    boxes = [
        [10, 20, 30, 40],
        [0, 0, 100, 80],
        [50.5, 10.25, 20, 30],
        [60, 5, 39, 70],
        [1, 2, 3, 4],
    ]
    coco: Record = {
        "images": [
            {"id": 7, "width": 100, "height": 80, "file_name": "a.jpg"},
            {"id": 9, "width": 100, "height": 80, "file_name": "b.jpg"},
        ],
        "annotations": [
            {"id": 100 + i, "image_id": 7 if i < 3 else 9, "category_id": 1 + i % 2, "bbox": box}
            for i, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    return {**coco, **over}


def make_labelme_shape(
    kind: str | None, points: Any, label: Any = "dog", **over: Any
) -> dict[str, Any]:
    """One shape as LabelMe writes it."""
    return {
        "label": label,
        "points": points,
        "group_id": None,
        "description": "",
        "shape_type": kind,
        "flags": {},
        "mask": None,
        **over,
    }


def make_labelme(shapes: Any = ..., **over: Any) -> Record:
    """A LabelMe file of an image of 100 x 80 pixels, with one rectangle or the given shapes."""
    if shapes is ...:
        shapes = [make_labelme_shape("rectangle", [[10, 20], [40, 60]])]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 80,
        "imageWidth": 100,
        **over,
    }


def make_cvat(body: str, meta: str = "") -> str:
    """A CVAT file with a task of two labels, one line an element as CVAT writes it."""
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("dog", "cat"))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        f"<meta><task><id>4</id><labels>{labels}</labels>{meta}</task></meta>\n"
        f"{body}\n</annotations>\n"
    )


def make_createml(**over: Any) -> list[Record]:
    """A Create ML file of two images, one without boxes."""
    box = {"x": 25, "y": 40, "width": 30, "height": 40}
    first = {"image": "a.jpg", "annotations": [{"label": "dog", "coordinates": box}], **over}
    return [first, {"image": "b.jpg", "annotations": []}]


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path
