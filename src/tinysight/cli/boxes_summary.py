"""``tinysight boxes summary``: what is in annotation files, in numbers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.cli.boxes_input import add_input_arguments, read_input, require_not_input
from tinysight.cli.boxes_shards import add_shard_arguments, are_shards, order_note, read_shards
from tinysight.cli.output import print_json, print_lines
from tinysight.numerals import counted, images_in_words, percent

if TYPE_CHECKING:
    from tinysight.boxes.engine import ShardResult
    from tinysight.boxes.findings import Reading
    from tinysight.boxes.summary import BoxSummary

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_MOST_CLASSES = 20
_MOST_PAIRS = 5
_MOST_PAIRS_IN_JSON = 10_000
_LONGEST_NAME = 32
_BAR_COLUMNS = 30


def add_parser(commands: Subparsers) -> None:
    """Add ``summary`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "summary",
        help="count classes, sizes, shapes, positions and pairs",
        description="Count what is in annotation files: boxes and images of each class, boxes of "
        "an image, sizes, shapes, positions, classes that meet, boxes that were drawn twice.",
    )
    add_input_arguments(parser)
    parser.add_argument(
        "--csv", type=Path, metavar="DIR", help="write every count as CSV files into this folder"
    )
    add_shard_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_summary)


def run_summary(arguments: argparse.Namespace) -> int:
    """Read the files, print the summary, and write the tables where asked to."""
    from tinysight import cli
    from tinysight.boxes.near_duplicates import MOST_LISTED, find_near_duplicates
    from tinysight.boxes.summary import summarize_boxes
    from tinysight.boxes.summary_tables import (
        NEAR_DUPLICATES,
        TABLE_NAMES,
        near_duplicate_table,
        save_tables,
        tables_of,
    )

    folder: Path | None = arguments.csv
    outputs = [folder / name for name in (*TABLE_NAMES, NEAR_DUPLICATES)] if folder else []
    more: dict[str, Any] = {}
    are_twins_cut = False
    if are_shards(arguments):
        require_not_input(outputs, arguments.files, option="--csv")
        result = read_shards(arguments)
        summary, account = result.summary, _account_of(result)
        more = {
            "shards": result.shards,
            "findings": result.findings,
            "box_orders": list(result.box_orders),
        }
        are_images_named = result.are_images_named
        tables = tables_of(summary) if folder else {}
    else:
        reading = read_input(arguments, outputs=outputs, option="--csv")
        summary, account = summarize_boxes(reading.table), _account_of(reading)
        are_images_named = reading.are_images_named
        tables = tables_of(summary) if folder else {}
        if folder:
            twins = find_near_duplicates(reading.table, most=MOST_LISTED)
            tables[NEAR_DUPLICATES] = near_duplicate_table(reading.table, twins)
            are_twins_cut = twins.is_cut
    if folder:
        save_tables(tables, folder)
    if arguments.json:
        print_json(_as_json(summary, account) | more)
    else:
        print_lines(_lines(summary, account, are_images_named))
        if note := order_note(tuple(more.get("box_orders", ()))):
            print_lines([note])
        if folder:
            print_lines([f"tables      {counted(len(tables), 'file')} in {folder}"])
        if are_twins_cut:
            print(f"            {NEAR_DUPLICATES} ends at {MOST_LISTED:,} pairs, there are more")
    return cli.OK


def _account_of(result: Reading | ShardResult) -> dict[str, int]:
    return {
        "boxes_read": result.boxes_read,
        "accepted": result.accepted,
        "repaired": result.repaired,
        "rejected": result.rejected,
    }


def _as_json(summary: BoxSummary, account: dict[str, int]) -> dict[str, Any]:
    from tinysight.boxes import distributions as bins

    return {
        "images": summary.images,
        "boxes": summary.boxes,
        "classes": [
            {"name": entry.name, "boxes": entry.boxes, "images": entry.images, **entry.sizes}
            for entry in summary.classes
        ],
        "sizes": summary.sizes,
        "images_without_boxes": summary.images_without_boxes,
        **account,
        "images_of_unknown_size": summary.images_of_unknown_size,
        "crowd_boxes": summary.crowd_boxes,
        "near_duplicates": {
            "same_class": summary.repeated_boxes,
            "other_class": summary.relabelled_boxes,
        },
        "imbalance": summary.imbalance,
        "evenness": summary.evenness,
        "boxes_per_image": {
            "mean": summary.boxes_per_image,
            "median": summary.median_boxes_per_image(),
            "most": len(summary.images_by_num_boxes) - 1,
            "images": summary.images_by_num_boxes.tolist(),
        },
        "aspect_ratios": _binned(summary.aspect_by_class.sum(axis=0), bins.ASPECT_EDGES),
        "widths_px": _binned(summary.width_by_class.sum(axis=0), bins.SIDE_EDGES_PX),
        "heights_px": _binned(summary.height_by_class.sum(axis=0), bins.SIDE_EDGES_PX),
        "least_wh_px": summary.least_wh_px.tolist(),
        "greatest_wh_px": summary.greatest_wh_px.tolist(),
        "centres": summary.centres.tolist(),
        "pairs": [
            {"classes": [a, b], "images": images}
            for a, b, images in _commonest_pairs(summary, _MOST_PAIRS_IN_JSON)
        ],
        "pairs_in_all": summary.num_meetings,
        "images_of_many_classes": summary.images_of_many_classes,
    }


def _binned(counts: Any, edges: Any) -> dict[str, Any]:
    return {"edges": edges.tolist(), "boxes": counts.tolist()}


def _lines(summary: BoxSummary, account: dict[str, int], are_images_named: bool) -> Iterator[str]:
    images = images_in_words(summary.images, are_named=are_images_named)
    yield (
        f"boxes       {summary.boxes:,} on {images}; "
        f"{account['boxes_read']:,} read = {account['accepted']:,} accepted + "
        f"{account['repaired']:,} repaired + {account['rejected']:,} rejected"
    )
    most = len(summary.images_by_num_boxes) - 1
    if are_images_named:
        yield (
            f"an image    {summary.boxes_per_image:.1f} boxes on average, half have at most "
            f"{summary.median_boxes_per_image():,}, the fullest {most:,}; "
            f"{summary.images_without_boxes:,} {_have(summary.images_without_boxes)} none"
        )
    else:
        yield "an image    cannot be told where rows do not name it; each of them counts as one"
    unknown = summary.images_of_unknown_size
    if unknown:
        is_or_are = "is" if unknown == 1 else "are"
        what = counted(unknown, "image" if are_images_named else "row")
        yield f"            {what} {is_or_are} of unknown size"
    shares = (
        f"{boxes:,} {name} ({percent(boxes / max(summary.boxes, 1))})"
        for name, boxes in summary.sizes.items()
    )
    yield f"sizes       {', '.join(shares)}; limits 32 x 32 and 96 x 96 px"
    if summary.boxes:
        (least_w, least_h), (most_w, most_h) = summary.least_wh_px, summary.greatest_wh_px
        yield f"sides       width {least_w:g} to {most_w:g} px, height {least_h:g} to {most_h:g} px"
        yield f"shapes      {_shape_words(summary)}"
    if summary.crowd_boxes:
        stand = "stands for a group" if summary.crowd_boxes == 1 else "stand for groups"
        them = "it" if summary.crowd_boxes == 1 else "them"
        crowds = counted(summary.crowd_boxes, "box", "boxes")
        yield f"crowds      {crowds} {stand}; anchors ignore {them}"
    if summary.repeated_boxes or summary.relabelled_boxes:
        yield (
            f"twice       {counted(summary.repeated_boxes, 'box repeats', 'boxes repeat')} another "
            f"of {'its' if summary.repeated_boxes == 1 else 'their'} class, "
            f"{summary.relabelled_boxes:,} one of another class (IoU from 0.9)"
        )
    yield from _class_lines(summary, with_images=are_images_named)
    pairs = _commonest_pairs(summary, _MOST_PAIRS)
    met = ", ".join(f"{a} + {b} ({images:,})" for a, b, images in pairs)
    if met:
        yield f"together    {met}"
    if summary.note_on_pairs:
        yield f"            {summary.note_on_pairs}"


def _shape_words(summary: BoxSummary) -> str:
    from tinysight.boxes.distributions import ASPECT_EDGES

    counts = summary.aspect_by_class.sum(axis=0)
    tall = int(counts[ASPECT_EDGES[:-1] < 0.5].sum())
    wide = int(counts[ASPECT_EDGES[:-1] >= 2].sum())
    rest = summary.boxes - tall - wide
    return (
        f"{percent(tall / summary.boxes, 0)} more than twice as high as wide, "
        f"{percent(wide / summary.boxes, 0)} at least twice as wide as high, "
        f"{percent(rest / summary.boxes, 0)} between"
    )


def _class_lines(summary: BoxSummary, *, with_images: bool) -> Iterator[str]:
    classes = summary.classes
    line = f"classes     {len(classes):,}"
    if summary.imbalance is not None and len(classes) > 1:
        times = summary.imbalance
        empty = sum(not entry.boxes for entry in classes)
        if len(classes) - empty == 1:
            line += ", only one has boxes"
        elif times == 1:
            line += f", all {'that have boxes have' if empty else 'with'} the same number"
            line += "" if empty else " of boxes"
        else:
            line += f", the largest has {times:,.{int(times < 10)}f} times the boxes of the"
            line += f" smallest{' that has any' if empty else ''}"
        line += f"; {empty:,} {_have(empty)} none" if empty else ""
    yield line
    largest = max((entry.boxes for entry in classes), default=0)
    for entry in classes[:_MOST_CLASSES]:
        name = (
            entry.name
            if len(entry.name) <= _LONGEST_NAME
            else f"{entry.name[: _LONGEST_NAME - 1]}…"
        )
        bar = "█" * round(_BAR_COLUMNS * entry.boxes / max(largest, 1))
        boxes = f"{entry.boxes:>10,} {'box' if entry.boxes == 1 else 'boxes':<5}"
        images = f" {entry.images:>9,} {'image' if entry.images == 1 else 'images':<6}"
        yield f"  {name:<{_LONGEST_NAME}} {boxes}{images if with_images else ''}  {bar}"
    if len(classes) > _MOST_CLASSES:
        yield f"  and {len(classes) - _MOST_CLASSES:,} more; --csv DIR and --json list them all"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _commonest_pairs(summary: BoxSummary, most: int) -> Iterator[tuple[str, str, int]]:
    names = summary.class_names
    for row in summary.commonest_pairs(most).tolist():
        a, b = summary.pair_classes[row].tolist()
        yield names[a], names[b], int(summary.pair_images[row])
