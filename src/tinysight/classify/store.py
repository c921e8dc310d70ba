"""A store: every image decoded once, in one memory-mapped array, with its labels and split.

images.npy        uint8 (N, S, S, 3), RGB, rows by class_index and then by sample_id
samples.parquet   one row an image, in the same order
rejected.csv      images of the source that could not be used, and why
store.json        classes, split, channel statistics, checksums
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tinysight.classify.manifest import (
    IMAGES,
    MANIFEST,
    REJECTED,
    SAMPLES,
    Manifest,
    check_file,
    check_length,
    load_manifest,
    unreadable_file,
)
from tinysight.errors import DataError


@dataclass(frozen=True)
class Store:
    """The images of a store and what training and evaluation need to know about them."""

    path: Path
    images_u8: NDArray[np.uint8]
    """Pixels, shape (N, S, S, 3), RGB, memory-mapped and read-only."""
    sample_ids: NDArray[np.str_]
    """Names of the images, shape (N,)."""
    targets: NDArray[np.int64]
    """class_index of each image, shape (N,)."""
    is_train: NDArray[np.bool_]
    """True where an image trains, False where it tests, shape (N,)."""
    wnids: tuple[str, ...]
    """Class ids by class_index."""
    class_names: tuple[str, ...]
    """Names for people by class_index."""
    mean: NDArray[np.float64]
    """Channel means of the training part, fraction of the full range, shape (3,)."""
    std: NDArray[np.float64]
    """Channel standard deviations of the training part, fraction of the full range, shape (3,);
    1 for a channel that never changes, so that dividing by them normalises that one to 0."""
    split: str
    """``official`` or ``A/B``."""
    split_seed: int
    split_digest: str
    """See ``split.split_digest``."""
    size_px: int
    """Side S of the images."""


@dataclass(frozen=True)
class DuplicateFiles:
    """Files of a store that are equal to the byte."""

    files: tuple[str, ...]
    labels: tuple[str, ...]
    """Name of the class of each file."""
    across_split: bool
    """Some of them train and some test."""

    @property
    def has_two_labels(self) -> bool:
        """Whether at least one of the labels must be wrong or incomplete."""
        return len(set(self.labels)) > 1


def load_store(path: str | Path, *, verify: bool = True) -> Store:
    """Open a store.

    Args:
        path: The folder that ``tinysight data pack`` wrote.
        verify: Compare every byte with the recorded checksums (about 1 s a gigabyte); otherwise
            only the lengths of the files.

    Raises:
        DataError: There is no store, it is of another version, or a file is missing or damaged.
    """
    path = Path(path)
    manifest = load_manifest(path)
    check = check_file if verify else check_length
    for name in (IMAGES, SAMPLES, REJECTED):
        if name not in manifest.files:
            raise DataError(f"{path}: {MANIFEST} must list {name}. Pack the source again.")
        check(path / name, manifest.files[name])
    images_u8 = _map_images(path / IMAGES, manifest)
    samples = load_samples(path)
    std = np.array(manifest.train_pixels.std)
    if len(samples) != manifest.images:
        raise DataError(
            f"{path / SAMPLES}: must have the {manifest.images:,} rows that {MANIFEST} says, has "
            f"{len(samples):,}. Pack the source again."
        )
    return Store(
        path=path,
        images_u8=images_u8,
        sample_ids=np.array(samples["sample_id"].to_pylist(), dtype=np.str_),
        targets=samples["class_index"].to_numpy().astype(np.int64),
        is_train=np.array(samples["split"].to_pylist(), dtype=np.str_) == "train",
        wnids=tuple(entry.wnid for entry in manifest.classes),
        class_names=tuple(entry.name for entry in manifest.classes),
        mean=np.array(manifest.train_pixels.mean),
        std=np.where(std > 0, std, 1.0),
        split=manifest.split.rule,
        split_seed=manifest.split.seed,
        split_digest=manifest.split.digest,
        size_px=manifest.size_px,
    )


def load_samples(path: Path) -> pa.Table:
    """Return ``samples.parquet`` of a store, one row an image in the order of ``images_u8``.

    Columns: sample_id, file, sha256 (of the encoded image), class_index, wnid, original_split,
    split (``train`` or ``test``), repairs (list of names), width_px and height_px (of the image
    as it was), box_x_min_px, box_y_min_px, box_x_max_px, box_y_max_px (or null).
    """
    try:
        return pq.read_table(path / SAMPLES)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path / SAMPLES}: must be a whole Parquet file, {str(error).splitlines()[0]}. "
            f"Pack the source again."
        ) from error


def find_duplicates(path: Path) -> tuple[DuplicateFiles, ...]:
    """Return every group of files that are equal to the byte, by their first file.

    Args:
        path: The folder of a store.
    """
    names = tuple(entry.name for entry in load_manifest(path).classes)
    return tuple(duplicates_among(load_samples(path), names))


def duplicates_among(samples: pa.Table, class_names: tuple[str, ...]) -> Iterator[DuplicateFiles]:
    """Yield the groups of files of a samples table that have one SHA-256."""
    rows_of_hash: dict[str, list[int]] = {}
    for row, sha256 in enumerate(samples["sha256"].to_pylist()):
        rows_of_hash.setdefault(sha256, []).append(row)
    groups = [rows for rows in rows_of_hash.values() if len(rows) > 1]
    files, splits = samples["file"], samples["split"]
    class_index = samples["class_index"]
    for rows in groups:
        yield DuplicateFiles(
            files=tuple(files[row].as_py() for row in rows),
            labels=tuple(class_names[class_index[row].as_py()] for row in rows),
            across_split=len({splits[row].as_py() for row in rows}) > 1,
        )


def _map_images(path: Path, manifest: Manifest) -> NDArray[np.uint8]:
    shape = (manifest.images, manifest.size_px, manifest.size_px, 3)
    found = "something else"
    try:
        images_u8: NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
        if images_u8.shape == shape and images_u8.dtype == np.uint8:
            return images_u8
        found = f"{images_u8.dtype} {images_u8.shape}"
    except ValueError:
        pass
    except OSError as error:
        raise unreadable_file(path, error) from error
    raise DataError(
        f"{path}: must be uint8 {shape} as {MANIFEST} says, found {found}. Pack the source again."
    )


__all__ = [
    "DuplicateFiles",
    "Manifest",
    "Store",
    "find_duplicates",
    "load_manifest",
    "load_samples",
    "load_store",
]
