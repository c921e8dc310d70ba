"""From an index of images to a store: decode, split, measure, check, write."""

from __future__ import annotations

import csv
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tinysight.classify.atomic_folder import whole_or_nothing
from tinysight.classify.decode import WrongSize
from tinysight.classify.manifest import (
    FORMAT_VERSION,
    IMAGES,
    REJECTED,
    SAMPLES,
    ClassEntry,
    CountsEntry,
    Manifest,
    PixelsEntry,
    SplitEntry,
    hash_file,
    save_manifest,
)
from tinysight.classify.pixel_rows import (
    BLOCK_IMAGES,
    Outcome,
    PackedImage,
    Progress,
    RejectedImage,
    RowWriter,
    create_rows_file,
    decode_into_rows,
    remove_rows,
    sum_pixels,
)
from tinysight.classify.sources.index import ImageIndex, IndexedImage
from tinysight.classify.split import (
    SplitRule,
    official_split,
    parse_split_rule,
    split_digest,
    stratified_split,
)
from tinysight.classify.store import DuplicateFiles, duplicates_among
from tinysight.errors import DataError
from tinysight.numerals import counted

MAX_REJECTED_FRACTION = 0.01
_NUM_NAMED = 3  # rejected images that a message names


@dataclass(frozen=True)
class Rejection:
    """An image of the source that is not in the store."""

    sample_id: str
    file: str
    reason: str
    detail: str


@dataclass(frozen=True)
class PackResult:
    """What was packed."""

    store: Path
    manifest: Manifest
    rejected: tuple[Rejection, ...]
    duplicates: tuple[DuplicateFiles, ...]


def pack_store(
    index: ImageIndex,
    out: str | Path,
    *,
    split: str = "70/30",
    seed: int = 0,
    size_px: int | None = None,
    wrong_size: WrongSize = "resize",
    max_rejected_fraction: float = MAX_REJECTED_FRACTION,
    num_workers: int | None = None,
    replace: bool = False,
    progress: Progress | None = None,
) -> PackResult:
    """Decode every image of an index once and write them as a store.

    The store appears under its name when it is whole; until then, and after any fault, there is
    nothing.

    Args:
        index: What to pack.
        out: Folder to write; folders above it that are missing are made.
        split: ``A/B`` or ``official``, see ``split.parse_split_rule``.
        seed: Of an ``A/B`` split.
        size_px: Side of the stored images; the source's usual one when not given.
        wrong_size: See ``decode.decode_image``.
        max_rejected_fraction: Larger shares of rejected images are a fault.
        num_workers: Processes that decode; when not given, one for each core that this process
            may use, but none without work.
        replace: Put the new store in the place of one that is there.
        progress: Called with (images done, images in all).

    Raises:
        DataError: A class too small for the split, too many rejected images, something in the
            way at ``out``, or no room to write.
    """
    out = Path(out)
    rule = parse_split_rule(split)
    size_px = index.default_size_px if size_px is None else size_px
    images = sorted(
        range(len(index.images)),
        key=lambda number: (index.images[number].class_index, index.images[number].sample_id),
    )
    _split(rule, seed, [index.images[number] for number in images], index.wnids)
    row_of_image = np.empty(len(images), dtype=np.int64)
    row_of_image[images] = np.arange(len(images))

    with whole_or_nothing(out, replace=replace) as folder:
        _require_room(out, folder, len(images), size_px)
        create_rows_file(folder / IMAGES, len(images), size_px)
        outcomes = decode_into_rows(
            index,
            row_of_image.tolist(),
            RowWriter(folder / IMAGES, size_px, wrong_size),
            num_workers=num_workers or _useful_workers(len(images)),
            progress=progress,
        )
        by_row = [(index.images[number], outcomes[number]) for number in images]
        rejected = _rejections(by_row, max_rejected_fraction, index.where)
        if rejected:
            is_kept = np.array([isinstance(outcome, PackedImage) for _, outcome in by_row])
            remove_rows(folder / IMAGES, is_kept, size_px)
        packed = [(image, outcome) for image, outcome in by_row if isinstance(outcome, PackedImage)]
        is_train = _split(rule, seed, [image for image, _ in packed], index.wnids)
        samples = _samples_table(packed, is_train, index.wnids)
        pq.write_table(samples, folder / SAMPLES, compression="zstd")
        _write_rejected(folder / REJECTED, rejected)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            size_px=size_px,
            images=len(packed),
            train=int(is_train.sum()),
            test=int((~is_train).sum()),
            split=SplitEntry(
                rule=rule.name,
                seed=seed,
                digest=split_digest([image.sample_id for image, _ in packed], is_train),
            ),
            counts=_counts(outcomes),
            repairs=_sorted_counts(repair for _, outcome in packed for repair in outcome.repairs),
            rejections=_sorted_counts(rejection.reason for rejection in rejected),
            train_pixels=_pixel_statistics(folder / IMAGES, is_train, size_px),
            files={name: hash_file(folder / name) for name in (IMAGES, SAMPLES, REJECTED)},
            classes=_class_entries(index, packed, is_train),
        )
        save_manifest(manifest, folder)
    return PackResult(
        store=out,
        manifest=manifest,
        rejected=tuple(rejected),
        duplicates=tuple(duplicates_among(samples, index.class_names)),
    )


def _useful_workers(num_images: int) -> int:
    if hasattr(os, "sched_getaffinity"):  # Linux: what a container or taskset leaves
        num_cores = len(os.sched_getaffinity(0))
    else:
        num_cores = os.cpu_count() or 1
    return max(1, min(num_cores, num_images // BLOCK_IMAGES))


def _split(
    rule: SplitRule, seed: int, images: Sequence[IndexedImage], wnids: Sequence[str]
) -> NDArray[np.bool_]:
    targets = np.array([image.class_index for image in images], dtype=np.int64)
    if rule.train_fraction is None:
        return official_split([image.original_split for image in images], targets, wnids)
    return stratified_split(
        [image.sample_id for image in images],
        targets,
        wnids,
        train_fraction=rule.train_fraction,
        seed=seed,
    )


def _rejections(
    by_row: Sequence[tuple[IndexedImage, Outcome]], max_fraction: float, where: str
) -> list[Rejection]:
    rejected = [
        Rejection(image.sample_id, image.file, outcome.reason, outcome.detail)
        for image, outcome in by_row
        if isinstance(outcome, RejectedImage)
    ]
    if len(rejected) > max_fraction * len(by_row):
        reasons = _sorted_counts(image.reason for image in rejected)
        counted = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
        named = ", ".join(f"{image.file} ({image.reason})" for image in rejected[:_NUM_NAMED])
        raise DataError(
            f"{where}: at most {max_fraction:.2%} of the images may be rejected, "
            f"{len(rejected):,} of {len(by_row):,} were: {counted}; the first are {named}. "
            f"Repair or remove them, or pass --allow-rejected with a larger share."
        )
    return rejected


def _samples_table(
    packed: Sequence[tuple[IndexedImage, PackedImage]],
    is_train: NDArray[np.bool_],
    wnids: Sequence[str],
) -> pa.Table:
    images = [image for image, _ in packed]
    outcomes = [outcome for _, outcome in packed]
    columns: dict[str, pa.Array] = {
        "sample_id": pa.array([image.sample_id for image in images], pa.string()),
        "file": pa.array([image.file for image in images], pa.string()),
        "sha256": pa.array([outcome.sha256 for outcome in outcomes], pa.string()),
        "class_index": pa.array([image.class_index for image in images], pa.int32()),
        "wnid": pa.array([wnids[image.class_index] for image in images], pa.string()),
        "original_split": pa.array([image.original_split for image in images], pa.string()),
        "split": pa.array(np.where(is_train, "train", "test").tolist(), pa.string()),
        "repairs": pa.array([outcome.repairs for outcome in outcomes], pa.list_(pa.string())),
        "width_px": pa.array([outcome.width_px for outcome in outcomes], pa.int32()),
        "height_px": pa.array([outcome.height_px for outcome in outcomes], pa.int32()),
    }
    boxes = [image.box_xyxy_px or (None,) * 4 for image in images]
    for side, name in enumerate(("x_min", "y_min", "x_max", "y_max")):
        columns[f"box_{name}_px"] = pa.array([box[side] for box in boxes], pa.int32())
    return pa.table(columns)


def _write_rejected(path: Path, rejected: Sequence[Rejection]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["sample_id", "file", "reason", "detail"])
        rows.writerows(
            (image.sample_id, image.file, image.reason, image.detail) for image in rejected
        )


def _counts(outcomes: Sequence[Outcome]) -> CountsEntry:
    num_rejected = sum(isinstance(outcome, RejectedImage) for outcome in outcomes)
    num_repaired = sum(
        isinstance(outcome, PackedImage) and bool(outcome.repairs) for outcome in outcomes
    )
    return CountsEntry(
        read=len(outcomes),
        accepted=len(outcomes) - num_repaired - num_rejected,
        repaired=num_repaired,
        rejected=num_rejected,
    )


def _sorted_counts(names: Iterator[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def _class_entries(
    index: ImageIndex,
    packed: Sequence[tuple[IndexedImage, PackedImage]],
    is_train: NDArray[np.bool_],
) -> tuple[ClassEntry, ...]:
    targets = np.array([image.class_index for image, _ in packed], dtype=np.int64)
    num_classes = len(index.wnids)
    train = np.bincount(targets[is_train], minlength=num_classes).tolist()
    test = np.bincount(targets[~is_train], minlength=num_classes).tolist()
    return tuple(
        ClassEntry(wnid=wnid, name=name, train=train[number], test=test[number])
        for number, (wnid, name) in enumerate(zip(index.wnids, index.class_names, strict=True))
    )


def _require_room(out: Path, folder: Path, num_images: int, size_px: int) -> None:
    """Refuse sizes whose pixels the disk cannot hold, before a file of that length is made."""
    disk = shutil.disk_usage(folder)
    num_bytes = num_images * size_px**2 * 3
    if disk.total and num_bytes > disk.free:  # some network drives state no size at all
        raise DataError(
            f"{out}: the disk must have room for the pixels of "
            f"{counted(num_images, 'image')} of {size_px:,}x{size_px:,} px, "
            f"{num_bytes / 1e6:,.1f} MB, but {disk.free / 1e6:,.1f} MB are free. Free some space, "
            f"pass a smaller --size or choose another --out."
        )


def _pixel_statistics(path: Path, is_train: NDArray[np.bool_], size_px: int) -> PixelsEntry:
    """Return mean and standard deviation by channel, from integers, rounded once each."""
    count = int(is_train.sum()) * size_px * size_px
    means, stds = [], []
    for total, squares in zip(*sum_pixels(path, is_train, size_px), strict=True):
        means.append(float(Fraction(int(total), 255 * count)))
        variance = Fraction(count * int(squares) - int(total) ** 2, (255 * count) ** 2)
        exact = Context(prec=50)
        root = exact.sqrt(exact.divide(Decimal(variance.numerator), Decimal(variance.denominator)))
        stds.append(float(root))
    return PixelsEntry(mean=(means[0], means[1], means[2]), std=(stds[0], stds[1], stds[2]))
