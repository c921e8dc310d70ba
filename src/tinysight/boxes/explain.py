"""An annotation file explained to somebody who sees the format for the first time."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinysight.boxes.explain_json import (
    coco_records,
    createml_records,
    labelme_records,
    via_records,
)
from tinysight.boxes.explain_text import text_records
from tinysight.boxes.explanation import Explanation
from tinysight.boxes.findings import Reading
from tinysight.boxes.image_sizes import is_image_name
from tinysight.numerals import percent

_NAMES = {
    "coco": "a COCO json file",
    "yolo": "a YOLO set of text files",
    "voc": "a Pascal VOC annotation",
    "csv": "a CSV table",
    "parquet": "a Parquet table",
    "via": "a VGG Image Annotator json file",
    "labelme": "a LabelMe json file",
    "cvat": "a CVAT XML file",
    "createml": "a Create ML json file",
    "wider-face": "a WIDER FACE text file",
    "tiny-imagenet": "the boxes of Tiny ImageNet",
    "plain-rows": "a text file of plain rows",
}
_SHAPE_FORMATS = frozenset({"via", "labelme", "cvat"})
"""Formats of which many boxes are drawn around points, or have a name for each number."""


def explain_annotations(reading: Reading) -> Explanation:
    """Explain the schema of what was read on its own first records.

    Args:
        reading: Of one source.

    Returns:
        Its layout, its first records field by field, the first box in words, and what is odd.
    """
    files = reading.files
    if reading.format == "coco":
        layout, records = coco_records(Path(files[0]))
    elif reading.format == "via":
        layout, records = via_records(Path(files[0]))
    elif reading.format == "labelme":
        layout, records = labelme_records(files)
    elif reading.format == "createml":
        layout, records = createml_records(Path(files[0]))
    else:
        layout, records = text_records(reading.format, files, reading.box_order)
    return Explanation(
        title=f"{files[0]}{_and_more(len(files) - 1)} is {_NAMES[reading.format]}",
        layout=layout,
        records=records,
        in_words=_first_box_in_words(reading),
        odd=tuple(
            f"{count.count:,} x {count.kind} ({count.action}). The first: "
            f"{count.examples[0].record or 'the whole file'}: {count.examples[0].message}"
            for count in reading.findings.by_kind(most_examples=1)
        ),
    )


def _first_box_in_words(reading: Reading) -> str:
    table = reading.table
    if table.num_boxes == 0:
        return ""
    left, top, width, height = table.xywh_px[0].tolist()
    image = int(table.image_index[0])
    image_wh = table.image_wh_px[image]
    name = table.class_names[int(table.class_index[0])]
    where = table.image_names[image]
    if reading.format == "yolo" and not is_image_name(where):
        where = f"the image of {where}.txt"  # which was not there
    words = (
        f"In {where}{_size(image_wh)} there is something of the class {name}. "
        f"Its box begins {left:g} px from the left and {top:g} px from the top edge and is "
        f"{width:g} px wide and {height:g} px high"
    )
    if np.isfinite(image_wh).all():
        words += f": {percent(width * height / float(image_wh.prod()))} of the image"
    if reading.format in _SHAPE_FORMATS:
        return f"{words}."
    return f"{words}. The order of its four numbers is {reading.box_order.describe()}."


def _size(image_wh: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    if not np.isfinite(image_wh).all():
        return " (size not known)"
    return f" ({image_wh[0]:g} x {image_wh[1]:g} px)"


def _and_more(count: int) -> str:
    return f", with {count:,} more," if count else ""
