"""Find out what a source is by looking at what it holds, not at what it is called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from shlex import quote

from tinysight import run_folder
from tinysight.classify.manifest import IMAGES, MANIFEST
from tinysight.classify.sources.cifar import index_cifar, is_cifar_folder
from tinysight.classify.sources.file_tree import FileTree, FolderTree, SubTree
from tinysight.classify.sources.image_folder import has_images, index_image_folder
from tinysight.classify.sources.index import ImageIndex
from tinysight.classify.sources.parquet import holds_images, index_parquet
from tinysight.classify.sources.tiny_imagenet import (
    CLASS_LIST,
    CLASS_NAMES,
    find_roots,
    index_tiny_imagenet,
)
from tinysight.classify.sources.zip_archive import ZipTree
from tinysight.errors import DataError

_TAR_MAGIC_AT = 257
_HEAD_BYTES = 512


def open_source(path: str | Path, *, num_classes: int | None = None) -> ImageIndex:
    """List the labelled images of a folder or an archive.

    Args:
        path: The folder or archive.
        num_classes: Keep only the first classes, in the source's own order; all when not given.

    Raises:
        DataError: There is no such source, it is of no known layout, or it is not whole.
    """
    path = Path(path)
    try:
        is_folder = path.is_dir()
        head = b"" if is_folder else _read_head(path)
    except OSError as error:
        raise DataError(
            f"{path}: must be a folder or an archive that can be read, {error.strerror}. "
            f"Check the path."
        ) from error
    if is_folder:
        return _open_folder(path, num_classes)
    if head.startswith(b"PAR1"):
        return index_parquet([path], path.parent, num_classes=num_classes)
    if head.startswith(b"PK") or path.suffix.lower() == ".zip":
        return _open_tree(ZipTree(path), num_classes)
    is_tar = head[_TAR_MAGIC_AT:].startswith(b"ustar")
    if is_tar or head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return index_cifar(path, num_classes=num_classes)
    raise DataError(
        f"{path}: must be a zip archive, a Parquet file or a CIFAR tar archive, begins with "
        f"{head[:4]!r}. Check that this is the right file."
    )


def _read_head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD_BYTES)


def _open_folder(path: Path, num_classes: int | None) -> ImageIndex:
    _require_images_to_pack(path)
    tree = FolderTree(path)
    if is_cifar_folder(tree.names):
        return index_cifar(path, num_classes=num_classes)
    shards = [path / name for name in tree.names if name.endswith(".parquet")]
    # Tables about images, and the stores of this package, may lie beside the images.
    if shards and not (has_images(tree.names) and not any(map(holds_images, shards))):
        index = index_parquet(shards, path, num_classes=num_classes)
        lists = (CLASS_LIST, CLASS_NAMES)
        beside = (name for name in tree.names if not name.endswith(".parquet"))
        return replace(index, ignored=tuple(name for name in beside if name not in lists))
    return _open_tree(tree, num_classes)


def _require_images_to_pack(path: Path) -> None:
    """Refuse a folder that this package wrote: the Parquet files in it hold no images to pack."""
    if (path / MANIFEST).is_file() and (path / IMAGES).is_file():
        raise DataError(
            f"{path}: a source must be images to pack, but this is a packed store already. "
            f"Train on it with: tinysight train {quote(str(path))} --out RUN"
        )
    if (path / run_folder.RUN).is_file() and (path / run_folder.RECIPE).is_file():
        raise DataError(
            f"{path}: a source must be images to pack, but this is the folder of a run. Name the "
            f"folder or archive that holds the images."
        )


def _open_tree(tree: FileTree, num_classes: int | None) -> ImageIndex:
    roots = find_roots(tree.names)
    if not roots:
        return index_image_folder(tree, num_classes=num_classes)
    if len(roots) > 1:
        found = ", ".join(root.removesuffix("/") or "the top" for root in roots)
        raise DataError(
            f"{tree.where}: a source must hold Tiny ImageNet once, found its lists in "
            f"{len(roots)} folders: {found}. Pass a folder or an archive that holds only one."
        )
    official = SubTree(tree, roots[0])
    index = index_tiny_imagenet(official, num_classes=num_classes)
    inside = (f"{roots[0]}{name}" for name in index.ignored)
    outside = (name for name in tree.names if not name.startswith(roots[0]))
    return replace(index, ignored=(*inside, *outside))
