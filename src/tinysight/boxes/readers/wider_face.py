"""WIDER FACE text: the path of an image, the number of its faces, then a row for each.

Source:
    Yang et al. 2016, WIDER FACE (arXiv:1511.06523), wider_face_split/readme.txt: x1, y1, w, h,
    blur, expression, illumination, invalid, occlusion, pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import whole_file_finding
from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.file_bytes import read_annotation_bytes
from tinysight.boxes.records import RawBoxes, ReadOptions

_CLASS = "face"


def read_wider_face(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a WIDER FACE ground truth file.

    The format has no image sizes. An image without faces has the count 0 and one row of zeros.

    Args:
        paths: The one file.
        options: Not used here; sizes are filled in later.
    """
    (path,) = paths
    text = bytes(read_annotation_bytes(path)).decode("utf-8", errors="replace")
    lines = text.split("\n")
    collector = Collector(paths)
    class_row = collector.class_of(_CLASS)
    image, expected, seen = -1, 0, 0

    def close(line: int) -> None:
        if image >= 0 and seen != expected:
            must = f"an image must have as many rows as it says, {expected:,}, got {seen:,}"
            if expected < 0:
                must = "an image must state how many faces follow, got none"
            message = f"before line {line:,}: {must}. All rows were read."
            collector.note(whole_file_finding("wrong_row_count", "repaired", str(path), message))

    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            continue
        values = [as_number(field) for field in fields]
        if len(fields) == 1 and values[0] is not None and image >= 0 and expected < 0:
            expected = max(0, int(values[0])) if abs(values[0]) < 1e9 else 0
            continue
        if values[0] is None and (len(fields) < 4 or "/" in line or "." in fields[0]):
            close(number)
            image = collector.image(line.strip(), line.strip())
            expected, seen = -1, 0
            continue
        if image < 0:
            image = collector.image("", "(no image)", is_named=False)
        is_filler = expected == 0 and seen == 0 and not any(values)
        if is_filler:
            continue
        seen += 1
        box: list[object] = [
            field if value is None else value for field, value in zip(fields, values, strict=True)
        ]
        collector.box(box[:4], image, class_row, number)
    close(len(lines))
    return collector.raw_boxes("wider-face", "line {position}", BoxOrder("xywh"))
