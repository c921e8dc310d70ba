"""Pascal VOC: one XML file an image, with ``size`` and an ``object`` for each box.

Source:
    Everingham et al. 2010, The Pascal Visual Object Classes Challenge; pixels count from 1 and
    xmax, ymax name the last pixel of a box. Many tools write corners from 0 all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.readers.box_numbers import as_number, size_wh_px
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.file_bytes import plain_path
from tinysight.boxes.readers.file_trees import read_tree
from tinysight.boxes.readers.xml_text import parse_xml
from tinysight.boxes.records import RawBoxes, ReadOptions

CORNERS = ("xmin", "ymin", "xmax", "ymax")

_LARGEST_FILE_BYTES = 64 * 2**20


@dataclass
class VocObject:
    """One ``object``: the texts of its fields."""

    name: str = ""
    corners: dict[str, str] = field(default_factory=dict)


@dataclass
class VocFile:
    """The fields of one file that are read, as texts."""

    filename: str = ""
    width: str = ""
    height: str = ""
    objects: list[VocObject] = field(default_factory=list)


def read_voc(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read XML files, and all XML files below folders, as one source.

    A file that cannot be read is a finding, unless none can.

    Args:
        paths: Files and folders.
        options: Not used here; sizes that are missing are filled in later.

    Raises:
        DataError: No file can be read.
    """
    collector = read_tree(paths, (".xml",), "Pascal VOC", _read_file)
    return collector.raw_boxes(
        "voc",
        "object {position}",
        BoxOrder("xyxy", "px", 1, True),
        is_first_pixel_open=True,
    )


def parse_voc(path: Path) -> VocFile:
    """Return the fields of one XML file.

    Raises:
        DataError: It is not sound XML, or no Pascal VOC annotation.
    """
    found = VocFile()

    def start(tags: tuple[str, ...], _: Mapping[str, str], __: int) -> None:
        if tags == ("object",):
            found.objects.append(VocObject())

    def end(tags: tuple[str, ...], value: str) -> None:
        if tags == ("filename",):
            found.filename = value
        elif tags == ("size", "width"):
            found.width = value
        elif tags == ("size", "height"):
            found.height = value
        elif tags == ("object", "name"):
            found.objects[-1].name = value
        elif tags[:2] == ("object", "bndbox") and len(tags) == 3 and tags[2] in CORNERS:
            found.objects[-1].corners[tags[2]] = value

    parse_xml(
        path,
        start,
        end,
        root="annotation",
        what="Pascal VOC",
        advice="Check the file, or export the annotations as Pascal VOC or COCO.",
        largest_bytes=_LARGEST_FILE_BYTES,
    )
    return found


def _read_file(file: Path, number: int, collector: Collector) -> None:
    annotation = parse_voc(file)
    wh_px = size_wh_px(annotation.width, annotation.height)
    image = collector.image(number, annotation.filename or f"{plain_path(file).stem}.jpg", wh_px)
    for position, found in enumerate(annotation.objects, 1):
        texts = [found.corners.get(corner) for corner in CORNERS]
        numbers: list[object] | None = None
        if found.corners:
            # XML has only text, so that a number as text is no defect.
            values = [None if text is None else as_number(text) for text in texts]
            numbers = [
                text if value is None else value for text, value in zip(texts, values, strict=True)
            ]
        class_row = collector.class_of(found.name or "(no name)", is_named=bool(found.name))
        row = collector.box(numbers, image, class_row, position, number)
        if not found.name:
            message = "an object must have a name, got none."
            collector.mark("unknown_category", "orphan", message, row)
        elif not np.isfinite(wh_px).all():
            message = "a file must state the size of its image; its boxes were not checked with it."
            collector.mark("no_image_size", "harmless", message, row)
