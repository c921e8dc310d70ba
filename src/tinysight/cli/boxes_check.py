"""``tinysight boxes check``: what is wrong with annotation files, by record."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.cli.boxes_input import add_input_arguments, read_input
from tinysight.cli.output import check_file_to_write, print_json, print_lines
from tinysight.numerals import counted, percent

if TYPE_CHECKING:
    from tinysight.boxes.box_order import OrderDecision
    from tinysight.boxes.findings import FindingCount, Reading

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_MOST_ORDERS = 3


def add_parser(commands: Subparsers) -> None:
    """Add ``check`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "check",
        help="list every defect of annotation files; exit 1 if there is one",
        description="Read annotation files and list every defect by file and record, with what was "
        "done about it. Exit 0 without defects, 1 with any, so that it can guard a pipeline.",
    )
    add_input_arguments(parser)
    parser.add_argument(
        "--findings", type=Path, metavar="CSV", help="write every finding as a row of this file"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_check)


def run_check(arguments: argparse.Namespace) -> int:
    """Read the files, print what was found, and write the findings where asked to."""
    from tinysight import cli
    from tinysight.boxes.findings import save_findings

    out: Path | None = arguments.findings
    if out is not None:
        check_file_to_write(out, option="--findings")
    reading = read_input(arguments, outputs=() if out is None else (out,), option="--findings")
    if out is not None:
        save_findings(reading.findings, out)
    if arguments.json:
        print_json(_as_json(reading))
    else:
        print_lines(_lines(reading, arguments))
    return cli.FAULT if len(reading.findings) else cli.OK


def _as_json(reading: Reading) -> dict[str, Any]:
    return {
        "format": reading.format,
        "box_order": str(reading.box_order),
        "images": reading.images,
        "boxes_read": reading.boxes_read,
        "accepted": reading.accepted,
        "repaired": reading.repaired,
        "rejected": reading.rejected,
        "findings": [
            {
                "kind": count.kind,
                "count": count.count,
                "action": count.action,
                "examples": [str(finding) for finding in count.examples],
            }
            for count in reading.findings.by_kind()
        ],
        "classes": reading.table.num_classes,
        "without_classes": [where for where, _ in reading.made_up_classes],
        "policy": reading.policy,
        "box_orders": [_order_json(decision) for decision in reading.decisions],
    }


def _order_json(decision: OrderDecision) -> dict[str, Any]:
    return {
        "order": str(decision.order),
        "basis": decision.basis,
        "pixels_measured": decision.are_pixels_measured,
        "boxes_tested": decision.boxes_tested,
        "shares_inside": {str(order): share for order, share in decision.shares_inside},
    }


def _lines(reading: Reading, arguments: argparse.Namespace) -> Iterator[str]:
    table = reading.table
    yield f"format      {reading.format}"
    for lines in dict.fromkeys(tuple(_order_lines(decision)) for decision in reading.decisions):
        yield from lines
    images = f"{table.num_images:,}" if reading.are_images_named else "without a name"
    yield f"images      {images}, classes {table.num_classes:,}"
    for where, name in reading.made_up_classes:
        yield f"            {where}: no column names a class, such as class or label: all {name!r}"
    yield (
        f"boxes       {reading.boxes_read:,} read = {reading.accepted:,} accepted + "
        f"{reading.repaired:,} repaired + {reading.rejected:,} rejected (policy {reading.policy})"
    )
    counts = reading.findings.by_kind()
    if not counts:
        empty = f"; {arguments.findings} has only the header" if arguments.findings else ""
        yield f"findings    none{empty}"
        return
    yield f"findings    {len(reading.findings):,}"
    for count in counts:
        yield from _count_lines(count)
    if arguments.findings is not None:
        yield f"            all of them: {arguments.findings}"
    elif any(count.count > len(count.examples) for count in counts):
        yield "            list them all with --findings FILE.csv"


def _count_lines(count: FindingCount) -> Iterator[str]:
    yield f"  {count.count:>9,} {count.kind}, {count.action}"
    for finding in count.examples:
        yield f"            {finding}"
    if count.count > len(count.examples):
        yield f"            and {count.count - len(count.examples):,} more"


def _order_lines(decision: OrderDecision) -> Iterator[str]:
    yield f"box order   {decision.order}: {decision.order.describe()}; {decision.reason()}"
    if decision.shares_inside:
        shares = ", ".join(
            f"{percent(share)} as {order}" for order, share in decision.shares_inside[:_MOST_ORDERS]
        )
        tested = counted(decision.boxes_tested, "box", "boxes")
        where = "its image" if decision.boxes_tested == 1 else "their images"
        yield f"            {tested} tested, inside {where}: {shares}"
