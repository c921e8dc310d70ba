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


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path
