"""Rows such as ``id: 0, height: 330, width: 1093, bbox:[69, 464, 312, 175],``.

The id is a class; every row has its own image size, and as no image is named it stands for one of
its own. Nothing says in which order the four numbers are, so the order is measured.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinysight.boxes.readers.box_numbers import as_number, box_columns, size_wh_px
from tinysight.boxes.readers.file_bytes import read_annotation_bytes
from tinysight.boxes.readers.ids import plain_id
from tinysight.boxes.records import Mark, RawBoxes, ReadOptions

_NO_CLASS = "(no class)"
_BOX = re.compile(r"bbox\s*[:=]\s*\[([^\[\]]*)\]", re.IGNORECASE)
_FIELD = re.compile(r"\b(id|height|width)\s*[:=]\s*([^,\s\[\]]+)", re.IGNORECASE)


def read_plain_rows(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a text file of one box a line, or of several.

    Args:
        paths: The one file.
        options: Not used; every row states the size of its image.
    """
    (path,) = paths
    text = bytes(read_annotation_bytes(path)).decode("utf-8", errors="replace")
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip(" \t\r,")]
    rows = [(number, *record) for number, line in lines for record in _records(line)]
    boxes = [None if box is None else _items(box) for _, _, box in rows]
    sizes = [size_wh_px(fields.get("width"), fields.get("height")) for _, fields, _ in rows]
    keys = [plain_id(fields.get("id")) for _, fields, _ in rows]
    classes: dict[int | str, int] = {}
    class_rows = [classes.setdefault(_NO_CLASS if k is None else k, len(classes)) for k in keys]
    numbers, marks = box_columns(boxes)
    sizeless = np.flatnonzero(np.isnan(np.array(sizes, np.float64).reshape(-1, 2)).any(axis=1))
    if len(sizeless):
        message = "a row must have a height and a width > 0; its box was not checked against them."
        marks.append(Mark("no_image_size", "harmless", message, sizeless))
    nameless = np.flatnonzero([key is None for key in keys])
    if len(nameless):
        message = "a row must have an id, which is the class of its box, got none."
        marks.append(Mark("unknown_category", "harmless", message, nameless))
    # Classes by ascending id, as everyone else numbers them.
    order = sorted(classes, key=lambda key: (isinstance(key, str), key))
    rank = np.argsort([classes[key] for key in order]) if order else np.zeros(0, np.int64)
    num_rows = len(rows)
    image_names = tuple(f"line {number}" for number, _, _ in rows)
    return RawBoxes(
        format="plain-rows",
        files=(str(path),),
        file_index=np.zeros(num_rows, np.int32),
        positions=np.array([number for number, _, _ in rows], np.int64),
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
    """Return the fields of the first row of a line as texts: id, height, width and bbox."""
    fields, box = _records(line)[0]
    return fields if box is None else {**fields, "bbox": f"[{box}]"}


def _records(line: str) -> list[tuple[dict[str, str], str | None]]:
    """Return the fields and the box of each row of a line, which has one as a rule.

    A row of several ends with its box, or begins with it where the line does; what it does not
    state, such as the size, is as in the row before.
    """
    boxes = list(_BOX.finditer(line))
    begins_with_box = bool(boxes) and not _FIELD.search(line, 0, boxes[0].start())
    cuts = [box.start() for box in boxes[1:]] if begins_with_box else [b.end() for b in boxes[:-1]]
    parts = [line[begin:end] for begin, end in zip([0, *cuts], [*cuts, None], strict=True)]
    fields: dict[str, str] = {}
    records = []
    texts = [box[1] for box in boxes] or [None]
    for part, text in zip(parts, texts, strict=True):
        fields = {**fields, **{name.lower(): value for name, value in _FIELD.findall(part)}}
        records.append((fields, text))
    return records


def _items(text: str) -> list[object]:
    """Return what stands between the brackets: numbers where they are, text otherwise."""
    items = [item.strip() for item in text.split(",")]
    return [item if (number := as_number(item)) is None else number for item in items]
