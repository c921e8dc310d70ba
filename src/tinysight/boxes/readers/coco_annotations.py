"""The list ``annotations`` of a COCO file as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.readers.box_numbers import box_columns
from tinysight.boxes.readers.ids import id_column, id_marks
from tinysight.boxes.readers.outlines import around_points, read_points
from tinysight.boxes.records import Mark

_NO_ROWS = np.zeros(0, np.int64)


class SoundAnnotation(msgspec.Struct, gc=False):
    """An annotation as it should be; ``segmentation`` and all else is skipped unparsed."""

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class Annotation(msgspec.Struct, gc=False):
    """An annotation with fields of any type, so that one bad record does not cost a file."""

    id: Any = None
    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    iscrowd: Any = 0
    segmentation: msgspec.Raw = msgspec.Raw()
    """A view of the file, which is parsed where there is no box."""
    caption: msgspec.Raw = msgspec.Raw()
    segments_info: msgspec.Raw = msgspec.Raw()
    """As the one before, what stands in the place of boxes in other files of COCO."""


@dataclass(frozen=True)
class AnnotationColumns:
    """Columns of n annotations."""

    numbers: NDArray[np.float64]
    """(n, 4) as in the file, NaN where there is no number."""
    ids: NDArray[Any] | None
    """(n,) int64 or str; None where no annotation has one."""
    image_ids: Sequence[Any] | NDArray[np.int64]
    category_ids: Sequence[Any] | NDArray[np.int64]
    is_crowd: NDArray[np.bool_]
    marks: tuple[Mark, ...]
    strays: NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS)
    """The rows of what is no annotation at all, which has one mark that says so."""


class SoundColumns:
    """Columns of annotations of the right types, gathered part by part."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, records: Sequence[SoundAnnotation]) -> None:
        """Take the numbers of some annotations; the records themselves are not kept.

        Raises:
            OverflowError: A whole number has more than 64 bits.
        """
        count = len(records)
        flat = chain.from_iterable([record.bbox for record in records])
        self._parts.append(
            (
                np.fromiter(flat, np.float64, 4 * count).reshape(-1, 4),
                np.fromiter([record.id for record in records], np.int64, count),
                np.fromiter([record.image_id for record in records], np.int64, count),
                np.fromiter([record.category_id for record in records], np.int64, count),
                np.fromiter([record.iscrowd for record in records], np.int64, count) == 1,
            )
        )

    def finish(self) -> AnnotationColumns:
        """Return the columns of all that was added, at least one part."""
        numbers, ids, image_ids, category_ids, is_crowd = (
            np.concatenate(parts) for parts in zip(*self._parts, strict=True)
        )
        marks = tuple(id_marks(ids, _NO_ROWS, "an annotation"))
        return AnnotationColumns(numbers, ids, image_ids, category_ids, is_crowd, marks)


def sound_columns(annotations: Sequence[SoundAnnotation]) -> AnnotationColumns:
    """Return the columns of annotations of the right types."""
    columns = SoundColumns()
    try:
        columns.add(annotations)
    except OverflowError:
        loose = [
            Annotation(r.id, r.image_id, r.category_id, list(r.bbox), r.iscrowd)
            for r in annotations
        ]
        return tolerant_columns(loose)
    return columns.finish()


def tolerant_columns(records: Sequence[Any]) -> AnnotationColumns:
    """Return the columns of records of which each may be anything.

    A record without a box has the one around the polygons of its segmentation.
    """
    marks: list[Mark] = []
    strays = np.flatnonzero([type(record) is not Annotation for record in records])
    annotations = [r if type(r) is Annotation else Annotation() for r in records]
    numbers, box_marks = _boxes_of(annotations)
    ids, missing = id_column([record.id for record in annotations])
    if len(strays):
        message = "an annotation must be an object, got {0}."
        found = [str(records[row])[:40] for row in strays.tolist()]
        marks.append(Mark("record_not_an_object", "unusable", message, strays, (found,)))
    others = [*box_marks, *id_marks(ids, missing, "an annotation")]
    is_crowd = np.array([r.iscrowd in (1, "1", "true") for r in annotations], np.bool_)
    return AnnotationColumns(
        numbers,
        ids,
        [record.image_id for record in annotations],
        [record.category_id for record in annotations],
        is_crowd,
        (*marks, *(mark.without(strays) for mark in others)),
        strays,
    )


def _boxes_of(annotations: Sequence[Annotation]) -> tuple[NDArray[np.float64], list[Mark]]:
    """Return the boxes as columns and their marks, of records without one around the polygons."""
    boxes = [record.bbox for record in annotations]
    around: list[int] = []
    masks: list[int] = []
    for row, record in enumerate(annotations):
        if record.bbox is None or record.bbox == []:
            segmentation = _parsed(record.segmentation)
            if segmentation:
                boxes[row] = _box_around(segmentation)
                (masks if boxes[row] is None else around).append(row)
    numbers, marks = box_columns(boxes)
    marks = [mark.without(masks) for mark in marks]
    if around:
        message = (
            "an annotation must have a bbox, got none. The box around its segmentation is used."
        )
        marks.append(Mark("box_of_segmentation", "lossless", message, np.array(around, np.int64)))
    if masks:
        message = (
            "an annotation must have a bbox, got none: it has a segmentation only, and no polygon. "
            "Add bbox."
        )
        marks.append(Mark("box_missing", "unusable", message, np.array(masks, np.int64)))
    return numbers, marks


def _parsed(segmentation: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(segmentation)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # there is none as a rule
        return None


def _box_around(found: Any) -> list[float] | None:
    """Return left, top, width, height around polygons; None where there are none, as in a mask."""
    polygons = found if isinstance(found, list) and isinstance(found[0], list) else [found]
    if not all(isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0 for p in polygons):
        return None
    points = read_points([[p[at], p[at + 1]] for p in polygons for at in range(0, len(p), 2)])
    if not points.xy:
        return None
    left, top, right, bottom = around_points(points.xy)
    return [left, top, right - left, bottom - top]
