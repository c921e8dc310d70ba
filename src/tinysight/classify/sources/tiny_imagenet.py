"""The official Tiny ImageNet layout, as a folder or a zip archive.

    wnids.txt                              one class a line, not sorted
    words.txt                              class, tab, names
    train/<wnid>/images/<wnid>_<n>.JPEG
    train/<wnid>/<wnid>_boxes.txt          file, x_min, y_min, x_max, y_max, by tabs
    val/images/val_<n>.JPEG
    val/val_annotations.txt                file, class, x_min, y_min, x_max, y_max, by tabs
    test/images/                           without labels, not used

Validation images that a script has sorted into val/<wnid>/ or val/<wnid>/images/ are found too.
Sample ids leave out the folder ``images``, so that they are the same in every layout.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence

from tinysight.classify.sources.file_tree import FileTree, read_text
from tinysight.classify.sources.image_folder import SUFFIXES
from tinysight.classify.sources.index import FoundImage, ImageIndex, build_index
from tinysight.errors import DataError

LAYOUT = "Tiny ImageNet"
CLASS_LIST = "wnids.txt"
CLASS_NAMES = "words.txt"
VAL_ANNOTATIONS = "val/val_annotations.txt"

Box = tuple[int, int, int, int]


def find_roots(names: Sequence[str]) -> list[str]:
    """Return the folders that look like the official layout, even if one of its files is missing.

    Args:
        names: Files, ``/`` between folders.

    Returns:
        What their files begin with, sorted: empty, or a folder with a slash at its end.
    """
    by_words = {
        root
        for root in _folders_with(CLASS_NAMES, names)
        if any(name.startswith(f"{root}train/") for name in names)  # anyone may have a words.txt
    }
    roots = _folders_with(CLASS_LIST, names) | _folders_with(VAL_ANNOTATIONS, names) | by_words
    return sorted(roots)


def index_tiny_imagenet(tree: FileTree, *, num_classes: int | None = None) -> ImageIndex:
    """List the labelled images of the official tree.

    Args:
        tree: The files, ``wnids.txt`` at the top.
        num_classes: Keep only the first classes of ``wnids.txt``; all when not given.

    Raises:
        DataError: A file is missing or not as the layout has it, or classes do not agree.
    """
    names = set(tree.names)
    wnids = read_text(tree, CLASS_LIST).split()
    words = parse_words(read_text(tree, CLASS_NAMES)) if CLASS_NAMES in names else {}
    train_boxes = _read_train_boxes(tree, wnids, names)
    needs_annotations = any(name.startswith("val/images/") for name in tree.names)
    has_annotations = VAL_ANNOTATIONS in names or needs_annotations
    val_rows = _read_val_annotations(tree, set(wnids)) if has_annotations else {}

    found: list[FoundImage] = []
    ignored: list[str] = []
    num_unlabelled = 0
    for file in tree.names:
        match file.split("/"):
            case ["train", wnid, "images", name] if wnid in train_boxes:
                box = train_boxes[wnid].get(name)
                found.append(FoundImage("train", wnid, name, file, file, box))
            case ["val", "images", name] if name in val_rows:
                wnid, box = val_rows[name]
                found.append(FoundImage("val", wnid, name, file, file, box))
            case ["val", wnid, name] | ["val", wnid, "images", name] if wnid in train_boxes:
                box = val_rows[name][1] if name in val_rows else None
                found.append(
                    FoundImage("val", wnid, name, official_file("val", wnid, name), file, box)
                )
            case ["val" | "test", "images", _]:
                num_unlabelled += 1
            case (
                ["train", wnid, "images", name]
                | ["val", wnid, name]
                | ["val", wnid, "images", name]
            ) if name.lower().endswith(SUFFIXES):
                raise DataError(
                    f"{tree.where}: {CLASS_LIST} must list every class that has images, {file} is "
                    f"of {wnid!r}, which it lacks. Add the class to {CLASS_LIST} or remove its "
                    f"folders."
                )
            case ["train", wnid, box_file] if box_file == f"{wnid}_boxes.txt":
                pass
            case _ if file in (CLASS_LIST, CLASS_NAMES, VAL_ANNOTATIONS):
                pass
            case _:
                ignored.append(file)
    _check_all_there(tree, wnids, found, train_boxes, val_rows)
    return build_index(
        found,
        layout=LAYOUT,
        where=tree.where,
        wnids=wnids,
        class_names=words,
        read_at=tree.read_many,
        num_classes=num_classes,
        num_unlabelled=num_unlabelled,
        ignored=ignored,
    )


def parse_words(text: str) -> dict[str, str]:
    """Return the names of each class, from lines of ``class<tab>name, other name``."""
    pairs = (line.partition("\t") for line in text.splitlines())
    return {wnid: words.strip() for wnid, tab, words in pairs if tab}


def official_file(original_split: str, wnid: str, name: str) -> str:
    """Return the path that an image has in the official tree."""
    return f"train/{wnid}/images/{name}" if original_split == "train" else f"val/images/{name}"


def _folders_with(file: str, names: Sequence[str]) -> set[str]:
    return {
        name.removesuffix(file)
        for name in names
        if name.endswith(file) and f"/{name}".endswith(f"/{file}")
    }


def _read_train_boxes(
    tree: FileTree, wnids: Sequence[str], names: set[str]
) -> Mapping[str, Mapping[str, Box]]:
    boxes: dict[str, dict[str, Box]] = {}
    for wnid in wnids:
        name = f"train/{wnid}/{wnid}_boxes.txt"
        rows = _read_rows(tree, name, 5) if name in names else ()
        boxes[wnid] = {row[0]: _parse_box(row[1:], name, number) for number, row in rows}
    return boxes


def _read_val_annotations(tree: FileTree, wnids: set[str]) -> Mapping[str, tuple[str, Box]]:
    rows: dict[str, tuple[str, Box]] = {}
    for number, (name, wnid, *box) in _read_rows(tree, VAL_ANNOTATIONS, 6):
        if wnid not in wnids:
            raise DataError(
                f"{VAL_ANNOTATIONS} line {number}: the class must be one of {CLASS_LIST}, "
                f"found {wnid!r}. Correct the line or add the class."
            )
        if name in rows:
            raise DataError(
                f"{VAL_ANNOTATIONS} line {number}: an image must have one line, {name} has a "
                f"second. Remove one of them."
            )
        rows[name] = (wnid, _parse_box(box, VAL_ANNOTATIONS, number))
    return rows


def _read_rows(tree: FileTree, name: str, num_fields: int) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(read_text(tree, name).splitlines(), 1):
        fields = line.split("\t")
        if len(fields) != num_fields:
            raise DataError(
                f"{name} line {number}: must have {num_fields} fields with tabs between them, "
                f"found {len(fields)}. Get the whole data set again."
            )
        yield number, fields


def _parse_box(fields: Sequence[str], name: str, number: int) -> Box:
    try:
        x_min, y_min, x_max, y_max = map(int, fields)
    except ValueError as error:
        raise DataError(
            f"{name} line {number}: a box must be 4 whole numbers, found {' '.join(fields)!r}. "
            f"Get the whole data set again."
        ) from error
    box = x_min, y_min, x_max, y_max
    if max(map(abs, box)) >= 2**31:  # a store has them as integers of 32 bits
        raise DataError(
            f"{name} line {number}: a box must be 4 whole numbers of pixels (32 bits), found "
            f"{reprlib.repr(' '.join(fields))}. Correct the line, or get the whole data set again."
        )
    return box


def _check_all_there(
    tree: FileTree,
    wnids: Sequence[str],
    found: Sequence[FoundImage],
    train_boxes: Mapping[str, Mapping[str, Box]],
    val_rows: Mapping[str, tuple[str, Box]],
) -> None:
    in_train = {image.wnid for image in found if image.original_split == "train"}
    for name, (wnid, _) in val_rows.items():
        if wnid not in in_train:
            raise DataError(
                f"{tree.where}: {VAL_ANNOTATIONS} gives {name} the class {wnid}, so "
                f"train/{wnid}/images must hold images; it has none. "
                f"Get the whole data set again."
            )
    for wnid in wnids:
        if wnid not in in_train:
            raise DataError(
                f"{tree.where}: {CLASS_LIST} lists {wnid}, so train/{wnid}/images must hold "
                f"images; it has none. Get the whole data set again."
            )
    in_classes = {(image.wnid, image.name) for image in found if image.original_split == "train"}
    listed = {(wnid, name) for wnid, boxes in train_boxes.items() for name in boxes}
    if lost := listed - in_classes:
        wnid, name = min(lost)
        raise DataError(
            f"{tree.where}: train/{wnid}/{wnid}_boxes.txt lists {name}, so train/{wnid}/images "
            f"must hold it; {len(lost):,} of {len(listed):,} images are missing. "
            f"Get the whole data set again."
        )
    missing = val_rows.keys() - {image.name for image in found if image.original_split == "val"}
    if missing:
        raise DataError(
            f"{tree.where}: {VAL_ANNOTATIONS} lists {min(missing)}, so val/images must hold it; "
            f"{len(missing)} of {len(val_rows)} images are missing. Get the whole data set again."
        )
