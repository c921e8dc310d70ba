"""Gathers the records of formats that are read one by one into columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.boxes.readers.box_numbers import box_columns
from tinysight.boxes.records import Mark, RawBoxes, Severity

Key = int | str


_NAMED_AXES = frozenset({"voc", "labelme", "cvat", "via", "createml"})
"""Formats in which each number of a box has a name or is of a point."""


class Collector:
    """Images, classes and boxes in the order in which a reader meets them.

    Args:
        files: The files of the source, in the order of their rows.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = tuple(str(path) for path in files)
        self._names: list[str] = []
        self._sizes: list[tuple[float, float]] = []
        self._paths: list[Path | None] = []
        self._made_up_names: set[str] = set()
        self._image_rows: dict[Key, int] = {}
        self._classes: dict[Key, str] = {}
        self._class_rows: dict[Key, int] = {}
        self._made_up_classes: set[Key] = set()
        self._boxes: list[object] = []
        self._where: list[tuple[int, int, int, int]] = []
        self._marked: dict[tuple[str, Severity, str], list[tuple[int, str]]] = {}
        self._notes: list[FindingGroup] = []

    def image(
        self,
        key: Key,
        name: str,
        wh_px: tuple[float, float] = (np.nan, np.nan),
        path: Path | None = None,
        *,
        is_named: bool = True,
    ) -> int:
        """Return the row of an image, a new one when its key was not met before.

        ``is_named`` says whether the name is the source's own or made up by the reader.
        """
        row = self._image_rows.setdefault(key, len(self._names))
        if row == len(self._names):
            self._names.append(name)
            self._sizes.append(wh_px)
            self._paths.append(path)
            if not is_named:
                self._made_up_names.add(name)
        return row

    def class_of(self, key: Key, name: str | None = None, *, is_named: bool = True) -> int:
        """Return a number for a class; its name is its key when none is given.

        ``is_named`` says whether the name is the source's own or made up by the reader.
        """
        if not is_named:
            self._made_up_classes.add(key)
        if key not in self._class_rows:
            self._class_rows[key] = len(self._class_rows)
            self._classes[key] = str(key) if name is None else name
        return self._class_rows[key]

    def box(self, numbers: object, image: int, class_row: int, position: int, file: int = 0) -> int:
        """Add a record and return its row; ``numbers`` is what stands in the place of the box."""
        self._boxes.append(numbers)
        self._where.append((file, position, image, class_row))
        return len(self._boxes) - 1

    def mark(self, kind: str, severity: Severity, message: str, row: int, found: str = "") -> None:
        """Mark a record; ``{0}`` in the message is ``found``."""
        self._marked.setdefault((kind, severity, message), []).append((row, found))

    def note(self, group: FindingGroup) -> None:
        """Add a finding that is not about a box."""
        self._notes.append(group)

    def unreadable(self, path: Path, reason: str) -> None:
        """Note a file of a tree that could not be read; the others are."""
        self.note(whole_file_finding("unreadable_file", "rejected", str(path), reason))

    def raw_boxes(
        self,
        format: str,
        record_format: str,
        declared: BoxOrder | None,
        *,
        is_first_pixel_open: bool = False,
        are_classes_sorted: bool = False,
    ) -> RawBoxes:
        """Return the columns; classes in the order met, or whole numbers first, ascending."""
        numbers, marks = box_columns(self._boxes)
        marked = {
            row
            for (_, severity, _), rows in self._marked.items()
            if severity == "unusable"
            for row, _ in rows
        }
        marks = [mark.without(marked) for mark in marks]
        for (kind, severity, message), rows in self._marked.items():
            found = [text for _, text in rows]
            where = np.array([row for row, _ in rows], np.int64)
            marks.append(Mark(kind, severity, message, where, (found,)))
        keys = list(self._classes)
        if are_classes_sorted:
            keys.sort(key=lambda key: (isinstance(key, str), key))
        rank = np.zeros(max(len(keys), 1), np.int32)
        rank[[self._class_rows[key] for key in keys]] = np.arange(len(keys), dtype=np.int32)
        columns = np.array(self._where, np.int64).reshape(-1, 4)
        return RawBoxes(
            format=format,
            files=self._files,
            file_index=columns[:, 0].astype(np.int32),
            positions=columns[:, 1],
            record_format=record_format,
            ids=None,
            numbers=numbers,
            declared=declared,
            is_first_pixel_open=is_first_pixel_open,
            image_index=columns[:, 2].astype(np.int32),
            class_index=rank[columns[:, 3]],
            is_crowd=np.zeros(len(columns), np.bool_),
            image_names=tuple(self._names),
            image_wh_px=np.array(self._sizes, np.float64).reshape(-1, 2),
            class_names=tuple(self._classes[key] for key in keys),
            category_ids=tuple(keys),
            is_image_listed=np.ones(len(self._names), np.bool_),
            is_class_listed=np.array([key not in self._made_up_classes for key in keys], np.bool_),
            marks=tuple(mark for mark in marks if len(mark.rows)),
            notes=tuple(self._notes),
            image_paths=tuple(self._paths) if any(self._paths) else None,
            made_up_names=frozenset(self._made_up_names),
            are_axes_named=format in _NAMED_AXES,
        )
