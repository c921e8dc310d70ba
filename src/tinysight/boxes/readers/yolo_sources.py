"""Which YOLO label files are read, and what the trees that they are in say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tinysight.boxes.folder_walk import Folder
from tinysight.boxes.readers.yolo_names import (
    read_class_names,
    read_keypoint_numbers,
    read_listed_names,
    yaml_files_of_tree,
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
        paths: Label files and roots of trees; a yaml file stands for its folder, of whose yaml
            files it is then the only one that counts.

    Raises:
        DataError: There is no label file, or names of classes are written in a way that is not
            understood.
    """
    named: dict[Path, list[Path]] = {}
    for path in paths:
        is_yaml = path.suffix in (".yaml", ".yml")
        named.setdefault(path.parent if is_yaml else path, []).extend([path] if is_yaml else [])
    sources = LabelSources()
    alone: list[Path] = []
    names_beside = cache(read_listed_names)
    facts_of_tree = cache(_names_and_keypoints)
    for root, yamls in named.items():
        if root.is_dir():
            tree = walk_tree(root)
            sources.add_tree(tree)
            folder, labels = root, tree.labels
        else:
            alone.append(root)
            folder, labels = root.parent, [root]
        names, num_keypoint_numbers = facts_of_tree(folder, tuple(yamls)) if labels else ({}, 0)
        for label in labels:
            # Roboflow and LabelImg put a list of names beside the labels of each part.
            sources.add_file(label, names or names_beside(label.parent), num_keypoint_numbers)
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


def _names_and_keypoints(folder: Path, yamls: tuple[Path, ...]) -> tuple[dict[int, str], int]:
    """Return the class names of a tree and how many numbers of keypoints follow each box.

    Args:
        folder: The tree, or a folder of labels that is part of it.
        yamls: The yaml files that were named; without any, those of the tree count.
    """
    holder, found = (folder, list(yamls)) if yamls else yaml_files_of_tree(folder)
    return read_class_names(holder, found), read_keypoint_numbers(found)
