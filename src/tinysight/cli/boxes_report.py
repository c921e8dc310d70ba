"""``tinysight boxes report``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tinysight.cli.boxes_anchors import add_anchor_arguments
from tinysight.cli.boxes_input import add_input_arguments, read_input
from tinysight.cli.boxes_score import add_against_argument
from tinysight.cli.number_arguments import whole_number
from tinysight.cli.output import print_json, print_lines
from tinysight.numerals import counted

if TYPE_CHECKING:
    from tinysight.boxes.analysis import BoxAnalysis

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_CERTIFY_S = 5.0


def add_parser(commands: Subparsers) -> None:
    """Add ``report`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "report",
        help="one page on a set of annotations, with charts, tables and anchors beside it",
        description="Write a folder with one HTML page that opens from disk: what is wrong with "
        "the annotations, what is in them, anchors for each k with a proof of how near to the "
        "best possible they are, and how published anchors compare. Files of an earlier report "
        "that this one no longer writes are removed; files of others stay, and one that has the "
        "name of a file of the report is refused.",
    )
    add_input_arguments(parser)
    add_anchor_arguments(parser, certify_s=_CERTIFY_S)
    add_against_argument(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--name", help="what the set is called on the page (default: the file)")
    parser.add_argument(
        "--examples",
        type=whole_number(0),
        default=9,
        metavar="N",
        help="with --images: draw boxes and anchors on so many of them (default 9)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_report)


def run_report(arguments: argparse.Namespace) -> int:
    """Analyse the annotations and write the folder."""
    from tinysight import cli
    from tinysight.boxes.analysis import analyse_boxes
    from tinysight.boxes.anchors import DEFAULT_KS
    from tinysight.boxes.presets import find_preset
    from tinysight.boxes.proofs import proof_processes
    from tinysight.report.boxes_folder import (
        ANCHORS,
        CHARTS,
        FINDINGS,
        TABLES,
        report_outputs,
        require_report_folder,
        write_boxes_report,
    )

    out: Path = arguments.out
    require_report_folder(out, arguments.files)
    against = find_preset(arguments.against) if arguments.against else None
    reading = read_input(arguments, outputs=report_outputs(out))
    certify_s = _CERTIFY_S if arguments.certify is None else arguments.certify
    with proof_processes(len(arguments.k or DEFAULT_KS) if certify_s > 0 else 0) as executor:
        analysis = analyse_boxes(
            reading,
            arguments.k,
            input_size_wh=arguments.input_size,
            fit=arguments.fit,
            against=against,
            certify_s=certify_s,
            seed=arguments.seed,
            executor=executor,
        )
    written = write_boxes_report(
        analysis,
        out,
        name=arguments.name or ", ".join(_name_of(path) for path in arguments.files),
        images_dir=arguments.images,
        num_examples=arguments.examples,
    )
    if arguments.json:
        print_json(
            {
                "page": str(written.page),
                "bytes": written.bytes,
                "images": reading.images,
                "boxes_read": reading.boxes_read,
                "accepted": reading.accepted,
                "repaired": reading.repaired,
                "rejected": reading.rejected,
                "k": analysis.anchors.chosen.k if analysis.anchors else None,
                "charts": list(written.charts),
                "examples": written.num_examples,
            }
        )
        return cli.OK
    beside = [FINDINGS, *([ANCHORS] if analysis.anchors else []), f"{TABLES}/"]
    beside += [f"{CHARTS}/ ({len(written.charts)} as PNG and SVG)"] if written.charts else []
    print_lines(
        [
            f"read        {counted(reading.boxes_read, 'box', 'boxes')} on "
            f"{reading.images_in_words}: "
            f"{reading.accepted:,} accepted, {reading.repaired:,} repaired, "
            f"{reading.rejected:,} rejected",
            f"page        {written.page} ({written.bytes / 1e6:.1f} MB)",
            f"beside it   {', '.join(beside)}",
            *_what_is_missing(analysis, arguments, written.num_examples),
        ]
    )
    return cli.OK


def _what_is_missing(
    analysis: BoxAnalysis, arguments: argparse.Namespace, num_examples: int
) -> Iterator[str]:
    if analysis.anchors is None:
        yield f"anchors     none. {analysis.why_no_anchors}"
    elif analysis.left_out_ks:
        left_out = ", ".join(map(str, analysis.left_out_ks))
        yield f"anchors     none for k = {left_out}: there are fewer distinct box sizes"
    if arguments.images is not None and arguments.examples and not num_examples:
        yield (
            f"examples    none: no image with boxes is found by its name in {arguments.images} and "
            f"can be read"
        )


def _name_of(path: Path) -> str:
    """Return the name of a file or folder, that of the folder itself where it is `.` or `..`."""
    return path.name if path.name not in ("", "..") else path.resolve().name or str(path)
