"""Pascal VOC: one XML file an image, with ``size`` and an ``object`` for each box.

Source:
    Everingham et al. 2010, The Pascal Visual Object Classes Challenge; pixels count from 1 and
    xmax, ymax name the last pixel of a box. Many tools write corners from 0 all the same.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

import numpy as np

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.folder_walk import Folder, walk_folders
from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.file_bytes import plain_path, read_annotation_bytes
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.errors import DataError

CORNERS = ("xmin", "ymin", "xmax", "ymax")

_LARGEST_FILE_BYTES = 64 * 2**20
_DEEPEST = 100
_LONGEST_TEXT = 1000
_DECLARES_UTF16 = re.compile(rb"<\?xml[^>]*\bencoding\s*=\s*[\"']utf-?16", re.IGNORECASE)


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
    unread: list[Folder] = []
    files = [file for path in paths for file in _xml_files(path, unread)]
    collector = Collector(files)
    for folder in unread:
        collector.note(folder.as_finding())
    faults = []
    for number, file in enumerate(files):
        try:
            annotation = parse_voc(file)
        except DataError as fault:
            faults.append(fault)
            collector.unreadable(file, str(fault).removeprefix(f"{file}: "))
            continue
        _collect(annotation, file, number, collector)
    if faults and len(faults) == len(files):
        raise faults[0]
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
    data = read_annotation_bytes(path)
    if len(data) > _LARGEST_FILE_BYTES:
        raise DataError(
            f"{path}: must have at most {_LARGEST_FILE_BYTES >> 20} MiB, as the annotation of one "
            f"image; got {len(data) >> 20:,} MiB. Check that this is a Pascal VOC file."
        )
    found = VocFile()
    stack: list[str] = []
    text: list[str] = []

    def refuse(*_: object) -> None:
        # An annotation has no document type; one that has could define entities that expand
        # without end or name other files.
        raise DataError(
            f"{path}: must be a plain Pascal VOC annotation, but it declares a document type. "
            f"Remove the DOCTYPE."
        )

    def start(tag: str, _: dict[str, str]) -> None:
        stack.append(tag)
        text.clear()
        if len(stack) > _DEEPEST:
            raise DataError(
                f"{path}: must be nested at most {_DEEPEST} deep, got more tags within tags. "
                f"Export the annotations again."
            )
        if stack[1:] == ["object"]:
            found.objects.append(VocObject())

    def end(tag: str) -> None:
        inner = stack[1:]
        stack.pop()
        value = "".join(text).strip()[:_LONGEST_TEXT]
        text.clear()
        if inner == ["filename"]:
            found.filename = value
        elif inner == ["size", "width"]:
            found.width = value
        elif inner == ["size", "height"]:
            found.height = value
        elif inner == ["object", "name"]:
            found.objects[-1].name = value
        elif inner[:2] == ["object", "bndbox"] and len(inner) == 3 and tag in CORNERS:
            found.objects[-1].corners[tag] = value

    # A declaration of UTF-16 that can be read byte by byte is from before the file was decoded.
    parser = expat.ParserCreate("utf-8" if _DECLARES_UTF16.match(data) else None)
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    roots: list[str] = []

    def start_root(tag: str, attributes: dict[str, str]) -> None:
        roots.append(tag)
        parser.StartElementHandler = start
        start(tag, attributes)

    parser.StartElementHandler = start_root
    try:
        parser.Parse(bytes(data), True)
    except expat.ExpatError as error:
        raise DataError(
            f"{path}: must be sound XML, but line {error.lineno:,}, column {error.offset + 1:,}: "
            f"{expat.ErrorString(error.code)}. Export the annotations again or mend that place."
        ) from error
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise DataError(f"{path}: must be sound XML, but {error}. Save it as UTF-8.") from error
    if roots != ["annotation"]:
        raise DataError(
            f"{path}: must be a Pascal VOC <annotation>, got <{roots[0][:40]}>. Check the "
            f"file, or export the annotations as Pascal VOC or COCO."
        )
    return found


def _xml_files(path: Path, unread: list[Folder]) -> list[Path]:
    """Return the files at a path, and add to the folders that could not be looked into."""
    if not path.is_dir():
        return [path]
    folders = list(walk_folders(path))
    faults = [folder for folder in folders if folder.fault]
    files = [
        folder.path / name
        for folder in folders
        for name in folder.file_names
        if name.lower().endswith(".xml")
    ]
    if not files and faults:
        raise DataError(f"{faults[0].path}: {faults[0].fault}")
    if not files:
        raise DataError(f"{path}: must hold Pascal VOC files, but no .xml is below it.")
    unread += faults
    return files


def _collect(annotation: VocFile, file: Path, number: int, collector: Collector) -> None:
    width, height = as_number(annotation.width), as_number(annotation.height)
    wh_px = (np.nan, np.nan)
    if width and height and 0 < width < 1e9 and 0 < height < 1e9:
        wh_px = (width, height)
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
        class_row = collector.class_of(found.name or "(no name)")
        row = collector.box(numbers, image, class_row, position, number)
        if not found.name:
            message = "an object must have a name, got none."
            collector.mark("unknown_category", "orphan", message, row)
        elif not np.isfinite(wh_px).all():
            message = "a file must state the size of its image; its boxes were not checked with it."
            collector.mark("no_image_size", "harmless", message, row)
