"""CVAT XML 1.1, for images and for video: shapes by image, or by track and frame.

Source:
    https://docs.cvat.ai/docs/other/xml_format and the writer of the files,
    https://github.com/cvat-ai/cvat, cvat/apps/dataset_manager/formats/cvat.py, which has rotation,
    ellipses, masks and cuboids as well. A track lists every frame that its object is seen in, those
    between key frames too, and has ``outside`` where it is not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.readers.box_numbers import as_number, size_wh_px
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.file_trees import read_tree
from tinysight.boxes.readers.outlines import (
    Groups,
    ShapeFault,
    around_ellipse,
    around_points,
    around_turned,
    no_area,
    read_points,
)
from tinysight.boxes.readers.record_notes import RecordNotes
from tinysight.boxes.readers.xml_text import parse_xml
from tinysight.boxes.records import RawBoxes, ReadOptions

CORNERS = ("xtl", "ytl", "xbr", "ybr")

_ADVICE = "Check the file, or name its format with --format."
_NO_LABEL = "(no label)"
NO_AREAS = {"polyline": "a polyline", "points": "points", "skeleton": "a skeleton"}
_OUTLINES = frozenset({"polygon", "mask"})
_SHAPES = ("box", "polygon", "ellipse", "mask", "cuboid", *NO_AREAS)
_NO_SHAPES = frozenset({"tag", "attribute"})
_CUBOID = tuple(
    (f"x{corner}{side}", f"y{corner}{side}") for side in "12" for corner in ("tl", "bl", "tr", "br")
)


class _Image(NamedTuple):
    key: str
    name: str
    wh_px: tuple[float, float]
    is_named: bool


class _Shape(NamedTuple):
    line: int
    image: int
    label: str
    box: object
    fault: ShapeFault | None
    is_outline: bool
    group: str


@dataclass
class CvatFile:
    """What is read of one file."""

    labels: list[str] = field(default_factory=list)
    """Those that the task has, whether they are used or not."""
    images: list[_Image] = field(default_factory=list)
    shapes: list[_Shape] = field(default_factory=list)
    repeated: list[tuple[int, str]] = field(default_factory=list)
    """Line and name of each image that is listed before."""
    nameless: list[int] = field(default_factory=list)
    """Line of each image without a name."""


def read_cvat(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read XML files of CVAT, and all XML files below folders, as one source.

    A file that cannot be read is a finding, unless none can. Images of one name, size, task and
    subset are one across the files; frames of a video have no names and are those of their file.

    Args:
        paths: Files and folders.
        options: Not used here; sizes that are missing are filled in later.

    Raises:
        DataError: No file can be read.
    """
    groups = Groups()
    numbers_in_file: list[int] = []
    is_line_shared = False

    def read_file(file: Path, number: int, collector: Collector) -> None:
        nonlocal is_line_shared
        found = parse_cvat(file)
        lines = [shape.line for shape in found.shapes]
        is_line_shared = is_line_shared or len(set(lines)) < len(lines)
        numbers_in_file.extend(range(1, len(lines) + 1))
        _collect(found, file, number, groups, collector)

    collector = read_tree(paths, (".xml",), "CVAT", read_file)
    groups.mark(collector)
    raw = collector.raw_boxes("cvat", "line {position}", BoxOrder("xyxy"))
    if is_line_shared:  # written without line breaks
        positions = np.array(numbers_in_file, np.int64)
        return replace(raw, positions=positions, record_format="shape {position}")
    return raw


def _collect(
    found: CvatFile,
    file: Path,
    number: int,
    groups: Groups,
    collector: Collector,
) -> None:
    for label in found.labels:
        collector.class_of(label)
    notes = RecordNotes(file, "line {position}")
    for line, name in found.repeated:
        message = "an image must be listed once, but {0} is listed before. Put together."
        notes.add("repeated_image", "accepted", message, line, name)
    for line in found.nameless:
        message = "an image must have a name, got none{0}."
        notes.add("image_without_name", "accepted", message, line)
    rows = [
        collector.image(
            image.key if image.is_named else f"{number} {image.key}",
            image.name,
            image.wh_px,
            is_named=image.is_named,
        )
        for image in found.images
    ]
    is_size_known = [math.isfinite(sum(image.wh_px)) for image in found.images]
    for shape in found.shapes:
        image = rows[shape.image]
        class_row = collector.class_of(shape.label or _NO_LABEL, is_named=bool(shape.label))
        row = collector.box(shape.box, image, class_row, shape.line, number)
        if shape.fault is not None:
            shape.fault.mark(collector, row)
        if not shape.label:
            message = "a shape must have a label, got none."
            collector.mark("unknown_category", "orphan", message, row)
        elif shape.fault is None and not is_size_known[shape.image]:
            message = "a file must state the size of its image; its boxes were not checked with it."
            collector.mark("no_image_size", "harmless", message, row)
        if shape.group and shape.is_outline and shape.box is not None:
            groups.add((image, class_row, shape.group), row)
    for note in notes.groups():
        collector.note(note)


def parse_cvat(path: Path) -> CvatFile:
    """Return what is read of one XML file.

    Raises:
        DataError: It is not sound XML, or no CVAT annotation.
    """
    events = _Events()
    parse_xml(
        path,
        events.start,
        events.end,
        root="annotations",
        what="CVAT",
        advice=_ADVICE,
    )
    return events.found()


def first_elements(path: Path) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """Return tag and attributes of the first image or track that has a shape, and of the shape.

    Raises:
        DataError: The file is no sound one.
    """
    owner: tuple[str, Mapping[str, str]] | None = None
    found: list[tuple[str, Mapping[str, str]]] = []

    def start(tags: tuple[str, ...], attributes: Mapping[str, str], _: int) -> None:
        nonlocal owner
        if not found and tags[0] in ("image", "track"):
            if len(tags) == 1:
                owner = (tags[0], attributes)
            elif len(tags) == 2 and tags[1] not in _NO_SHAPES and owner is not None:
                found.extend([owner, (tags[1], attributes)])

    parse_xml(path, start, lambda *_: None, root="annotations", what="CVAT", advice=_ADVICE)
    return tuple(found or ([owner] if owner else []))


class _Events:
    """Gathers what is read of a file while it is parsed."""

    def __init__(self) -> None:
        self._found = CvatFile()
        self._rows: dict[str, int] = {}
        self._owner: Mapping[str, str] = {}
        self._row = 0
        self._label = ""
        self._is_part_of_label = False
        self._task = ""
        self._size = {"width": "", "height": ""}
        self._sizes: dict[str, tuple[float, float]] = {}
        self._task_of_row: dict[int, str] = {}

    def found(self) -> CvatFile:
        """Return it, with the sizes of frames, which are those of their task."""
        only = next(iter(self._sizes.values())) if len(set(self._sizes.values())) == 1 else None
        for row, task in self._task_of_row.items():
            wh_px = self._sizes.get(task, only)
            if wh_px is not None:
                self._found.images[row] = self._found.images[row]._replace(wh_px=wh_px)
        return self._found

    def start(self, tags: tuple[str, ...], attributes: Mapping[str, str], line: int) -> None:
        """Take up an element."""
        if len(tags) == 1 and tags[0] in ("image", "track"):
            self._owner = attributes
            if tags[0] == "image":
                self._row = self._image(attributes, line)
        elif len(tags) == 2 and tags[0] in ("image", "track"):
            if tags[1] not in _NO_SHAPES:
                self._shape(tags[0], tags[1], attributes, line)
        elif len(tags) == 1 and tags[0] in _SHAPES:
            self._owner = {}
            self._shape("", tags[0], attributes, line)

    def end(self, tags: tuple[str, ...], value: str) -> None:
        """Take the text of an element of the description of the task."""
        if tags[0] != "meta":
            return
        if tags[-2:] == ("label", "name"):
            self._label = value
        elif tags[-2:] == ("label", "parent"):
            self._is_part_of_label = bool(value)  # a joint of a skeleton
        elif tags[-1] == "label":
            if self._label and not self._is_part_of_label:
                self._found.labels.append(self._label)
            self._label, self._is_part_of_label = "", False
        elif tags[-2:] == ("task", "id"):
            self._task = value
        elif tags[-2:] in (("original_size", "width"), ("original_size", "height")):
            self._size[tags[-1]] = value
        elif tags[-1] == "original_size":
            self._sizes[self._task] = size_wh_px(self._size["width"], self._size["height"])

    def _image(self, attributes: Mapping[str, str], line: int) -> int:
        name = attributes.get("name", "")
        wh_px = size_wh_px(attributes.get("width"), attributes.get("height"))
        if not name:
            self._found.nameless.append(line)
            number = attributes.get("id", "") or str(line)
            return self._add(_Image(f"id {number}", f"(image {number})", wh_px, False))
        parts = (name, attributes.get("subset", ""), attributes.get("task_id", ""), str(wh_px))
        key = "\0".join(parts)
        if key in self._rows:
            self._found.repeated.append((line, name))
        return self._add(_Image(key, name, wh_px, True))

    def _frame(self, attributes: Mapping[str, str]) -> int:
        """Return the row of a frame of a video; CVAT calls its picture by its number."""
        frame, task = attributes.get("frame", ""), self._owner.get("task_id", "")
        is_number = frame.isdecimal() and frame.isascii() and len(frame) < 10
        name = f"frame_{int(frame):06d}" if is_number else f"(frame {frame[:40]})"
        row = self._add(_Image(f"frame {task} {frame}", name, (np.nan, np.nan), False))
        self._task_of_row[row] = task
        return row

    def _add(self, image: _Image) -> int:
        row = self._rows.setdefault(image.key, len(self._found.images))
        if row == len(self._found.images):
            self._found.images.append(image)
        return row

    def _shape(self, owner: str, tag: str, attributes: Mapping[str, str], line: int) -> None:
        if owner == "track" and attributes.get("outside", "").lower() in ("1", "true"):
            return  # it says that the object is not in this frame
        box, fault = box_of_shape(tag, attributes)
        if owner == "image":
            row = self._row
        elif owner == "track" and attributes.get("frame"):
            row = self._frame(attributes)
        else:
            row = self._add(_Image("none", "(no image)", (np.nan, np.nan), False))
            if fault is None or fault.severity != "unusable":
                message = "a shape must be in an <image>, or in a <track> with a frame; {0} is not."
                fault = ShapeFault("unknown_image", "orphan", message, f"this <{tag[:40]}>")
        label = (attributes.get("label") or self._owner.get("label", "")).strip()
        group = attributes.get("group_id", "")
        shape = _Shape(line, row, label, box, fault, tag in _OUTLINES, group)
        self._found.shapes.append(shape)


def box_of_shape(tag: str, attributes: Mapping[str, str]) -> tuple[object, ShapeFault | None]:
    """Return left, top, right, bottom of a shape, and what is odd about it."""
    if tag in NO_AREAS:
        return None, no_area(NO_AREAS[tag])
    if tag == "box":
        return _turned_box(attributes)
    if tag == "polygon":
        pairs = [pair.split(",") for pair in attributes.get("points", "").split(";") if pair]
        # XML has only text, so that a number as text is no defect.
        xy, fault = read_points(pairs)
        if xy and len(xy) < 3:
            message = "a polygon must have three or more points, got {0}."
            fault = ShapeFault("wrong_number_of_points", "unusable", message, str(len(xy)))
        elif xy:
            return around_points(xy), None
        return None, fault
    if tag == "cuboid":
        xy, fault = read_points([[attributes.get(x), attributes.get(y)] for x, y in _CUBOID])
        return (around_points(xy), None) if xy else (None, fault)
    if tag == "ellipse":
        numbers, fault = _numbers(attributes, ("cx", "cy", "rx", "ry"))
        turn_deg, turn_fault = _turn(attributes)
        if numbers is None or turn_deg is None:
            return None, fault or turn_fault
        return around_ellipse(numbers[0], numbers[1], numbers[2], numbers[3], turn_deg), None
    if tag == "mask":
        numbers, fault = _numbers(attributes, ("left", "top", "width", "height"))
        if numbers is None:
            return None, fault
        left, top, width, height = numbers
        return [left, top, left + width, top + height], None
    message = f"a shape must be one of {', '.join(_SHAPES)}, got {{0}}."
    return None, ShapeFault("unknown_shape", "unusable", message, tag[:40])


def _turned_box(attributes: Mapping[str, str]) -> tuple[object, ShapeFault | None]:
    texts = [attributes.get(corner) for corner in CORNERS]
    if not any(texts):
        return None, None
    numbers = [as_number(text) for text in texts]
    corners = [number for number in numbers if number is not None]
    if len(corners) < len(numbers):
        return [text if n is None else n for text, n in zip(texts, numbers, strict=True)], None
    if "rotation" not in attributes:
        return corners, None
    turn_deg, fault = _turn(attributes)
    if turn_deg is None:
        return None, fault
    return (around_turned(corners, turn_deg) if turn_deg else corners), None


def _turn(attributes: Mapping[str, str]) -> tuple[float | None, ShapeFault | None]:
    """Return by how many degrees a shape is turned."""
    text = attributes.get("rotation", "0")
    turn_deg = as_number(text)
    if turn_deg is None or not math.isfinite(turn_deg):
        message = "the rotation of a shape must be a number of degrees, got {0}."
        return None, ShapeFault("box_not_numbers", "unusable", message, repr(text[:40]))
    return turn_deg, None


def _numbers(
    attributes: Mapping[str, str], names: tuple[str, ...]
) -> tuple[list[float] | None, ShapeFault | None]:
    """Return the numbers that some attributes spell, or the fault that one spells none."""
    numbers = []
    for name in names:
        number = as_number(attributes.get(name))
        if number is None or not math.isfinite(number):
            message = f"a shape must have a number as {name}, got {{0}}."
            shown = repr(attributes[name][:40]) if name in attributes else "none"
            return None, ShapeFault("box_not_numbers", "unusable", message, shown)
        numbers.append(number)
    return numbers, None
