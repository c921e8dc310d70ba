"""Tiny ImageNet: one box an image, in text files of the training classes and of validation.

Coordinates run from 0 to 63 in images of 64 pixels and a whole image is ``0 0 63 63``: right and
bottom name the last pixel of a box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tinysight.boxes.box_order import BoxOrder
from tinysight.boxes.folder_walk import walk_folders
from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.file_bytes import plain_path, read_annotation_bytes
from tinysight.boxes.records import RawBoxes, ReadOptions
from tinysight.errors import DataError

_SIZE_PX = 64
_NUM_FIELDS = (5, 6)


def read_tiny_imagenet(paths: Sequence[Path], options: ReadOptions) -> RawBoxes:
    """Read the whole tree, or one file of boxes.

    Args:
        paths: The root of the tree, one of its folders, or one file of boxes.
        options: ``image_size_wh`` overrides the 64 x 64 pixels of the official images.

    Raises:
        DataError: There is no file of boxes.
    """
    (path,) = paths
    files = sorted(_box_files(path)) if path.is_dir() else [path]
    # A search by pattern passes over a folder that cannot be read without a word.
    unread = [folder for folder in walk_folders(path) if folder.fault] if path.is_dir() else []
    if not files and unread:
        raise DataError(f"{unread[0].path}: {unread[0].fault}")
    if not files:
        raise DataError(
            f"{path}: must hold the boxes of Tiny ImageNet, but there is no "
            f"train/<wnid>/<wnid>_boxes.txt and no val/val_annotations.txt."
        )
    names = _class_names(path) if path.is_dir() else {}
    width, height = options.image_size_wh or (_SIZE_PX, _SIZE_PX)
    collector = Collector(files)
    for folder in unread:
        collector.note(folder.as_finding())
    for wnid, name in names.items():
        collector.class_of(wnid, name)
    for number, file in enumerate(files):
        own = plain_path(file).name.removesuffix("_boxes.txt")
        text = bytes(read_annotation_bytes(file)).decode("utf-8", errors="replace")
        for position, line in enumerate(text.split("\n"), 1):
            fields = [field.strip() for field in line.split("\t")]
            if fields == [""]:
                continue
            wnid = fields[1] if len(fields) == 6 else own
            image = collector.image(f"{number}/{fields[0]}", fields[0], (width, height))
            texts = fields[-4:] if len(fields) in _NUM_FIELDS else fields[1:]
            box: list[object] = [
                text if (value := as_number(text)) is None else value for text in texts
            ]
            collector.box(box, image, collector.class_of(wnid), position, number)
    return collector.raw_boxes(
        "tiny-imagenet", "line {position}", BoxOrder("xyxy", includes_last=True)
    )


def _box_files(root: Path) -> Iterator[Path]:
    for pattern in ("train/*/*_boxes.txt", "*/*_boxes.txt", "*_boxes.txt"):
        found = list(root.glob(pattern))
        yield from found
        if found:
            break
    for name in ("val/val_annotations.txt", "val_annotations.txt"):
        if (root / name).is_file():
            yield root / name


def _class_names(root: Path) -> dict[str, str]:
    """Return the words of each class in the order of ``wnids.txt``, where the tree has both."""
    wnids, words = root / "wnids.txt", root / "words.txt"
    if not wnids.is_file():
        return {}
    order = wnids.read_text(encoding="utf-8", errors="replace").split()
    named: dict[str, str] = {}
    if words.is_file():
        for line in words.read_text(encoding="utf-8", errors="replace").splitlines():
            wnid, _, name = line.partition("\t")
            named[wnid] = name.strip()
    return {wnid: named.get(wnid) or wnid for wnid in order}
