"""YOLO text: one file an image, ``class cx cy w h`` a line in fractions of the image.

Lines of polygons (``class x1 y1 x2 y2 …``) give the box around their points. Keypoints after a box
are left aside; how many there are, and so that they are none of a polygon, only the yaml says.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.findings import WHOLE_FILE, FindingGroup, whole_file_finding
from tinysight.boxes.folder_walk import Folder, walk_folders
from tinysight.boxes.image_sizes import IMAGE_SUFFIXES
from tinysight.boxes.readers.box_numbers import as_number, box_columns
from tinysight.boxes.readers.file_bytes import plain_path, read_annotation_bytes
from tinysight.boxes.readers.yolo_names import (
    LISTS,
    read_class_names,
    read_keypoint_numbers,
    read_listed_names,
    yaml_files,
)
from tinysight.boxes.records import Mark, RawBoxes, ReadOptions
from tinysight.errors import DataError

# Texts that stand beside labels. An image may be called so as well: then its lines are of numbers.
_REMARKS = {"readme.txt", "readme.dataset.txt", "readme.roboflow.txt", "notes.txt"}
_LARGEST_CLASS = 1_000_000
_HEAD_BYTES = 4096
# One outline in a few looks like a box with points in it, but hardly three of three.
_LEAST_TO_DOUBT = 3


def read_yolo(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read label files, or trees of them, as one source.

    In a tree, images without a label file are images without boxes; of images that differ in their
    suffix only, the first counts. Each tree has the class names that it states, or else those of a
    list beside its labels; classes of the same name are one.

    Args:
        paths: Label files and roots of trees; a yaml file stands for its folder, of whose yaml
            files it is then the only one that counts.
        options: Not used here; sizes of images that are not in the tree are filled in later.

    Raises:
        DataError: There is no label file.
    """
    named: dict[Path, list[Path]] = {}
    for path in paths:
        is_yaml = path.suffix in (".yaml", ".yml")
        named.setdefault(path.parent if is_yaml else path, []).extend([path] if is_yaml else [])
    files: list[Path] = []
    images: dict[str, Path] = {}
    twins: dict[str, tuple[Path, Path]] = {}
    name_sets: list[dict[int, str]] = []
    set_of_file: list[int] = []
    keypoints_of_file: list[int] = []
    outside: list[Path] = []
    unread: list[Folder] = []
    names_beside = cache(read_listed_names)
    for root, yamls in named.items():
        if root.is_dir():
            tree = _walk(root)
            labels = tree.labels
            outside += tree.outside
            images.update(tree.images)
            twins.update(tree.twins)
            unread += tree.unread
        else:
            labels = [root]
        files += labels
        names, num_keypoint_numbers = {}, 0
        if labels and root.is_dir():
            yamls = yamls or yaml_files(root)
            names = read_class_names(root, yamls)
            num_keypoint_numbers = read_keypoint_numbers(yamls)
        for label in labels:
            # Roboflow and LabelImg put a list of names beside the labels of each part.
            own_names = names or (names_beside(label.parent) if root.is_dir() else names)
            if own_names not in name_sets:
                name_sets.append(own_names)
            set_of_file.append(name_sets.index(own_names))
        keypoints_of_file += [num_keypoint_numbers for _ in labels]
    if not files:
        if unread:
            raise DataError(f"{unread[0].path}: {unread[0].fault}")
        raise DataError(
            f"{paths[0]}: must hold YOLO label files, but no .txt with labels is below it. "
            f"Name the folder with the labels."
        )
    texts, notes = _read_all(files)
    lines, file_index, positions = _lines_of(texts)
    keypoint_numbers = np.array(keypoints_of_file, np.int32)[file_index]
    numbers, classes, marks, outlines = _parse(lines, keypoint_numbers)
    doubt = _doubt_about(outlines, paths[0])
    own_set = np.array(set_of_file, np.int32)[file_index]
    class_index, class_names, category_ids, is_listed = _classes_of(classes, own_set, name_sets)
    marks += _unknown_classes(class_index, is_listed, category_ids)
    own, image_names, image_paths = _images_of(files, images)
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
            _left_out(twins),
            _outside_labels(outside, files),
            *(folder.as_finding() for folder in unread),
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


class _Tree(NamedTuple):
    """What is below a folder.

    Images are named by their path without links and suffix; of two with one name, which would have
    one label file, the first counts.
    """

    labels: list[Path]
    outside: list[Path]
    """Files of boxes in no folder called ``labels``, where there is one."""
    images: dict[str, Path]
    twins: dict[str, tuple[Path, Path]]
    """Images that are left out, named with their suffix, and those that count instead."""
    unread: list[Folder]


def _walk(root: Path) -> _Tree:
    texts: list[Path] = []
    images: dict[str, Path] = {}
    twins: dict[str, tuple[Path, Path]] = {}
    unread: list[Folder] = []
    for folder in walk_folders(root):
        if folder.fault:
            unread.append(folder)
        real_folder = os.path.realpath(folder.path)
        for name in folder.file_names:
            lower = name.lower()
            path = folder.path / name
            if lower.endswith(".txt"):
                if lower not in LISTS and (lower not in _REMARKS or _begins_with_box(path)):
                    texts.append(path)
            elif lower.endswith(IMAGE_SUFFIXES):
                first = images.setdefault(os.path.join(real_folder, path.stem), path)
                if first is not path:
                    twins[os.path.join(real_folder, name)] = path, first
    labels = [path for path in texts if "labels" in path.relative_to(root).parts[:-1]]
    if not labels:
        labels = [path for path in texts if not _is_image_list(path)]
        return _Tree(labels, [], images, twins, unread)
    # Beside labels, texts of boxes may be copies of them or of another set: nothing tells which.
    known = set(labels)
    outside = [path for path in texts if path not in known and _holds_box(path)]
    return _Tree(labels, outside, images, twins, unread)


def _left_out(twins: Mapping[str, tuple[Path, Path]]) -> FindingGroup:
    """Return the findings of images whose name without suffix another has."""
    return FindingGroup(
        kind="repeated_image_name",
        action="rejected",
        message="an image must have a name of its own without its suffix, as its label file has "
        "it, but {0} has the same. Left out; rename one of them, with its label file.",
        files=tuple(str(path) for path, _ in twins.values()),
        file_index=np.arange(len(twins), dtype=np.int32),
        record_format="",
        positions=np.full(len(twins), WHOLE_FILE, np.int64),
        values=([first.name for _, first in twins.values()],),
    )


def _outside_labels(stray: Sequence[Path], read: Sequence[Path]) -> FindingGroup:
    """Return the findings of files of boxes that are in no folder of labels and are not read."""
    named = set(read)
    stray = [path for path in stray if path not in named]
    return FindingGroup(
        kind="label_file_elsewhere",
        action="rejected",
        message="label files must be in a folder called labels where a tree has one, but this "
        "file of boxes is in none. Left out; name it or its folder as well to read it.",
        files=tuple(str(path) for path in stray),
        file_index=np.arange(len(stray), dtype=np.int32),
        record_format="",
        positions=np.full(len(stray), WHOLE_FILE, np.int64),
    )


def _is_image_list(path: Path) -> bool:
    """Whether a text file lists images, as ``train.txt`` of darknet does."""
    return _first_line(path).endswith(IMAGE_SUFFIXES)


def _begins_with_box(path: Path) -> bool:
    """Whether the first line of a text file is that of a box or an outline."""
    return _is_box(_first_line(path))


def _holds_box(path: Path) -> bool:
    """Whether a line near the begin of a text file is that of a box or an outline."""
    return any(map(_is_box, _head(path).splitlines()))


def _is_box(line: str) -> bool:
    fields = line.split()
    return len(fields) >= 5 and all(as_number(field) is not None for field in fields)


def _first_line(path: Path) -> str:
    """Return the first line in lower case, empty where there is none."""
    return _head(path).partition("\n")[0].strip().lower()


def _head(path: Path) -> str:
    """Return the begin of a text file, empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).decode(errors="replace")
    except OSError:  # what cannot be read becomes a finding later
        return ""


def _images_of(
    files: Sequence[Path], images: dict[str, Path]
) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[Path | None, ...]]:
    """Return the image of each label file, and names and paths of all images."""
    left = dict(images)
    real = cache(os.path.realpath)  # several trees of labels may link to one folder of images
    paths: list[Path | None] = []
    names: list[str] = []
    for file in files:
        path = None
        for stem in _image_stems(file):
            folder, name = os.path.split(stem)
            key = os.path.join(real(folder), name)
            path = images.get(key)
            if path is not None:
                left.pop(key, None)
                break
        paths.append(path)
        # Without an image nothing says what its suffix would be.
        names.append(plain_path(file).stem if path is None else path.name)
    own = np.arange(len(files), dtype=np.int32)
    # What is left are images without a label file: pictures of nothing, which count as images.
    paths += left.values()
    names += [path.name for path in left.values()]
    return own, tuple(names), tuple(paths)


def _image_stems(file: Path) -> Iterator[str]:
    """Where the image of a label file may be: in ``images`` for ``labels``, or beside it."""
    plain = plain_path(file).with_suffix("")
    parts = list(plain.parts)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at] == "labels":
            yield str(Path(*parts[:at], "images", *parts[at + 1 :]))
    yield str(plain)


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
        is_polygon = not is_box and len(values) >= 7 and len(values) % 2 == 1
        if is_polygon and all(isinstance(value, float) for value in values):
            outlines.append(np.array(values[1:], np.float64))
            boxes.append(_around_points(outlines[-1].reshape(-1, 2)))
        else:
            boxes.append(values[1:5] if is_box else values[1:])
    numbers, marks = box_columns(boxes)
    unknown = np.flatnonzero(classes < 0).astype(np.int64)
    found = [fields[row][0].decode("utf-8", errors="replace") for row in unknown.tolist()]
    message = "a line must begin with a class number from 0 up, got {0}."
    marks.append(Mark("unknown_category", "orphan", message, unknown, (found,)))
    return numbers, classes, marks, outlines


def _doubt_about(outlines: Sequence[NDArray[np.float64]], path: Path) -> list[FindingGroup]:
    """Return a finding if the outlines may all be boxes with keypoints in them."""
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
            message = (
                f"lines of {numbers.shape[1] + 1} numbers are read as outlines, but in all "
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
