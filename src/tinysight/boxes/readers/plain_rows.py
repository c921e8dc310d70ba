"""Rows such as ``id: 0, height: 330, width: 1093, bbox:[69, 464, 312, 175],``.

The id is a class; every row has its own image size, and as no image is named it stands for one of
its own. Nothing says in which order the four numbers are, so the order is measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinysight.boxes.readers.box_numbers import as_number, box_columns
from tinysight.boxes.readers.file_bytes import read_annotation_bytes
from tinysight.boxes.readers.ids import plain_id
from tinysight.boxes.records import Mark, RawBoxes, ReadOptions

_BOX = re.compile(r"bbox\s*[:=]\s*\[([^\[\]]*)\]", re.IGNORECASE)
_FIELD = re.compile(r"\b(id|height|width)\s*[:=]\s*([^,\s\[\]]+)", re.IGNORECASE)


def read_plain_rows(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a text file of one box a line.

    Args:
        paths: The one file.
        options: Not used; every row states the size of its image.
    """
    (path,) = paths
    text = bytes(read_annotation_bytes(path)).decode("utf-8", errors="replace")
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip(" \t\r,")]
    boxes: list[object] = []
    sizes: list[tuple[float, float]] = []
    classes: dict[int | str, int] = {}
    class_rows: list[int] = []
    sizeless: list[int] = []
    for row, (_, line) in enumerate(lines):
        box = _BOX.search(line)
        boxes.append(None if box is None else _items(box[1]))
        fields = {name.lower(): value for name, value in _FIELD.findall(line)}
        width, height = (as_number(fields.get(side)) for side in ("width", "height"))
        if width is None or height is None or not (0 < width < 1e9 and 0 < height < 1e9):
            sizeless.append(row)
            width = height = np.nan
        sizes.append((width, height))
        key = plain_id(fields.get("id", ""))
        class_rows.append(classes.setdefault("" if key is None else key, len(classes)))
    numbers, marks = box_columns(boxes)
    if sizeless:
        message = "a row must have a height and a width > 0; its box was not checked against them."
        marks.append(Mark("no_image_size", "harmless", message, np.array(sizeless, np.int64)))
    # Classes by ascending id, as everyone else numbers them.
    order = sorted(classes, key=lambda key: (isinstance(key, str), key))
    rank = np.argsort([classes[key] for key in order]) if order else np.zeros(0, np.int64)
    num_rows = len(lines)
    image_names = tuple(f"line {number}" for number, _ in lines)
    return RawBoxes(
        format="plain-rows",
        files=(str(path),),
        file_index=np.zeros(num_rows, np.int32),
        positions=np.array([number for number, _ in lines], np.int64),
        record_format="line {position}",
        ids=None,
        numbers=numbers,
        declared=None,
        is_first_pixel_open=False,
        image_index=np.arange(num_rows, dtype=np.int32),
        class_index=rank[np.array(class_rows, np.int64)].astype(np.int32),
        is_crowd=np.zeros(num_rows, np.bool_),
        image_names=image_names,
        image_wh_px=np.array(sizes, np.float64).reshape(-1, 2),
        class_names=tuple(str(key) for key in order),
        category_ids=tuple(order),
        is_image_listed=np.ones(num_rows, np.bool_),
        is_class_listed=np.ones(len(order), np.bool_),
        marks=tuple(marks),
        made_up_names=frozenset(image_names),
        are_images_named=False,
    )


def row_fields(line: str) -> dict[str, str]:
    """Return the fields of one row as texts: id, height, width and bbox."""
    fields = {name.lower(): value for name, value in _FIELD.findall(line)}
    box = _BOX.search(line)
    return fields if box is None else {**fields, "bbox": f"[{box[1]}]"}


def _items(text: str) -> list[object]:
    """Return what stands between the brackets: numbers where they are, text otherwise."""
    items = [item.strip() for item in text.split(",")]
    return [item if (number := as_number(item)) is None else number for item in items]
