"""Judged sources into one table: images of one name and size, and classes of one name, are one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import OrderDecision
from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.boxes.policies import Judgement
from tinysight.boxes.records import RawBoxes
from tinysight.boxes.table import BoxTable
from tinysight.numerals import counted


@dataclass(frozen=True)
class JudgedSource:
    """The records of one source, what their numbers mean and what became of them."""

    raw: RawBoxes
    decision: OrderDecision
    judgement: Judgement


def merge_sources(sources: Sequence[JudgedSource]) -> tuple[BoxTable, tuple[FindingGroup, ...]]:
    """Return the kept boxes of all sources as one table, and what images were put together.

    Images and classes that only rejected boxes speak of are left out. Within one source two images
    of the same name stay two; across sources they are one if their sizes are equal too and the
    name is one that the sources give.
    """
    if len(sources) == 1:
        return _table_of(sources[0]), ()
    notes: list[FindingGroup] = []
    images, classes = _Union(), _Union()
    image_wh: list[list[float]] = []
    category_ids: list[int | str] = []
    columns: list[tuple[NDArray[Any], ...]] = []
    for number, source in enumerate(sources):
        raw, kept = source.raw, source.judgement.is_kept
        used = _used_rows(raw.is_image_listed, raw.image_index[kept])
        sizes = raw.image_wh_px.tolist()
        keys = [
            (name, str(wh), number if name in raw.made_up_names else None)
            for name, wh in zip(raw.image_names, sizes, strict=True)
        ]
        new_image, added = images.add(keys, raw.image_names, used)
        image_wh += [sizes[row] for row in added]
        shared = np.setdiff1d(used, added)
        if len(shared):
            notes.append(_image_in_two_files(raw, len(shared), raw.image_names[shared[0]]))
        used = _used_rows(raw.is_class_listed, raw.class_index[kept])
        new_class, added = classes.add(raw.class_names, raw.class_names, used)
        category_ids += [raw.category_ids[row] for row in added]
        columns.append(
            (
                source.judgement.xywh_px[kept],
                new_image[raw.image_index[kept]],
                new_class[raw.class_index[kept]],
                raw.is_crowd[kept],
                _ids_of(raw)[kept],
            )
        )
    if len({column[4].dtype.kind for column in columns}) > 1:
        columns = [(*column[:4], column[4].astype(np.str_)) for column in columns]
    xywh_px, image_index, class_index, is_crowd, ids = map(
        np.concatenate, zip(*columns, strict=True)
    )
    table = BoxTable(
        xywh_px=xywh_px,
        image_index=image_index,
        class_index=class_index,
        is_crowd=is_crowd,
        annotation_ids=ids,
        image_wh_px=np.array(image_wh, np.float64).reshape(-1, 2),
        image_names=tuple(images.names),
        class_names=tuple(classes.names),
        category_ids=tuple(category_ids),
    )
    return table, tuple(notes)


def _image_in_two_files(raw: RawBoxes, num_shared: int, name: str) -> FindingGroup:
    message = (
        f"images of one name and size in two files are one, and {counted(num_shared, 'image')} "
        f"here, the first {name}, {'is' if num_shared == 1 else 'are'} in an earlier file too. "
        f"Their boxes were put together; rename the images if they are different ones."
    )
    return whole_file_finding("image_in_two_files", "accepted", raw.where, message)


def _table_of(source: JudgedSource) -> BoxTable:
    """Return the table of the only source, without a search for what is there twice."""
    raw, kept = source.raw, source.judgement.is_kept
    images = _used_rows(raw.is_image_listed, raw.image_index[kept])
    classes = _used_rows(raw.is_class_listed, raw.class_index[kept])
    new_image = np.zeros(len(raw.image_names), np.int32)
    new_image[images] = np.arange(len(images), dtype=np.int32)
    new_class = np.zeros(len(raw.class_names), np.int32)
    new_class[classes] = np.arange(len(classes), dtype=np.int32)
    return BoxTable(
        xywh_px=source.judgement.xywh_px[kept],
        image_index=new_image[raw.image_index[kept]],
        class_index=new_class[raw.class_index[kept]],
        is_crowd=raw.is_crowd[kept],
        annotation_ids=_ids_of(raw)[kept],
        image_wh_px=raw.image_wh_px[images],
        image_names=tuple(raw.image_names[row] for row in images.tolist()),
        class_names=tuple(raw.class_names[row] for row in classes.tolist()),
        category_ids=tuple(raw.category_ids[row] for row in classes.tolist()),
    )


def _ids_of(raw: RawBoxes) -> NDArray[Any]:
    return np.arange(len(raw.numbers)) if raw.ids is None else raw.ids


class _Union:
    """Items of all sources; items of different sources with one key are one."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._rows: dict[Hashable, int] = {}

    def add(
        self, keys: Sequence[Hashable], names: Sequence[str], used: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], list[int]]:
        """Return the row here of each item of a source, and which of its items are new here."""
        rows = np.full(len(keys), -1, np.int32)
        added: list[int] = []
        own: set[Hashable] = set()
        for item in used.tolist():
            key = keys[item]
            row = None if key in own else self._rows.get(key)
            if row is None:
                row = len(self.names)
                self.names.append(names[item])
                self._rows.setdefault(key, row)
                added.append(item)
            own.add(key)
            rows[item] = row
        return rows, added


def _used_rows(is_listed: NDArray[np.bool_], index: NDArray[np.int32]) -> NDArray[np.int64]:
    is_used = is_listed.copy()
    is_used[index] = True
    return np.flatnonzero(is_used)
