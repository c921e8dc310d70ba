"""Parquet files with image bytes and a label in every row.

Two ways of naming columns are known: that of Hugging Face data sets (a struct ``image`` with
``bytes`` and ``path``, an integer label whose names are in the file's metadata), and plain columns
(one binary column, a label by number or name, and perhaps ``split``, ``file_name`` and a box).
The rows are read in one pass, a small batch at a time, whatever the size of the row groups.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tinysight.classify.sources.file_tree import read_text_in
from tinysight.classify.sources.index import (
    FoundImage,
    ImageIndex,
    Location,
    Payload,
    Unreadable,
    build_index,
    named_apart,
)
from tinysight.classify.sources.parquet_columns import (
    BOX_COLUMNS,
    Columns,
    check_columns,
    find_columns,
    has_image_column,
)
from tinysight.classify.sources.tiny_imagenet import (
    CLASS_LIST,
    CLASS_NAMES,
    Box,
    official_file,
    parse_words,
)
from tinysight.errors import DataError

LAYOUT = "Parquet"
_SPLIT_NAMES = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}
_BATCH_ROWS = 256
_READING_FAULTS = (pa.ArrowException, OSError, ValueError)  # the last for text that is no UTF-8

Label = str | int


class _Row(NamedTuple):
    """Everything but the image."""

    label: Label | None
    split: str | None
    name: str | None
    box: Box | None


def holds_images(file: Path) -> bool:
    """Return whether a Parquet file has a column of image bytes, or cannot be asked."""
    try:
        return has_image_column(pq.read_schema(file))
    except _READING_FAULTS:
        return True  # its own message says more than that of an image folder would


def index_parquet(
    files: Sequence[Path], root: Path, *, num_classes: int | None = None
) -> ImageIndex:
    """List the images of one or more Parquet files.

    Args:
        files: The files, all with the same columns.
        root: The folder that the files are named from; ``wnids.txt`` and ``words.txt`` there are
            used if there are any.
        num_classes: Keep only the first classes; all when not given.

    Raises:
        DataError: A file cannot be read, its columns hold no images or no labels, or those of
            boxes hold something else than whole pixels.
    """
    shards = sorted(files, key=lambda file: _natural(file.relative_to(root).as_posix()))
    names = [PurePosixPath(shard.relative_to(root).as_posix()) for shard in shards]
    columns = find_columns(shards[0].name, _open(shards[0]).schema_arrow)
    rows = [_read_rows(shard, columns) for shard in shards]
    wnid_of_label = _name_labels((row.label for part in rows for row in part), columns, root)
    is_named = any(isinstance(label, str) for label in wnid_of_label)

    found: Sequence[FoundImage] = [
        _found_image(row, columns, names[number], wnid_of_label[row.label], (number, place))
        for number, part in enumerate(rows)
        for place, row in enumerate(part)
        if row.label in wnid_of_label
    ]
    has_words = (root / CLASS_NAMES).is_file()

    def read_at(locations: Sequence[Location]) -> Iterator[Payload]:
        return _read_images(shards, columns.image, locations)

    return build_index(
        found if columns.is_tiny_imagenet else named_apart(found),
        layout=LAYOUT,
        where=root.name if len(files) > 1 else files[0].name,
        wnids=list(wnid_of_label.values()),
        class_names=parse_words(read_text_in(root, CLASS_NAMES)) if has_words else {},
        read_at=read_at,
        is_order_kept=not is_named,
        num_classes=num_classes,
        num_unlabelled=sum(map(len, rows)) - len(found),
    )


def _read_rows(shard: Path, columns: Columns) -> list[_Row]:
    boxes = BOX_COLUMNS if columns.has_boxes else ()
    paths = [path for path in (columns.label, columns.split, columns.name, *boxes) if path]
    file = _open(shard)
    check_columns(shard.name, file.schema_arrow, [columns.image, *paths], image=columns.image)
    try:
        table = file.read(columns=paths)
    except _READING_FAULTS as error:
        raise _damaged(shard, str(error)) from error
    table = table.flatten()

    def column(path: str | None) -> list[Any]:
        try:
            return table[path].to_pylist() if path else [None] * len(table)
        except _READING_FAULTS as error:
            raise _damaged(shard, str(error)) from error

    sides = [_whole_pixels(shard.name, path, column(path)) for path in boxes]
    return [
        _Row(*values)
        for values in zip(
            column(columns.label),
            column(columns.split),
            column(columns.name),
            zip(*sides, strict=True) if sides else column(None),
            strict=True,
        )
    ]


def _whole_pixels(file: str, column: str, values: Sequence[Any]) -> list[int | None]:
    """Return one side of the boxes as the store has it, integers of 32 bits or null."""
    whole: list[int | None] = []
    for row, value in enumerate(values):
        if value is None or value != value:  # pandas writes NaN for a box that is not there
            whole.append(None)
        elif type(value) in (int, float) and value % 1 == 0 and abs(value) < 2**31:
            whole.append(int(value))
        else:
            raise DataError(
                f"{file}: {column} must hold whole pixels (32 bits) or null, row {row} has "
                f"{reprlib.repr(value)}. Correct it, or drop or rename the columns of boxes "
                f"({', '.join(BOX_COLUMNS)})."
            )
    return whole


def _found_image(
    row: _Row, columns: Columns, shard: PurePosixPath, wnid: str, location: tuple[int, int]
) -> FoundImage:
    split = _SPLIT_NAMES.get(row.split, row.split) if row.split else _split_of_file(shard)
    name = row.name or ""
    official = official_file(split, wnid, name) if columns.is_tiny_imagenet else None
    return FoundImage(split, wnid, name, official or f"{shard}#{location[1]}", location, row.box)


def _name_labels(
    labels: Iterable[Label | None], columns: Columns, root: Path
) -> Mapping[Label | None, str]:
    """Return the class id of each label, in the order of the source.

    Numbers keep their order, and those below 0 stand for no label; names come as they first occur
    or as ``wnids.txt`` lists them.
    """
    distinct = [label for label in dict.fromkeys(labels) if label is not None]
    numbers = sorted(label for label in distinct if isinstance(label, int) and label >= 0)
    texts = [label for label in distinct if isinstance(label, str)]
    if columns.is_tiny_imagenet and (root / CLASS_LIST).is_file():
        wnids = read_text_in(root, CLASS_LIST).split()
        for unknown in set(texts) - set(wnids):
            raise DataError(
                f"{root.name}: column {columns.label} must hold classes of {CLASS_LIST}, found "
                f"{unknown!r}. Correct the column or add the class."
            )
        texts = wnids
    names = columns.class_names
    if len(set(names)) < len(names):  # two classes may share a name, as both kinds of crane do
        names = tuple(f"{number} {name}" for number, name in enumerate(names))
    return {text: text for text in texts} | {
        number: names[number] if number < len(names) else str(number) for number in numbers
    }


def _split_of_file(file: PurePosixPath) -> str:
    """Return the part that a file name (``train-00000-of-00002.parquet``) or folder stands for."""
    words = [re.split(r"[-_.]", file.name)[0], *reversed(file.parts[:-1])]
    return next((_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES), "all")


def _read_images(
    shards: Sequence[Path], column: str, locations: Sequence[Location]
) -> Iterator[Payload]:
    """Yield the images at ascending (shard, row) places."""
    rows_of_shard: dict[int, list[int]] = {}
    for location in locations:
        assert isinstance(location, tuple)
        rows_of_shard.setdefault(location[0], []).append(location[1])
    for number, rows in rows_of_shard.items():
        yield from _read_shard(shards[number], column, rows)


def _read_shard(shard: Path, column: str, rows: Sequence[int]) -> Iterator[Payload]:
    file = _open(shard)
    wanted = iter(rows)
    row = next(wanted, None)
    end = 0
    for group in range(file.num_row_groups):
        start, end = end, end + file.metadata.row_group(group).num_rows
        if row is None or row >= end:
            continue
        try:
            for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=[column]):
                images = pa.Table.from_batches([batch]).flatten()[column].to_pylist()
                while row is not None and row < start + len(images):
                    data = images[row - start]
                    yield Unreadable("no bytes in its row") if data is None else data
                    row = next(wanted, None)
                start += len(images)
        except _READING_FAULTS as error:
            raise _damaged(shard, str(error)) from error
    if row is not None:
        raise _damaged(shard, f"row {row} is missing")


def _open(file: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file)
    except _READING_FAULTS as error:
        raise _damaged(file, str(error)) from error


def _damaged(file: Path, found: str) -> DataError:
    return DataError(
        f"{file.name}: must be a whole Parquet file, {found.splitlines()[0]}. Get the file again."
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort ``part-10`` after ``part-9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]
