"""YOLO text: one file an image, ``class cx cy w h`` a line in fractions of the image.

Lines of polygons (``class x1 y1 x2 y2 …``, perhaps with a confidence) give the box around their
points. Keypoints after a box are left aside; how many there are, and so that they are none of a
polygon, only the yaml says.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import FindingGroup, whole_file_finding
from tinysight.boxes.readers.box_numbers import as_number, box_columns
from tinysight.boxes.readers.file_bytes import read_annotation_bytes
from tinysight.boxes.readers.yolo_sources import find_sources
from tinysight.boxes.readers.yolo_tree import images_left_out, images_of, labels_left_out
from tinysight.boxes.records import Mark, RawBoxes, ReadOptions
from tinysight.errors import DataError

_LARGEST_CLASS = 1_000_000
# One outline in a few looks like a box with points in it, but hardly three of three.
_LEAST_TO_DOUBT = 3


def read_yolo(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read label files, or trees of them, as one source.

    In a tree, images without a label file are images without boxes; of images that differ in their
    suffix only, the first counts. Each tree has the class names that it states, or else those of a
    list beside its labels; classes of the same name are one. A folder of labels that is part of a
    tree has the tree's names, and its images are those in ``images`` instead of ``labels``.

    Args:
        paths: Label files and roots of trees; a yaml file stands for its folder, of whose yaml
            files it is then the only one that counts.
        options: Not used here; sizes of images that are not in the tree are filled in later.

    Raises:
        DataError: There is no label file.
    """
    sources = find_sources(paths)
    files = sources.files
    texts, notes = _read_all(files)
    lines, file_index, positions = _lines_of(texts)
    keypoint_numbers = np.array(sources.keypoint_numbers, np.int32)[file_index]
    numbers, classes, marks, outlines = _parse(lines, keypoint_numbers)
    doubt = _doubt_about(outlines, paths[0])
    own_set = np.array(sources.set_of_file, np.int32)[file_index]
    class_index, class_names, category_ids, is_listed = _classes_of(
        classes, own_set, sources.name_sets
    )
    marks += _unknown_classes(class_index, is_listed, category_ids)
    own, image_names, image_paths = images_of(files, sources.images)
    return RawBoxes(
        format="yolo",
        files=tuple(str(file) for file in files),
        file_index=file_index,
        positions=positions,
        record_format="line {position}",
        ids=None,
        numbers=numbers,
        declared=BoxOrder("cxcywh", "rel"),
        is_first_pixel_open=False,
        image_index=own[file_index],
        class_index=class_index,
        is_crowd=np.zeros(len(numbers), np.bool_),
        image_names=image_names,
        image_wh_px=np.full((len(image_names), 2), np.nan),
        class_names=class_names,
        category_ids=category_ids,
        is_image_listed=np.ones(len(image_names), np.bool_),
        is_class_listed=is_listed,
        marks=tuple(mark for mark in marks if len(mark.rows)),
        notes=(
            *notes,
            *doubt,
            images_left_out(sources.twins),
            labels_left_out(sources.outside, files),
            *(folder.as_finding() for folder in sources.unread),
        ),
        image_paths=image_paths,
    )


def _read_all(files: Sequence[Path]) -> tuple[list[bytes], tuple[FindingGroup, ...]]:
    """Return the bytes of each file, empty with a finding for one that cannot be read."""
    texts: list[bytes] = []
    faults: list[tuple[Path, DataError]] = []
    for file in files:
        try:
            texts.append(bytes(read_annotation_bytes(file)))
        except DataError as fault:
            texts.append(b"")
            faults.append((file, fault))
    if faults and len(faults) == len(files):
        raise faults[0][1]
    return texts, tuple(
        whole_file_finding(
            "unreadable_file", "rejected", str(file), str(fault).removeprefix(f"{file}: ")
        )
        for file, fault in faults
    )


def _lines_of(
    texts: Sequence[bytes],
) -> tuple[list[bytes], NDArray[np.int32], NDArray[np.int64]]:
    """Return the lines that are not blank with their file and line number."""
    lines: list[bytes] = []
    file_index: list[int] = []
    positions: list[int] = []
    for number, text in enumerate(texts):
        for position, line in enumerate(text.splitlines(), 1):
            if line and not line.isspace():
                lines.append(line)
                file_index.append(number)
                positions.append(position)
    return lines, np.array(file_index, np.int32), np.array(positions, np.int64)


def _parse(
    lines: Sequence[bytes], keypoint_numbers: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[Mark], list[NDArray[np.float64]]]:
    """Return (n, 4) numbers, (n,) class numbers with -1 for none, the marks, and the outlines.

    Among the outlines are lines of numbers that are rejected, as they are too many for a box.

    Args:
        lines: The n lines.
        keypoint_numbers: (n,) how many numbers of keypoints follow the box of a line, 0 where none
            are known of.
    """
    fields = [line.split() for line in lines]
    if lines and set(map(len, fields)) == {5}:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                table = np.fromstring(b"\n".join(lines).decode("ascii"), np.float64, sep=" ")
            except (DeprecationWarning, ValueError):
                table = np.zeros(0)
        if len(table) == 5 * len(lines) and _is_sound(table.reshape(-1, 5)):
            table = table.reshape(-1, 5)
            return table[:, 1:].copy(), table[:, 0].astype(np.int64), [], []
    boxes: list[object] = []
    outlines: list[NDArray[np.float64]] = []
    classes = np.full(len(lines), -1, np.int64)
    for row, parts in enumerate(fields):
        values: list[object] = []
        for part in parts:
            text = part.decode("utf-8", errors="replace")
            number = as_number(text)
            values.append(text if number is None else number)
        first = values[0]
        if isinstance(first, float) and first.is_integer() and 0 <= first <= _LARGEST_CLASS:
            classes[row] = int(first)
        # One number more than the box and its keypoints is the confidence of a prediction.
        num_keypoint_numbers = int(keypoint_numbers[row])
        is_box = len(values) - 5 - num_keypoint_numbers in (0, 1) or len(values) == 6
        # So it is after the points of an outline; a whole one is that of a keypoint.
        has_confidence = len(values) >= 8 and len(values) % 2 == 0 and _is_confidence(values[-1])
        is_polygon = not is_box and (has_confidence or (len(values) >= 7 and len(values) % 2 == 1))
        if is_polygon and all(isinstance(value, float) for value in values):
            outlines.append(np.array(values[1:], np.float64))
            points = outlines[-1][: -1 if has_confidence else None]
            boxes.append(_around_points(points.reshape(-1, 2)))
        else:
            boxes.append(values[1:5] if is_box else values[1:])
            if not is_box and len(values) >= 8 and all(isinstance(v, float) for v in values):
                outlines.append(np.array(values[1:], np.float64))
    numbers, marks = box_columns(boxes)
    unknown = np.flatnonzero(classes < 0).astype(np.int64)
    found = [fields[row][0].decode("utf-8", errors="replace") for row in unknown.tolist()]
    message = "a line must begin with a class number from 0 up, got {0}."
    marks.append(Mark("unknown_category", "orphan", message, unknown, (found,)))
    return numbers, classes, marks, outlines


def _doubt_about(outlines: Sequence[NDArray[np.float64]], path: Path) -> list[FindingGroup]:
    """Return a finding if the outlines may all be boxes with keypoints in them.

    Args:
        outlines: Numbers of the lines without the class; an odd number is no outline.
        path: Name of the source, for the message.
    """
    if len(outlines) < _LEAST_TO_DOUBT or len(set(map(len, outlines))) > 1:
        return []
    numbers = np.stack(outlines)
    centre, size, points = numbers[:, None, :2], numbers[:, None, 2:4], numbers[:, 4:]
    for width in (2, 3):
        if points.shape[1] % width:
            continue
        places = points.reshape(len(points), -1, width)
        is_in_box = (np.abs(places[..., :2] - centre) <= size / 2).all(axis=2)
        is_absent = (places[..., :2] == 0).all(axis=2)
        if (is_in_box | is_absent).all() and np.isin(places[..., 2:], (0, 1, 2)).all():
            done = "rejected as neither boxes nor" if numbers.shape[1] % 2 else "read as"
            message = (
                f"lines of {numbers.shape[1] + 1} numbers are {done} outlines, but in all "
                f"{len(numbers):,} of them the points after the first two lie in the box of centre "
                f"and size that the first four numbers would be. If they are keypoints, state "
                f"kpt_shape: [{places.shape[1]}, {width}] in the yaml of their folder."
            )
            return [whole_file_finding("outlines_doubtful", "accepted", str(path), message)]
    return []


def _is_sound(table: NDArray[np.float64]) -> bool:
    classes = table[:, 0]
    return bool(
        np.isfinite(table).all()
        and (classes == np.floor(classes)).all()
        and classes.min() >= 0
        and classes.max() <= _LARGEST_CLASS
    )


def _is_confidence(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _around_points(points: NDArray[np.float64]) -> list[object]:
    low, high = points.min(axis=0), points.max(axis=0)
    return [*((low + high) / 2).tolist(), *(high - low).tolist()]


def _classes_of(
    classes: NDArray[np.int64], own_set: NDArray[np.int32], name_sets: Sequence[dict[int, str]]
) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[int | str, ...], NDArray[np.bool_]]:
    """Return the class of each row, and the names, numbers and state of all classes.

    A number means what the names of its own tree say; ``own_set`` (n,) is the row of those in
    ``name_sets``. Two numbers of one tree stay two classes though they have the same name.
    """
    class_index = np.zeros(len(classes), np.int32)
    found: list[tuple[str, int, bool]] = []
    for row, names in enumerate(name_sets):
        is_own = own_set == row
        used = np.unique(classes[is_own]).tolist()
        numbers = sorted({*names, *(number for number in used if number >= 0)})
        if -1 in used:
            numbers.append(-1)
        earlier = {(name, is_listed): at for at, (name, _, is_listed) in enumerate(found)}
        rows: dict[int, int] = {}
        for number in numbers:
            name = names.get(number, "(no class)" if number < 0 else str(number))
            is_listed = number in names if names else number >= 0
            at = earlier.pop((name, is_listed), None)
            if at is None:
                at = len(found)
                found.append((name, number, is_listed))
            rows[number] = at
        if used:
            lookup = np.array([rows[number] for number in used], np.int32)
            class_index[is_own] = lookup[np.searchsorted(used, classes[is_own])]
    return (
        class_index,
        tuple(name for name, _, _ in found),
        tuple(number for _, number, _ in found),
        np.array([is_listed for _, _, is_listed in found], np.bool_),
    )


def _unknown_classes(
    class_index: NDArray[np.int32],
    is_listed: NDArray[np.bool_],
    category_ids: tuple[int | str, ...],
) -> list[Mark]:
    ids = np.array(category_ids, np.int64)[class_index]
    rows = np.flatnonzero(~is_listed[class_index] & (ids >= 0)).astype(np.int64)
    message = "the class number must be one of `names`, got {0}."
    return [Mark("unknown_category", "orphan", message, rows, (ids[rows],))]
