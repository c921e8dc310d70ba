"""Images in one folder a class, with or without train, val and test above the classes.

Any depth of folders is allowed below a class; their names become part of the sample id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tinysight.classify.sources.file_tree import FileTree
from tinysight.classify.sources.index import FoundImage, ImageIndex, build_index
from tinysight.classify.split import PART_OF_NAME
from tinysight.errors import DataError

LAYOUT = "image folder"
SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""Files with these endings, in small or capital letters, are taken for images."""

UNDIVIDED = "all"
"""Name of the one part of a source without train, val or test."""


def has_images(names: Iterable[str]) -> bool:
    """Return whether any of some files has the name of an image."""
    return any(name.lower().endswith(SUFFIXES) for name in names)


def index_image_folder(tree: FileTree, *, num_classes: int | None = None) -> ImageIndex:
    """List the images of a folder or archive with one folder a class.

    Folders above the classes that all images lie in do not count. If every folder at the top is
    called train, val or test (or validation and the like), the classes are one level deeper.
    Images outside of a class folder, as in many a test part, have no label.

    Args:
        tree: The files.
        num_classes: Keep only the first classes in sorted order; all when not given.

    Raises:
        DataError: No images, an empty class, a link in its place that cannot be followed, a
            class in val or test that is not in train, or a folder with images beside such parts.
    """
    files = [name for name in tree.names if name.lower().endswith(SUFFIXES)]
    if not files:
        raise DataError(
            f"{tree.where}: must hold images in one folder a class ({', '.join(SUFFIXES)}), found "
            f"{len(tree.names):,} files and none of them an image. "
            f"Check that this is the right folder or archive."
        )
    wrapper = _wrapper(files)
    split_of_top = _splits_at_the_top(files, wrapper, tree.where)
    class_depth = len(wrapper) + (2 if split_of_top else 1)
    others = [name for name in tree.names if not name.lower().endswith(SUFFIXES)]
    _check_links(tree, others, class_depth)
    labelled = [
        image for file in files if (image := _label_by_folders(file, wrapper, split_of_top))
    ]
    classes = sorted(
        {image.wnid for image in labelled if image.original_split in ("train", UNDIVIDED)}
        or {image.wnid for image in labelled}
    )
    found = _of_known_classes(labelled, set(classes), tree.where)
    _check_empty_folders(tree, wrapper, split_of_top, class_depth)
    return build_index(
        found,
        layout=LAYOUT,
        where=tree.where,
        wnids=classes,
        class_names={},
        read_at=tree.read_many,
        num_classes=num_classes,
        num_unlabelled=len(files) - len(found),
        ignored=others,
        folders_without_images=_folders_without_images(
            files, others, wrapper, split_of_top, class_depth
        ),
    )


def _wrapper(files: Sequence[str]) -> list[str]:
    """Return the folders above the classes that every image lies in."""
    folders = [file.split("/")[:-1] for file in files]
    shortest = min(folders, key=len)
    shared: list[str] = []
    for depth, folder in enumerate(shortest):
        is_class = depth == len(shortest) - 1  # some image lies directly in it
        if is_class or folder.lower() in PART_OF_NAME:
            break
        if any(parts[depth] != folder for parts in folders):
            break
        shared.append(folder)
    return shared


def _splits_at_the_top(
    files: Sequence[str], wrapper: Sequence[str], where: str
) -> Mapping[str, str]:
    """Return the part that each top folder stands for, or nothing if they are classes."""
    tops = {file.split("/")[len(wrapper)] for file in files if file.count("/") > len(wrapper)}
    split_of_top = {
        top: PART_OF_NAME[top.lower()] for top in sorted(tops) if top.lower() in PART_OF_NAME
    }
    strays = sorted(tops - split_of_top.keys())
    if not strays:
        return split_of_top
    if "train" in split_of_top.values() and len(set(split_of_top.values())) > 1:
        others = f" and {len(strays) - 1:,} more" if len(strays) > 1 else ""
        raise DataError(
            f"{'/'.join((where, *wrapper))}: beside parts such as train and test no other folder "
            f"must hold images, found {', '.join(split_of_top)} and {strays[0]!r}{others}. "
            f"Move {strays[0]!r} elsewhere, or rename these folders if all of them are classes."
        )
    return {}


def _label_by_folders(
    file: str, wrapper: Sequence[str], split_of_top: Mapping[str, str]
) -> FoundImage | None:
    parts = file.split("/")[len(wrapper) :]
    split = UNDIVIDED
    if split_of_top and len(parts) > 1:
        split = split_of_top[parts.pop(0)]
    if len(parts) < 2:
        return None
    name = "/".join(parts[1:])
    return FoundImage(split, parts[0], name, "/".join(file.split("/")[len(wrapper) :]), file)


def _of_known_classes(
    labelled: Sequence[FoundImage], known: set[str], where: str
) -> list[FoundImage]:
    """Leave out parts whose folders are no classes, as in ``test/images``."""
    labels_of_split: dict[str, set[str]] = {}
    for image in labelled:
        labels_of_split.setdefault(image.original_split, set()).add(image.wnid)
    for split, labels in labels_of_split.items():
        unknown = labels - known
        if unknown and not known.isdisjoint(labels):
            raise DataError(
                f"{where}: every class must have images in train, {min(unknown)!r} has some in "
                f"{split} only. Add train/{min(unknown)} or remove {split}/{min(unknown)}."
            )
    return [image for image in labelled if image.wnid in known]


def _check_empty_folders(
    tree: FileTree, wrapper: Sequence[str], split_of_top: Mapping[str, str], class_depth: int
) -> None:
    for folder in tree.empty_folders:
        parts = folder.split("/")
        is_class = len(parts) == class_depth and parts[: len(wrapper)] == list(wrapper)
        if is_class and (not split_of_top or split_of_top.get(parts[-2]) == "train"):
            raise DataError(
                f"{tree.where}: every class must have images, folder {folder} is empty. "
                f"Add images or remove the folder."
            )


def _check_links(tree: FileTree, others: Sequence[str], class_depth: int) -> None:
    for name in others:
        if name.count("/") < class_depth and (fault := tree.fault_of_link(name)):
            raise DataError(
                f"{tree.where}: a link in the place of a class must lead to a folder, {name} "
                f"{fault}. Put the folder there or remove the link."
            )


def _folders_without_images(
    files: Sequence[str],
    others: Sequence[str],
    wrapper: Sequence[str],
    split_of_top: Mapping[str, str],
    class_depth: int,
) -> list[str]:
    """Return the folders in the places of classes that hold nothing but other files."""
    with_images, with_others = (
        {tuple(name.split("/")[:class_depth]) for name in names if name.count("/") >= class_depth}
        for names in (files, others)
    )
    return sorted(
        "/".join(parts)
        for parts in with_others - with_images
        if parts[: len(wrapper)] == tuple(wrapper)
        and (not split_of_top or parts[-2].lower() in PART_OF_NAME)
    )
