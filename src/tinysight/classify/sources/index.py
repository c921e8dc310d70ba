"""What a source holds: labelled images that are listed but not yet read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysight.errors import DataError

Location = str | tuple[int, ...]
"""Where the reader of a source finds an image; only that reader understands it."""

OFFICIAL_SPLITS = ("train", "val", "test", "all")
"""Names of the parts that a source may come in; ``all`` where it is not divided."""


class FoundImage(NamedTuple):
    """One labelled image as a layout names it."""

    original_split: str
    wnid: str
    name: str
    """Distinct within its split and class, whatever layout the image is stored in; may be empty
    until ``named_apart``."""
    file: str
    """What a person would look for to find the image."""
    location: Location
    box_xyxy_px: tuple[int, int, int, int] | None = None


def named_apart(found: Sequence[FoundImage]) -> Sequence[FoundImage]:
    """Name the images by the places of their files unless all have names that tell them apart."""
    names = {(image.original_split, image.wnid, image.name) for image in found}
    if len(names) == len(found) and all(image.name for image in found):
        return found
    return [image._replace(name=image.file) for image in found]


class IndexedImage(NamedTuple):
    """One labelled image of an index."""

    sample_id: str
    """``original_split/wnid/name``; names the image in every store that holds it."""
    file: str
    class_index: int
    original_split: str
    location: Location
    box_xyxy_px: tuple[int, int, int, int] | None


class Unreadable(NamedTuple):
    """Stands in for an image whose bytes could not be had."""

    reason: str


Payload = bytes | NDArray[np.uint8] | Unreadable
"""An encoded image, an (H, W, 3) uint8 image, or why there is neither."""


@dataclass(frozen=True)
class ImageIndex:
    """The labelled images of a source, in the order in which they are read fastest."""

    layout: str
    """What the source was taken for, in words."""
    where: str
    """Name of the source, for messages."""
    wnids: tuple[str, ...]
    """Class ids by class_index: WordNet ids where there are any, otherwise short names."""
    class_names: tuple[str, ...]
    """Names for people by class_index."""
    images: tuple[IndexedImage, ...]
    read_at: Callable[[Sequence[Location]], Iterator[Payload]] = field(repr=False)
    """Reads the images at these locations, in order, one payload each."""
    num_unlabelled: int = 0
    """Images without a label; they are left out."""
    ignored: tuple[str, ...] = ()
    """Files that are neither images of this layout nor its lists; they are left out."""
    default_size_px: int = 64
    folders_without_images: tuple[str, ...] = ()
    """Folders beside those of the classes with files but no image, which may be a class whose
    images are of a kind that is not known; their files are among ``ignored``."""

    def read(self) -> Iterator[Payload]:
        """Yield what is stored for each image of ``images``, in order."""
        return self.read_at([image.location for image in self.images])

    def ignored_by_ending(self) -> dict[str, int]:
        """Return how many of the ignored files end in what, the most frequent ending first."""
        endings = Counter(PurePosixPath(file).suffix.lower() for file in self.ignored)
        return dict(sorted(endings.items(), key=lambda item: (-item[1], item[0])))


def build_index(
    found: Iterable[FoundImage],
    *,
    layout: str,
    where: str,
    wnids: Sequence[str],
    class_names: Mapping[str, str],
    read_at: Callable[[Sequence[Location]], Iterator[Payload]],
    is_order_kept: bool = False,
    num_classes: int | None = None,
    num_unlabelled: int = 0,
    ignored: Sequence[str] = (),
    default_size_px: int = 64,
    folders_without_images: Sequence[str] = (),
) -> ImageIndex:
    """Number the classes and check that the images make a classification problem.

    Args:
        found: Every labelled image, in the order in which they are read fastest.
        layout: What the source was taken for.
        where: Name of the source, for messages.
        wnids: Every class id, in the order of the source.
        class_names: Names by class id; a class without one is named by its id.
        read_at: See ``ImageIndex``.
        is_order_kept: Number the classes in the order of ``wnids``; otherwise sorted.
        num_classes: Keep only the first classes of ``wnids``; all when not given.
        num_unlabelled: See ``ImageIndex``.
        ignored: See ``ImageIndex``.
        default_size_px: See ``ImageIndex``.
        folders_without_images: See ``ImageIndex``.

    Raises:
        DataError: No images, a class without images or listed twice, fewer than two classes,
            fewer classes than asked for, or two images with one sample id.
    """
    _check_distinct(wnids, where)
    if num_classes is not None and num_classes > len(wnids):
        raise DataError(
            f"{where}: --classes (={num_classes}) must be at most the number of classes "
            f"(={len(wnids)}). Ask for fewer."
        )
    chosen = list(wnids[:num_classes])
    if not is_order_kept:
        chosen.sort()
    class_index = {wnid: index for index, wnid in enumerate(chosen)}
    images = tuple(
        IndexedImage(
            f"{image.original_split}/{image.wnid}/{image.name}",
            image.file,
            class_index[image.wnid],
            image.original_split,
            image.location,
            image.box_xyxy_px,
        )
        for image in found
        if image.wnid in class_index
    )
    if not images:
        unlabelled = f" but {num_unlabelled:,} without a label" if num_unlabelled else ""
        mend = (
            "Put the images of each class in a folder of their own, or check"
            if unlabelled
            else "Check"
        )
        raise DataError(
            f"{where}: a source must hold labelled images, found none{unlabelled} (it was taken "
            f"for the layout {layout}). {mend} that this is the right folder or archive."
        )
    _check_images(images, chosen, where, folders_without_images)
    return ImageIndex(
        layout=layout,
        where=where,
        wnids=tuple(chosen),
        class_names=tuple(class_names.get(wnid, wnid) for wnid in chosen),
        images=images,
        read_at=read_at,
        num_unlabelled=num_unlabelled,
        ignored=tuple(ignored),
        default_size_px=default_size_px,
        folders_without_images=tuple(folders_without_images),
    )


def _check_distinct(wnids: Sequence[str], where: str) -> None:
    for wnid, times in Counter(wnids).items():
        if times > 1:
            raise DataError(
                f"{where}: every class must be listed once, {wnid!r} is there {times} times. "
                f"Correct the list of classes."
            )


def _check_images(
    images: Sequence[IndexedImage],
    wnids: Sequence[str],
    where: str,
    folders_without_images: Sequence[str],
) -> None:
    per_class = Counter(image.class_index for image in images)
    empty = [wnid for index, wnid in enumerate(wnids) if index not in per_class]
    if empty:
        raise DataError(
            f"{where}: every class must have images, class {empty[0]!r} has none "
            f"({len(empty)} of {len(wnids)} classes are empty). Add images or remove the class."
        )
    if len(wnids) < 2:
        others = ", ".join(map(repr, folders_without_images[:3]))
        others = (
            f", and folders without an image that can be read, such as {others}" if others else ""
        )
        raise DataError(
            f"{where}: a classifier needs at least 2 classes, found only {wnids[0]!r}{others}. "
            f"Put the images of each class in a folder of their own."
        )
    if len({image.sample_id for image in images}) < len(images):
        counts = Counter(image.sample_id for image in images)
        sample_id, times = counts.most_common(1)[0]
        files = [image.file for image in images if image.sample_id == sample_id]
        raise DataError(
            f"{where}: every image must have a name of its own within its class, "
            f"{sample_id!r} occurs {times} times ({files[0]}, {files[1]}). "
            f"Rename or remove all but one."
        )
