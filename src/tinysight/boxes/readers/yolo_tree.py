"""The files of a YOLO tree: which hold labels, which are images, and which are left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.findings import WHOLE_FILE, FindingGroup
from tinysight.boxes.folder_walk import Folder, walk_folders
from tinysight.boxes.image_sizes import is_image_name
from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.file_bytes import plain_path
from tinysight.boxes.readers.yolo_names import LISTS, folder_of_labels

# Texts that stand beside labels. An image may be called so as well: then its lines are of numbers.
_REMARKS = {"readme.txt", "readme.dataset.txt", "readme.roboflow.txt", "notes.txt"}
_HEAD_BYTES = 4096


class LabelTree(NamedTuple):
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
    is_whole: bool = False
    """Whether there are folders called ``labels`` in it."""


def walk_tree(root: Path) -> LabelTree:
    """Look for labels and images in a folder and all below it.

    Labels are the texts in folders called ``labels``; where there is no such folder, all texts
    that are neither lists of images nor remarks. Images of a folder in ``labels`` are looked for in
    ``images`` as well.

    Args:
        root: The folder.
    """
    tree = LabelTree([], [], {}, {}, [])
    texts: list[Path] = []
    for folder in walk_folders(root):
        _add_images(tree, folder)
        for name in folder.file_names:
            lower = name.lower()
            path = folder.path / name
            if lower.endswith(".txt") and lower not in LISTS:
                if lower not in _REMARKS or _begins_with_box(path):
                    texts.append(path)
    labels = [path for path in texts if "labels" in path.relative_to(root).parts[:-1]]
    if not labels:
        labels = [path for path in texts if not _is_image_list(path)]
        for folder in walk_folders(beside) if (beside := _images_beside(root)) else ():
            _add_images(tree, folder)
        return tree._replace(labels=labels)
    # Beside labels, texts of boxes may be copies of them or of another set: nothing tells which.
    known = set(labels)
    outside = [path for path in texts if path not in known and _holds_box(path)]
    return tree._replace(labels=labels, outside=outside, is_whole=True)


def _add_images(tree: LabelTree, folder: Folder) -> None:
    """Add the images in a folder to those of a tree."""
    if folder.fault:
        tree.unread.append(folder)
    real_folder = os.path.realpath(folder.path)
    for path in (folder.path / name for name in folder.file_names if is_image_name(name)):
        first = tree.images.setdefault(os.path.join(real_folder, path.stem), path)
        if first.name != path.name:
            tree.twins[os.path.join(real_folder, path.name)] = path, first


def _images_beside(part: Path) -> Path | None:
    """Return the folder of images that goes with a folder in ``labels``, None without one."""
    labels = folder_of_labels(part)
    if labels is None:
        return None
    for path in (os.path.abspath(part), os.path.realpath(part)):
        if Path(path).is_relative_to(labels):
            images = labels.parent / "images" / Path(path).relative_to(labels)
            return images if os.path.isdir(images) else None
    return None


def images_of_files(
    files: Sequence[Path],
) -> tuple[dict[str, Path], dict[str, tuple[Path, Path]]]:
    """Find the images of label files that were named one by one.

    Args:
        files: Label files.

    Returns:
        Images and those that are left out, as in :class:`LabelTree`.
    """
    images: dict[str, Path] = {}
    twins: dict[str, tuple[Path, Path]] = {}
    images_in = cache(_images_by_stem)
    for file in files:
        for place in _image_stems(file):
            folder, stem = os.path.split(place)
            if found := images_in(folder).get(stem):
                first, *others = found
                real_folder = os.path.realpath(folder)
                images[os.path.join(real_folder, stem)] = first
                twins |= {os.path.join(real_folder, path.name): (path, first) for path in others}
                break
    return images, twins


def _images_by_stem(folder: str) -> dict[str, list[Path]]:
    """Return the images in a folder by what their label files are called, those of one by name."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # then nothing is known of their sizes, which is told later
        return {}
    images: dict[str, list[Path]] = {}
    for path in (Path(folder, name) for name in names if is_image_name(name)):
        images.setdefault(path.stem, []).append(path)
    return images


def images_left_out(twins: Mapping[str, tuple[Path, Path]]) -> FindingGroup:
    """Return the findings of images whose name without suffix another has.

    Args:
        twins: Those of the trees, see :class:`LabelTree`.
    """
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


def labels_left_out(stray: Sequence[Path], read: Sequence[Path]) -> FindingGroup:
    """Return the findings of files of boxes that are in no folder of labels and are not read.

    Args:
        stray: Those of the trees, see :class:`LabelTree`.
        read: Label files that are read, of which some may have been named one by one.
    """
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
    return is_image_name(_first_line(path))


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


def images_of(
    files: Sequence[Path], images: dict[str, Path]
) -> tuple[NDArray[np.int32], tuple[str, ...], tuple[Path | None, ...]]:
    """Find the image of each label file.

    Args:
        files: Label files.
        images: Those of the trees, see :class:`LabelTree`.

    Returns:
        The image of each label file, an index into what follows; names of all images, those
        without a label file last; their paths, None where there is no image.
    """
    left = dict(images)
    real = cache(os.path.realpath)  # several trees of labels may link to one folder of images
    paths: list[Path | None] = []
    names: list[str] = []
    for file in files:
        path = None
        for stem in _image_stems(file, real):
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


def _image_stems(file: Path, real: Callable[[str], str] = os.path.realpath) -> Iterator[str]:
    """Where the image of a label file may be: in ``images`` for ``labels``, or beside it.

    Args:
        file: The label file, whose path counts as it is written and without links.
        real: Returns the path of a folder without links.
    """
    folder, name = os.path.split(os.path.abspath(plain_path(file).with_suffix("")))
    for place in dict.fromkeys((folder, real(folder))):
        parts = list(Path(place).parts)
        for at in range(len(parts) - 1, -1, -1):
            if parts[at] == "labels":
                yield os.path.join(*parts[:at], "images", *parts[at + 1 :], name)
    yield os.path.join(folder, name)
