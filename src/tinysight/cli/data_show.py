"""``tinysight data show``: what is inside a store, in words and as a picture."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from tinysight.numerals import counted

if TYPE_CHECKING:
    from tinysight.classify.manifest import ClassEntry, Manifest
    from tinysight.classify.store import DuplicateFiles, Store

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_MOST_LISTED_CLASSES = 40
_FIRST_LISTED_CLASSES = 10
# Images of each class in the picture and columns, by the number of classes up to which it holds.
_SHEETS = ((20, 8, 8), (60, 4, 12), (600, 1, 20))
_MOST_DRAWN_CLASSES = _SHEETS[-1][0]
_DRAWN = f"every class, of more than {_MOST_DRAWN_CLASSES} of the first {_MOST_DRAWN_CLASSES}"


def add_parser(commands: Subparsers) -> None:
    """Add ``show`` to the commands of ``tinysight data``."""
    parser = commands.add_parser(
        "show",
        help="say what is inside a store, and draw some of its images",
        description="Check every byte of a store and say what is inside: images, classes, split, "
        "repairs, and files that are equal under two labels or on both sides of the split.",
    )
    parser.add_argument("store", type=Path, metavar="STORE", help="folder that `data pack` wrote")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.png", help=f"draw training images of {_DRAWN}"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_show)


def run_show(arguments: argparse.Namespace) -> int:
    """Check the store, say what is inside, and draw it where asked to."""
    from tinysight import cli
    from tinysight.classify.store import find_duplicates, load_manifest, load_store
    from tinysight.cli.output import check_file_to_write, print_json, print_lines

    out: Path | None = arguments.out
    if out is not None:
        check_file_to_write(out, suffixes=(".png",))
    store = load_store(arguments.store)
    manifest = load_manifest(arguments.store)
    duplicates = find_duplicates(arguments.store)
    if out is not None:
        _draw(store, out)
    if arguments.json:
        print_json(_as_json(store, manifest, duplicates, out))
    else:
        print_lines(_lines(store, manifest, duplicates, out))
    return cli.OK


def _draw(store: Store, out: Path) -> None:
    import numpy as np

    from tinysight.report.pictures import contact_sheet
    from tinysight.whole_files import replace_file

    total = len(store.class_names)
    num_classes = min(total, _MOST_DRAWN_CLASSES)
    which = counted(total, "class", "classes")
    if num_classes < total:
        which = f"the first {num_classes:,} of {which}"
    num_each, columns = next(sheet[1:] for sheet in _SHEETS if num_classes <= sheet[0])
    rows: list[int] = []
    captions: list[str] = []
    for class_index in range(num_classes):
        own = np.flatnonzero(store.is_train & (store.targets == class_index))[:num_each]
        # The name stands over the first image of its class; gaps keep the classes in their columns.
        rows += [*own.tolist(), *[-1] * (num_each - len(own))]
        captions += [store.class_names[class_index], *[""] * (num_each - 1)]
    blank = np.full_like(store.images_u8[0], 255)
    sheet = contact_sheet(
        [store.images_u8[row] if row >= 0 else blank for row in rows],
        captions,
        columns,
        scale=max(1, round(96 / store.size_px)),
        title=f"{store.path.resolve().name}: training images of {which}",
    )
    replace_file(out, lambda file: sheet.save(file, format="PNG"))


def _as_json(
    store: Store, manifest: Manifest, duplicates: Sequence[DuplicateFiles], out: Path | None
) -> dict[str, Any]:
    return {
        "images": manifest.images,
        "classes": [
            {"index": index, **entry.model_dump()} for index, entry in enumerate(manifest.classes)
        ],
        "split_digest": manifest.split.digest,
        "duplicates": [
            {"files": group.files, "labels": group.labels, "across_split": group.across_split}
            for group in duplicates
        ],
        "store": str(store.path),
        "size_px": manifest.size_px,
        "train": manifest.train,
        "test": manifest.test,
        "split": manifest.split.rule,
        "seed": manifest.split.seed,
        "mean": manifest.train_pixels.mean,
        "std": manifest.train_pixels.std,
        "read": manifest.counts.read,
        "accepted": manifest.counts.accepted,
        "repaired": manifest.counts.repaired,
        "rejected": manifest.counts.rejected,
        "repairs": manifest.repairs,
        "rejections": manifest.rejections,
        "picture": str(out) if out else None,
    }


def _lines(
    store: Store, manifest: Manifest, duplicates: Sequence[DuplicateFiles], out: Path | None
) -> Iterator[str]:
    counts, split = manifest.counts, manifest.split
    yield f"store       {store.path}: whole, every byte is as it was written"
    yield f"images      {manifest.images:,} of {manifest.size_px}x{manifest.size_px} pixels"
    yield (
        f"            {counts.read:,} read = {counts.accepted:,} accepted + "
        f"{counts.repaired:,} repaired + {counts.rejected:,} rejected"
    )
    for name, count in manifest.repairs.items():
        yield f"            {count:,} repaired: {name}"
    for name, count in manifest.rejections.items():
        yield f"            {count:,} rejected: {name} (see rejected.csv)"
    yield (
        f"split       {split.rule}, seed {split.seed}: {manifest.train:,} train, "
        f"{manifest.test:,} test"
    )
    yield f"digest      {split.digest}"
    pixels = manifest.train_pixels
    for name, values in (("mean", pixels.mean), ("std", pixels.std)):
        red, green, blue = values
        yield f"{name:<12}{red:.4f} red, {green:.4f} green, {blue:.4f} blue (training part)"
    yield from _duplicate_lines(duplicates)
    yield from _class_lines(manifest.classes)
    how_to_draw = (
        f"none; draw one with: tinysight data show {quote(str(store.path))} --out FILE.png"
    )
    yield f"picture     {out or how_to_draw}"


def _duplicate_lines(duplicates: Sequence[DuplicateFiles]) -> Iterator[str]:
    if not duplicates:
        yield "duplicates  none: no two files are equal to the byte"
        return
    num_two_labels = sum(group.has_two_labels for group in duplicates)
    num_across = sum(group.across_split for group in duplicates)
    groups = "group" if len(duplicates) == 1 else "groups"
    yield (
        f"duplicates  {len(duplicates):,} {groups} of equal files: "
        f"{num_two_labels:,} with two labels, {num_across:,} in both parts of the split"
    )
    for group in duplicates:
        named = (f"{file} ({label})" for file, label in zip(group.files, group.labels, strict=True))
        remark = ", in both parts" if group.across_split else ""
        yield f"            {' = '.join(named)}{remark}"


def _class_lines(classes: Sequence[ClassEntry]) -> Iterator[str]:
    yield f"classes     {len(classes):,}"
    shown = classes
    if len(classes) > _MOST_LISTED_CLASSES:
        shown = classes[:_FIRST_LISTED_CLASSES]
    # A class of a plain folder has one word for both, and that is said once.
    wnids = ["" if entry.wnid == entry.name else f"{entry.wnid}  " for entry in shown]
    width = max(map(len, wnids), default=0)
    for index, (wnid, entry) in enumerate(zip(wnids, shown, strict=True)):
        yield (
            f"      {index:>4}  {wnid:<{width}}{entry.train:>5,} train {entry.test:>5,} test  "
            f"{entry.name}"
        )
    if len(shown) < len(classes):
        yield f"            and {len(classes) - len(shown):,} more; --json lists them all"
