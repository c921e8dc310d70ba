"""CSV and Parquet tables of one box a row, with named columns in any order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import Unit
from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.boxes.readers.box_numbers import (
    as_number,
    as_number_of_table,
    box_columns,
    is_blank,
)
from tinysight.boxes.readers.column_roles import ColumnRoles, find_columns
from tinysight.boxes.readers.delimited_text import DelimitedText, read_delimited_text
from tinysight.boxes.readers.ids import id_column, id_marks, plain_class_names, plain_id
from tinysight.boxes.readers.parquet_columns import read_parquet_columns
from tinysight.boxes.readers.point_columns import boxes_around_columns
from tinysight.boxes.readers.row_sizes import are_sizes_of_boxes, image_sizes_of_rows
from tinysight.boxes.records import Mark, RawBoxes, ReadOptions

if TYPE_CHECKING:
    import pyarrow

_NO_IMAGE = "(no image)"
_NO_CLASS = "(no class)"
_ONE_CLASS = "object"
_LARGEST_FRACTION = 1.5  # boxes of a detector reach over the edges
_LEAST_SHARE_OF_FRACTIONS = 0.9
_LEAST_SIDE_OF_IMAGE_PX = 10.0


def read_csv(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a CSV file of one box a row.

    A row without any of the four numbers, or with NaN for all, is an image without boxes.

    Args:
        paths: The one file.
        options: Not used here; missing sizes are filled in later.

    Raises:
        DataError: The columns of a box cannot be found.
    """
    (path,) = paths
    text = read_delimited_text(path)
    roles = find_columns(text.names, path)
    columns = {name: text.table.column(text.names.index(name)) for name in roles.used}
    raw = _raw_boxes("csv", path, roles, columns, text.row_numbers, text.notes)
    raw = replace(raw, are_axes_named=raw.are_axes_named and text.has_header)
    return _with_misfits(raw, text)


def read_parquet(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read a Parquet file of one box a row; only the columns that are needed are decoded.

    Args:
        paths: The one file.
        options: Not used here; missing sizes are filled in later.

    Raises:
        DataError: The file is no sound Parquet file, or the columns of a box cannot be found.
    """
    (path,) = paths
    roles, columns, num_rows = read_parquet_columns(path)
    return _raw_boxes("parquet", path, roles, columns, np.arange(num_rows, dtype=np.int64), ())


def roles_of_table(format: str, path: Path) -> ColumnRoles:
    """Return which column of a ``csv`` or ``parquet`` file is what, as its reader takes them.

    Raises:
        DataError: As the reader raises it.
    """
    if format == "csv":
        text = read_delimited_text(path)
        roles = find_columns(text.names, path)
        columns = {name: text.table.column(text.names.index(name)) for name in roles.used}
    else:
        roles, columns, _ = read_parquet_columns(path)
    return _settled(roles, columns, _numbers_of([columns[name] for name in roles.box])[0])


def _settled(
    roles: ColumnRoles, columns: dict[str, pyarrow.ChunkedArray], numbers: NDArray[np.float64]
) -> ColumnRoles:
    """Return the roles with what the values tell of a size that may be of the image or the box."""
    if roles.is_size_of != "either":
        return roles
    sides = [columns[name] for name in (roles.image_width, roles.image_height) if name is not None]
    unit: Unit = "rel" if _are_fractions(numbers) else "px"
    is_own = len(sides) == 2 and are_sizes_of_boxes(sides, numbers, unit)
    return replace(roles, is_size_of="box" if is_own else "image")


def _raw_boxes(
    format: str,
    path: Path,
    roles: ColumnRoles,
    columns: dict[str, pyarrow.ChunkedArray],
    positions: NDArray[np.int64],
    notes: Sequence[FindingGroup],
) -> RawBoxes:
    num_rows = len(positions)
    numbers, marks, is_empty = _numbers_of([columns[name] for name in roles.box])
    roles = _settled(roles, columns, numbers)
    images = _codes(columns.get(roles.image or ""), num_rows, _NO_IMAGE).apart_without_name()
    classes = _codes(columns.get(roles.class_name or ""), num_rows, _NO_CLASS, plain_class_names)
    gathered = list(notes)
    if roles.image is None:
        images = _Codes(np.arange(num_rows, dtype=np.int32), (_NO_IMAGE,) * num_rows, ())
        message = (
            "a table of boxes must have a column with the image, such as image or file_name, but "
            "has none. Each row stands for an image of its own."
        )
        gathered.append(whole_file_finding("no_image_column", "accepted", str(path), message))
    if roles.class_name is None:
        classes = _Codes(np.zeros(num_rows, np.int32), (_ONE_CLASS,) if num_rows else (), ())
    wh_px = np.full((len(images.names), 2), np.nan)
    if roles.image_width and roles.image_height and roles.is_size_of == "image":
        sides = [columns[roles.image_width], columns[roles.image_height]]
        wh_px, faults = image_sizes_of_rows(sides, images.index, len(images.names), path, positions)
        gathered += faults
    # Classes of empty rows, such as "no finding", are no classes of boxes.
    is_box = ~is_empty
    classes = classes.sorted_and_used(is_box)
    rows = np.flatnonzero(is_box)
    new_row = np.cumsum(is_box) - 1
    marks = [replace(mark, rows=new_row[mark.rows]) for mark in marks]
    marks += _missing(images, rows, "image") + _missing(classes, rows, "category")
    ids, id_marks = _ids_of(columns.get(roles.annotation_id or ""), rows)
    crowd = np.zeros(len(rows), np.bool_)
    if roles.is_crowd is not None:
        shown = columns[roles.is_crowd].to_pylist()
        crowd = np.array([str(v).strip().lower() in ("1", "true", "1.0") for v in shown], np.bool_)
        crowd = crowd[rows]
    order = roles.order
    if order is not None and _are_fractions(numbers):
        order = replace(order, unit="rel")
    return RawBoxes(
        format=format,
        files=(str(path),),
        file_index=np.zeros(len(rows), np.int32),
        positions=positions[rows],
        record_format="row {position}",
        ids=ids,
        numbers=numbers[rows],
        declared=order,
        is_first_pixel_open=not roles.are_points,  # a point lies between pixels
        image_index=images.index[rows],
        class_index=classes.index[rows],
        is_crowd=crowd,
        image_names=images.names,
        image_wh_px=wh_px,
        class_names=classes.names,
        category_ids=tuple(plain_id(name) or 0 for name in classes.names),
        is_image_listed=np.array([name != _NO_IMAGE for name in images.names], np.bool_),
        is_class_listed=np.array([name != _NO_CLASS for name in classes.names], np.bool_),
        marks=tuple(mark for mark in (*marks, *id_marks) if len(mark.rows)),
        notes=tuple(gathered),
        made_up_names=frozenset({_NO_IMAGE}),
        are_images_named=roles.image is not None,
        are_axes_named=len(roles.box) > 1,
        made_up_class=_ONE_CLASS if roles.class_name is None else None,
    )


@dataclass(frozen=True)
class _Codes:
    """A column of names as rows of its distinct values."""

    index: NDArray[np.int32]
    names: tuple[str, ...]
    missing: tuple[int, ...]

    def apart_without_name(self) -> _Codes:
        """Return the codes where each row without a name is one of its own, of the same name."""
        missing = np.array(self.missing[1:], np.int64)
        if len(missing) == 0:
            return self
        names = (*self.names, *(self.names[self.index[self.missing[0]]],) * len(missing))
        index = self.index.copy()
        index[missing] = len(self.names) + np.arange(len(missing))
        return replace(self, index=index, names=names)

    def sorted_and_used(self, is_used: NDArray[np.bool_]) -> _Codes:
        """Return the codes of the names that used rows have: numbers first, ascending."""
        used = np.unique(self.index[is_used]).tolist()
        order = sorted(used, key=lambda row: _class_rank(self.names[row]))
        rank = np.zeros(max(len(self.names), 1), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return _Codes(rank[self.index], tuple(self.names[row] for row in order), self.missing)


def _class_rank(name: str) -> tuple[int, float, str]:
    number = as_number(name)
    is_number = number is not None and np.isfinite(number)
    return (0, number, name) if is_number and number is not None else (1, 0.0, name)


def _codes(
    column: pyarrow.ChunkedArray | None,
    num_rows: int,
    missing_name: str,
    plain_names: Callable[[Sequence[str]], Sequence[str]] = tuple,
) -> _Codes:
    """Return a column as rows of its names, which ``plain_names`` puts into one form."""
    import pyarrow
    from pyarrow import compute

    if column is None:
        return _Codes(np.zeros(num_rows, np.int32), (missing_name,) if num_rows else (), ())
    if pyarrow.types.is_null(column.type):  # what pandas writes for a column without any value
        column = column.cast(pyarrow.string())
    # Text is made of the distinct values only: a million rows may have eighty classes.
    encoded = pyarrow.chunked_array([column.combine_chunks()]).dictionary_encode()
    codes = encoded.combine_chunks()
    if isinstance(codes, pyarrow.ChunkedArray):  # pyarrow makes either, as the release goes
        codes = codes.chunk(0) if codes.num_chunks else pyarrow.array([], column.type)
    rows: dict[str, int] = {}
    new_row = []
    missing = set()
    texts = [
        "" if (plain := plain_id(value)) is None else _text_of(value, plain)
        for value in codes.dictionary.to_pylist()
    ]
    names = iter(plain_names([text for text in texts if text]))
    for text in texts:
        name = next(names) if text else ""
        new_row.append(rows.setdefault(name or missing_name, len(rows)))
        if not name:
            missing.add(new_row[-1])
    indices = compute.fill_null(codes.indices, -1).to_numpy(zero_copy_only=False)
    if codes.null_count:
        # Row -1 of the list, the last one, is that of null.
        new_row.append(rows.setdefault(missing_name, len(rows)))
        missing.add(new_row[-1])
    index = np.array(new_row, np.int32)[indices] if new_row else np.zeros(0, np.int32)
    absent = np.flatnonzero(np.isin(index, list(missing))) if missing else ()
    return _Codes(index, tuple(rows), tuple(int(row) for row in absent))


def _text_of(value: object, plain: int | str) -> str:
    """Return a name as the column has it: text without blanks around it, 7.0 as 7."""
    return value.strip() if isinstance(value, str) else str(plain)


def _numbers_of(
    columns: Sequence[pyarrow.ChunkedArray],
) -> tuple[NDArray[np.float64], list[Mark], NDArray[np.bool_]]:
    """Return (n, 4) numbers, the marks of rows that are no box, and which rows are empty."""
    import pyarrow

    if len(columns) > 4:
        return boxes_around_columns(columns)
    if len(columns) == 4:
        try:
            fast = [column.cast(pyarrow.float64()) for column in columns]
        except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
            fast = []
        if fast and not any(column.null_count for column in fast):
            numbers = np.stack([column.to_numpy() for column in fast], axis=1)
            if np.isfinite(numbers).all():
                return numbers, [], np.zeros(len(numbers), np.bool_)
        lists = [column.to_pylist() for column in columns]
        boxes: list[Any] = [list(map(_number_or_text, box)) for box in zip(*lists, strict=True)]
    else:
        values = columns[0].to_pylist()
        boxes = [None if is_blank(box) else box for box in values]
        # Text has no numbers, so that a list written as text is no defect.
        boxes = [_listed(box) if isinstance(box, str) else box for box in boxes]
    is_empty = np.array(
        [box is None or (len(boxes) > 0 and _is_all_blank(box)) for box in boxes], np.bool_
    )
    numbers, marks = box_columns(boxes)
    empty = np.flatnonzero(is_empty).tolist()
    marks = [mark.without(empty) for mark in marks]
    return numbers, marks, is_empty


def _number_or_text(value: Any) -> Any:
    number = as_number_of_table(value)
    return value if number is None else number


def _listed(text: str) -> Any:
    items = text.strip().strip("[]()").replace(",", " ").split()
    return [_number_or_text(item) for item in items]


def _is_all_blank(box: Any) -> bool:
    return isinstance(box, list) and all(map(is_blank, box))


def _are_fractions(numbers: NDArray[np.float64]) -> bool:
    """Whether boxes in columns of pixels are fractions: nearly all small, none of an image's side.

    A box or two that reach far over an edge must not make pixels of all others.
    """
    readable = numbers[np.isfinite(numbers).all(axis=1)]
    if len(readable) == 0 or bool((readable == np.round(readable)).all()):
        return False
    largest = np.abs(readable).max(axis=1)
    share = float((largest <= _LARGEST_FRACTION).mean())
    return share >= _LEAST_SHARE_OF_FRACTIONS and bool(largest.max() < _LEAST_SIDE_OF_IMAGE_PX)


def _missing(codes: _Codes, rows: NDArray[np.int64], what: str) -> list[Mark]:
    own = np.searchsorted(rows, list(codes.missing))
    is_box = np.isin(np.array(codes.missing, np.int64), rows)
    message = f"a box must have {'an image' if what == 'image' else 'a class'}, got none."
    return [Mark(f"unknown_{what}", "orphan", message, own[is_box].astype(np.int64))]


def _ids_of(
    column: pyarrow.ChunkedArray | None, rows: NDArray[np.int64]
) -> tuple[NDArray[Any] | None, list[Mark]]:
    if column is None:
        return None, []
    values = column.to_pylist()
    ids, missing = id_column([values[row] for row in rows.tolist()])
    return ids, id_marks(ids, missing, "a box")


def _with_misfits(raw: RawBoxes, text: DelimitedText) -> RawBoxes:
    """Return the records with one more for each row that does not fit the table."""
    count = len(text.misfits)
    if count == 0:
        return raw
    total = len(raw.numbers)
    image_names, class_names = raw.image_names, raw.class_names
    has_image, has_class = _NO_IMAGE in image_names, _NO_CLASS in class_names
    image = image_names.index(_NO_IMAGE) if has_image else len(image_names)
    class_row = class_names.index(_NO_CLASS) if has_class else len(class_names)
    message = "a row must have {0}."
    found = [fault for _, fault in text.misfits]
    mark = Mark("wrong_field_count", "unusable", message, np.arange(total, total + count), (found,))
    numbers = np.array([number for number, _ in text.misfits], np.int64)
    ids = raw.ids
    if ids is not None:
        filler = np.arange(total, total + count)
        ids = np.concatenate([ids, filler.astype(ids.dtype)])
    return replace(
        raw,
        file_index=np.zeros(total + count, np.int32),
        positions=np.concatenate([raw.positions, numbers]),
        ids=ids,
        numbers=np.concatenate([raw.numbers, np.full((count, 4), np.nan)]),
        image_index=np.concatenate([raw.image_index, np.full(count, image, np.int32)]),
        class_index=np.concatenate([raw.class_index, np.full(count, class_row, np.int32)]),
        is_crowd=np.concatenate([raw.is_crowd, np.zeros(count, np.bool_)]),
        image_names=image_names if has_image else (*image_names, _NO_IMAGE),
        image_wh_px=raw.image_wh_px
        if has_image
        else np.concatenate([raw.image_wh_px, np.full((1, 2), np.nan)]),
        class_names=class_names if has_class else (*class_names, _NO_CLASS),
        category_ids=raw.category_ids if has_class else (*raw.category_ids, ""),
        is_image_listed=raw.is_image_listed if has_image else np.append(raw.is_image_listed, False),
        is_class_listed=raw.is_class_listed if has_class else np.append(raw.is_class_listed, False),
        marks=(*raw.marks, mark),
    )
