"""Which YOLO label files are read, and what the trees that they are in say of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tinysight.boxes.folder_walk import Folder
from tinysight.boxes.readers.yolo_names import (
    read_class_names,
    read_keypoint_numbers,
    read_keypoint_numbers_around,
    read_listed_names,
    read_names_around,
    yaml_files,
)
from tinysight.boxes.readers.yolo_tree import LabelTree, images_of_files, walk_tree
from tinysight.errors import DataError


@dataclass
class LabelSources:
    """Label files and what is known of each.

    Attributes:
        files: Label files, n of them.
        set_of_file: Row of ``name_sets`` that has the class names of each file, n of them.
        keypoint_numbers: How many numbers of keypoints follow a box of each file, n of them.
        name_sets: Names by class number, different ones.
        images: See :class:`~tinysight.boxes.readers.yolo_tree.LabelTree`, of all trees.
        twins: Likewise.
        outside: Likewise.
        unread: Likewise.
    """

    files: list[Path] = field(default_factory=list)
    set_of_file: list[int] = field(default_factory=list)
    keypoint_numbers: list[int] = field(default_factory=list)
    name_sets: list[dict[int, str]] = field(default_factory=list)
    images: dict[str, Path] = field(default_factory=dict)
    twins: dict[str, tuple[Path, Path]] = field(default_factory=dict)
    outside: list[Path] = field(default_factory=list)
    unread: list[Folder] = field(default_factory=list)

    def add_tree(self, tree: LabelTree) -> None:
        """Add what is below a folder, but for the label files."""
        self.images.update(tree.images)
        self.twins.update(tree.twins)
        self.outside += tree.outside
        self.unread += tree.unread

    def add_file(self, file: Path, names: dict[int, str], num_keypoint_numbers: int) -> None:
        """Add a label file, its class names and how many numbers of keypoints follow a box."""
        self.files.append(file)
        if names not in self.name_sets:
            self.name_sets.append(names)
        self.set_of_file.append(self.name_sets.index(names))
        self.keypoint_numbers.append(num_keypoint_numbers)


def find_sources(paths: Sequence[Path]) -> LabelSources:
    """Find all label files below some paths.

    Args:
        paths: Label files and roots of trees. A yaml file is the only one that counts for what is
            named in its folder, and stands for the whole folder where nothing in it is named.

    Raises:
        DataError: There is no label file, or names of classes are written in a way that is not
            understood.
    """
    sources = LabelSources()
    alone: list[Path] = []
    names_beside = cache(read_listed_names)
    names_around = cache(read_names_around)
    keypoints_around = cache(read_keypoint_numbers_around)
    for root, yamls in _with_their_yamls(paths).items():
        if root.is_dir():
            tree = walk_tree(root)
            sources.add_tree(tree)
            folder, labels, is_whole = root, tree.labels, tree.is_whole
            own_yamls = yamls or (yaml_files(root) if labels else [])
        else:
            alone.append(root)
            folder, labels, is_whole, own_yamls = root.parent, [root], False, yamls
        if not labels:
            continue
        own_names = read_class_names(root, own_yamls) if root.is_dir() or yamls else {}
        num_keypoint_numbers = read_keypoint_numbers(own_yamls) or keypoints_around(
            folder, is_whole=is_whole
        )
        for label in labels:
            # Roboflow and LabelImg put a list of names beside the labels of each part.
            names = own_names or names_beside(label.parent)
            names = names or names_around(folder, is_whole=is_whole)
            sources.add_file(label, names, num_keypoint_numbers)
    images, twins = images_of_files(alone)
    sources.images.update(images)
    sources.twins.update(twins)
    if not sources.files:
        if sources.unread:
            raise DataError(f"{sources.unread[0].path}: {sources.unread[0].fault}")
        raise DataError(
            f"{paths[0]}: must hold YOLO label files, but no .txt with labels is below it. "
            f"Name the folder with the labels."
        )
    return sources


def _with_their_yamls(paths: Sequence[Path]) -> dict[Path, list[Path]]:
    """Return what to read, in order, each with the yaml files that were named for it.

    A yaml file stands for its folder, unless something in that folder was named as well.
    """
    yamls = [path for path in paths if path.suffix in (".yaml", ".yml")]
    named: dict[Path, list[Path]] = {path: [] for path in paths if path not in yamls}
    others = {path: Path(os.path.abspath(path)) for path in named}
    for yaml in yamls:
        holder = Path(os.path.abspath(yaml.parent))
        parts = [path for path, place in others.items() if place.is_relative_to(holder)]
        for path in parts or [yaml.parent]:
            named.setdefault(path, []).append(yaml)
    return named
