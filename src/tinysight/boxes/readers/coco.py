"""COCO json: ``images``, ``annotations`` and ``categories`` joined by ids.

Source:
    Lin et al. 2014, Microsoft COCO (arXiv:1405.0312); https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.boxes.readers.coco_annotations import (
    Annotation,
    AnnotationColumns,
    sound_columns,
    tolerant_columns,
)
from tinysight.boxes.readers.coco_lists import (
    AnyJson,
    Category,
    Image,
    is_unlisted_name,
    read_categories,
    read_images,
    unlisted_name,
)
from tinysight.boxes.readers.coco_pieces import LISTS, SoundCoco, read_in_pieces
from tinysight.boxes.readers.file_bytes import read_head
from tinysight.boxes.readers.ids import Join, join_ids
from tinysight.boxes.readers.json_text import load_json
from tinysight.boxes.records import Mark, RawBoxes, ReadOptions
from tinysight.errors import DataError
from tinysight.numerals import counted


class Coco(msgspec.Struct, gc=False):
    """A file whose records may be anything."""

    annotations: list[Annotation | AnyJson] | None = None
    images: list[Image | AnyJson] | None = None
    categories: list[Category | AnyJson] | None = None


def read_coco(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a COCO json file, or a bare list of annotations as detectors write it.

    Args:
        paths: The one file.
        options: Not used; a COCO file states the sizes of its images.

    Raises:
        DataError: The file is not JSON, has no list of annotations, or has a list twice.
    """
    (path,) = paths
    pieces = read_in_pieces(path)
    if pieces is not None:
        columns, lists = pieces
        return _raw_boxes(columns, lists.images, lists.categories, path, ())
    if read_head(path).lstrip().startswith(b"["):
        annotations, mendings = load_json(path, (list[Annotation | AnyJson],))
        if annotations and not any(map(_is_of_image, annotations)):
            raise DataError(
                f"{path}: must be a list of annotations with `bbox` and `image_id`, but none of "
                f"its {counted(len(annotations), 'record')} has either. Check that this is a file "
                f"of boxes, or name its format with --format."
            )
        coco: SoundCoco | Coco = Coco(annotations=annotations)
    else:
        coco, mendings = load_json(path, (SoundCoco, Coco), unique=LISTS)
    if coco.annotations is None:
        has = "only a list of images" if coco.images is not None else "none"
        raise DataError(
            f"{path}: must have the list `annotations` of a COCO file, but has {has}. Check that "
            f"this is a file of boxes, or name its format with --format."
        )
    _refuse_other_coco(coco.annotations, path)
    columns = (
        sound_columns(coco.annotations)
        if isinstance(coco, SoundCoco)
        else tolerant_columns(coco.annotations)
    )
    # Half of the memory is in these records.
    coco.annotations = []
    return _raw_boxes(columns, coco.images, coco.categories, path, mendings)


def _is_of_image(record: object) -> bool:
    """Whether a record of a bare list looks like the annotation of an image."""
    return isinstance(record, Annotation) and (
        record.bbox is not None or record.image_id is not None
    )


def _refuse_other_coco(annotations: Sequence[Any], path: Path) -> None:
    """Refuse the files of COCO that have captions or panoptic segments and no box at all."""
    first = annotations[0] if annotations else None
    if not isinstance(first, Annotation) or not (first.caption or first.segments_info):
        return
    if any(isinstance(r, Annotation) and (r.bbox or r.segmentation) for r in annotations):
        return
    what = "captions" if first.caption else "panoptic segments"
    raise DataError(
        f"{path}: must have annotations with `bbox`, but they are {what} without boxes. Take the "
        f"file of instances of the same images, such as instances_val2017.json."
    )


def _raw_boxes(
    columns: AnnotationColumns,
    image_list: Sequence[Any] | None,
    category_list: Sequence[Any] | None,
    path: Path,
    mendings: Sequence[FindingGroup],
) -> RawBoxes:
    notes = list(mendings)
    num_records = len(columns.numbers)
    if columns.ids is None and num_records:
        message = "annotations should have an id, but none has one. Positions are used instead."
        notes.append(whole_file_finding("no_annotation_ids", "accepted", str(path), message))
    names, wh_px, listed_images = read_images(image_list, path, notes)
    images = join_ids(columns.image_ids, listed_images, len(names))
    class_names, category_ids, listed_classes = read_categories(category_list, path, notes)
    classes = join_ids(columns.category_ids, listed_classes, len(class_names))
    if image_list is None and num_records:
        notes.append(_no_list(path, "images", "Images were made from the image_id of boxes."))
    if category_list is None and num_records:
        notes.append(
            _no_list(path, "categories", "Classes were made from the category_id of boxes.")
        )
    joins = _join_marks(images, columns.image_ids, "image", has_list=image_list is not None)
    joins += _join_marks(
        classes, columns.category_ids, "category", has_list=category_list is not None
    )
    marks = (*columns.marks, *(mark.without(columns.strays) for mark in joins))
    image_names = (*names, *(unlisted_name("image", value) for value in images.unlisted))
    return RawBoxes(
        format="coco",
        files=(str(path),),
        file_index=np.zeros(num_records, np.int32),
        positions=np.arange(num_records, dtype=np.int64),
        record_format="annotations[{position}]",
        ids=columns.ids,
        numbers=columns.numbers,
        declared=BoxOrder("xywh"),
        is_first_pixel_open=False,
        image_index=images.rows,
        class_index=classes.rows,
        is_crowd=columns.is_crowd,
        image_names=image_names,
        image_wh_px=np.concatenate([wh_px, np.full((len(images.unlisted), 2), np.nan)]),
        class_names=(
            *class_names,
            *(unlisted_name("category", value) for value in classes.unlisted),
        ),
        category_ids=(*category_ids, *("" if v is None else v for v in classes.unlisted)),
        is_image_listed=_is_listed(len(names), len(images.unlisted), image_list is not None),
        is_class_listed=_is_listed(
            len(class_names), len(classes.unlisted), category_list is not None
        ),
        marks=tuple(mark for mark in marks if len(mark.rows)),
        notes=tuple(notes),
        made_up_names=frozenset(name for name in image_names if is_unlisted_name("image", name)),
    )


def _is_listed(num_listed: int, num_unlisted: int, has_list: bool) -> NDArray[np.bool_]:
    return np.arange(num_listed + num_unlisted) < (
        num_listed if has_list else num_listed + num_unlisted
    )


def _join_marks(
    join: Join,
    values: Sequence[Any] | NDArray[np.int64],
    what: Literal["image", "category"],
    *,
    has_list: bool,
) -> list[Mark]:
    """Mark what was joined after a conversion, and what is not listed where there is a list."""
    plural = {"image": "images", "category": "categories"}[what]

    def mark(
        kind: str, severity: Literal["orphan", "lossless"], message: str, rows: NDArray[np.int64]
    ) -> Mark:
        found = [_shown_id(values[row]) for row in rows.tolist()]
        return Mark(kind, severity, message, rows, (found,))

    message = f"{what}_id must be the id of one of `{plural}`, got {{0}}."
    converted = (
        f"{what}_id must be of the type of the ids of `{plural}`, got {{0}}; joined after "
        f"conversion."
    )
    marks = [mark(f"{what}_id_type", "lossless", converted, np.flatnonzero(join.is_converted))]
    if has_list:
        unlisted = np.flatnonzero(join.is_unlisted)
        marks.append(mark(f"unknown_{what}", "orphan", message, unlisted))
    return marks


def _shown_id(value: object) -> str:
    return "null" if value is None else repr(getattr(value, "tolist", lambda: value)())[:60]


def _no_list(path: Path, name: str, done: str) -> FindingGroup:
    message = f"a COCO file must have the list `{name}`, but has none. {done}"
    return whole_file_finding(f"no_{name}_list", "repaired", str(path), message)
