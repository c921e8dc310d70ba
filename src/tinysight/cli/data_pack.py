"""``tinysight data pack``: decode a folder or archive of images once, into a store."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from types import FrameType
from typing import TYPE_CHECKING, Any

from tinysight.cli.number_arguments import fraction, whole_number
from tinysight.numerals import counted

if TYPE_CHECKING:
    from tinysight.classify.pack import PackResult
    from tinysight.classify.sources.index import ImageIndex

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_NUM_SHOWN = 5  # rejected images and duplicates named on the screen; the files have them all


def add_parser(commands: Subparsers) -> None:
    """Add ``pack`` to the commands of ``tinysight data``."""
    parser = commands.add_parser(
        "pack",
        help="decode every image once, into one checked array with a train/test split",
        description="Decode the images of a folder or archive once, in parallel, and write them "
        "with their labels and a train/test split as a store. Known sources: the official Tiny "
        "ImageNet tree or zip; a folder or zip with a folder a class, with or without train, val "
        "and test; Parquet with image bytes and a label; CIFAR-10 and CIFAR-100 for Python.",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder or archive of images")
    parser.add_argument("--out", type=Path, required=True, metavar="STORE", help="folder to write")
    parser.add_argument(
        "--split", metavar="RULE", help="70/30, any A/B, or official (default: 70/30)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the split (default: 0)")
    parser.add_argument(
        "--classes", type=whole_number(), metavar="N", help="only the first N classes of the source"
    )
    parser.add_argument(
        "--size", type=whole_number(), metavar="PX", help="side of the images (64; CIFAR 32)"
    )
    parser.add_argument(
        "--wrong-size",
        choices=("resize", "reject"),
        help="what to do with an image of another size (default: resize its shorter side, then "
        "crop the centre)",
    )
    parser.add_argument(
        "--allow-rejected",
        type=fraction,
        metavar="F",
        help="largest share of unusable images that is accepted, from 0 to 1 (default: 0.01)",
    )
    parser.add_argument(
        "--workers", type=whole_number(), metavar="N", help="processes that decode (default: cores)"
    )
    parser.add_argument(
        "--force", action="store_true", default=None, help="replace a store that is there"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_pack)


def run_pack(arguments: argparse.Namespace) -> int:
    """Pack the source and say what became of its images."""
    from tinysight import cli
    from tinysight.classify.pack import pack_store
    from tinysight.classify.sources.opening import open_source
    from tinysight.cli.output import print_faults, print_json, print_lines
    from tinysight.cli.progress import progress_bar

    started = time.monotonic()
    given = {
        "split": arguments.split,
        "seed": arguments.seed,
        "size_px": arguments.size,
        "wrong_size": arguments.wrong_size,
        "max_rejected_fraction": arguments.allow_rejected,
        "num_workers": arguments.workers,
        "replace": arguments.force,
    }
    try:
        with _sigterm_as_interrupt(), progress_bar("pack") as report:
            index = open_source(arguments.source, num_classes=arguments.classes)
            result = pack_store(
                index,
                arguments.out,
                progress=report,
                **{name: value for name, value in given.items() if value is not None},
            )
    except KeyboardInterrupt:
        print_faults([f"tinysight: stopped; {arguments.out} was not written"])
        return cli.STOPPED
    seconds = time.monotonic() - started
    if arguments.json:
        print_json(_as_json(index, result, seconds))
    else:
        print_lines(_summary_lines(index, result, seconds))
    return cli.OK


def _as_json(index: ImageIndex, result: PackResult, seconds: float) -> dict[str, Any]:
    manifest = result.manifest
    return {
        "images": manifest.images,
        "train": manifest.train,
        "test": manifest.test,
        "classes": len(manifest.classes),
        "rejected": manifest.counts.rejected,
        "split_digest": manifest.split.digest,
        "seconds": seconds,
        "store": str(result.store),
        "layout": index.layout,
        "read": manifest.counts.read,
        "accepted": manifest.counts.accepted,
        "repaired": manifest.counts.repaired,
        "repairs": manifest.repairs,
        "rejections": manifest.rejections,
        "unlabelled": index.num_unlabelled,
        "ignored": len(index.ignored),
        "folders_without_images": index.folders_without_images,
        "split": manifest.split.rule,
        "official_parts": _parts(index, manifest.split.rule),
        "seed": manifest.split.seed,
        "size_px": manifest.size_px,
        "mean": manifest.train_pixels.mean,
        "std": manifest.train_pixels.std,
        "duplicates": [
            {"files": group.files, "labels": group.labels, "across_split": group.across_split}
            for group in result.duplicates
        ],
    }


def _endings(index: ImageIndex) -> str:
    """Say of what kind the files are that are left out: images among them would be missed."""
    by_ending = [
        f"{count:,} {ending or 'without an ending'}"
        for ending, count in index.ignored_by_ending().items()
    ]
    more = len(by_ending) - _NUM_SHOWN
    if more > 0:
        by_ending[_NUM_SHOWN:] = [f"and {counted(more, 'other ending')}"]
    return f" ({', '.join(by_ending)})" if by_ending else ""


def _summary_lines(index: ImageIndex, result: PackResult, seconds: float) -> Iterator[str]:
    manifest, counts = result.manifest, result.manifest.counts
    yield f"source      {index.where}: {index.layout}"
    yield (
        f"images      {counts.read:,} read = {counts.accepted:,} accepted + "
        f"{counts.repaired:,} repaired + {counts.rejected:,} rejected"
    )
    for repair, count in manifest.repairs.items():
        yield f"            {count:,} repaired: {repair}"
    for image in result.rejected[:_NUM_SHOWN]:
        detail = f" ({image.detail})" if image.detail else ""
        yield f"            rejected: {image.file}: {image.reason}{detail}"
    if len(result.rejected) > _NUM_SHOWN:
        yield f"            all {len(result.rejected):,} are in {result.store / 'rejected.csv'}"
    if index.num_unlabelled or index.ignored:
        yield (
            f"left out    images without a label: {index.num_unlabelled:,}, "
            f"other files: {len(index.ignored):,}{_endings(index)}"
        )
    if folders := index.folders_without_images:
        named = ", ".join(folders[:_NUM_SHOWN])
        yield f"            folders with other files only: {len(folders):,}, such as {named}"
    yield f"classes     {len(manifest.classes):,}"
    yield (
        f"split       {manifest.split.rule}, seed {manifest.split.seed}: {manifest.train:,} train, "
        f"{manifest.test:,} test"
    )
    for part, becomes in _parts(index, manifest.split.rule).items():
        yield f"            the source's {part} is the {becomes} part"
    yield f"digest      {manifest.split.digest}"
    if result.duplicates:
        num_two_labels = sum(group.has_two_labels for group in result.duplicates)
        num_across = sum(group.across_split for group in result.duplicates)
        yield (
            f"duplicates  groups of equal files: {len(result.duplicates):,}, "
            f"with two labels: {num_two_labels:,}, in both parts of the split: {num_across:,}"
        )
        for group in result.duplicates[:_NUM_SHOWN]:
            pairs = zip(group.files, group.labels, strict=True)
            yield "            " + " = ".join(f"{file} ({label})" for file, label in pairs)
        if len(result.duplicates) > _NUM_SHOWN:
            yield f"            all of them: tinysight data show {quote(str(result.store))}"
    yield f"store       {result.store}, {seconds:.1f} s"


def _parts(index: ImageIndex, rule: str) -> dict[str, str]:
    from tinysight.classify.split import OFFICIAL, official_parts

    if rule != OFFICIAL:
        return {}
    return official_parts(image.original_split for image in index.images)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let a request to stop unwind the work, so that nothing half-written is left behind."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
