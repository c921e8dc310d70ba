"""``tinysight boxes export``: anchors in the form that a framework reads."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.cli.boxes_input import add_reading_arguments, read_input
from tinysight.cli.boxes_score import (
    add_input_size_arguments,
    chosen_input,
    level_lines,
    levels_json,
)
from tinysight.cli.number_arguments import whole_number
from tinysight.cli.output import check_file_to_write, print_json, print_lines
from tinysight.numerals import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tinysight.boxes.anchor_files import AnchorFile
    from tinysight.boxes.strides import StrideAssignment

# The words of boxes.export.FORMATS, repeated so that --help needs no numpy.
FORMATS = (
    "csv",
    "darknet",
    "darknet-v2",
    "darknet-v3",
    "detectron2",
    "detectron2-code",
    "json",
    "mmdetection",
    "ssd",
    "torchvision",
    "yolov5",
    "yolov7",
)


def add_parser(commands: Any) -> None:
    """Add ``export`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "export",
        help="write anchors for yolov5, darknet, detectron2, torchvision and others",
        description="Put anchors on the levels of a detector and write them in the form that its "
        "framework reads. The level of each anchor is printed, with a warning where one is empty.",
    )
    parser.add_argument(
        "anchors", metavar="ANCHORS", help="file of anchors, or the name of a preset"
    )
    parser.add_argument(
        "--to", required=True, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write (default: stdout)")
    parser.add_argument(
        "--k",
        type=int,
        metavar="N",
        help="which set, where the file has several; without it its structured anchors, if any",
    )
    parser.add_argument(
        "--strides",
        type=_strides,
        metavar="A,B,…",
        help="stride of each level, pixels, finest first (default: those of ANCHORS, else 8,16,32)",
    )
    parser.add_argument(
        "--divide",
        choices=("equal", "size"),
        help="as many anchors on every level (default), or each on the level of its size",
    )
    parser.add_argument(
        "--classes",
        type=whole_number(1, 999_999, example=20),
        metavar="N",
        help="classes; darknet needs it",
    )
    parser.add_argument(
        "--boxes", nargs="+", type=Path, metavar="FILE", help="boxes, to say what each level learns"
    )
    add_reading_arguments(parser)
    add_input_size_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> int:
    """Write the anchors and say which level got which."""
    from tinysight import cli
    from tinysight.boxes.anchor_files import find_anchors
    from tinysight.boxes.export import check_format, export_warnings, render_anchors
    from tinysight.boxes.geometry import sizes_at_input
    from tinysight.boxes.leveled_anchors import LeveledAnchors
    from tinysight.overwriting import require_other_file
    from tinysight.whole_files import write_text

    check_format(arguments.to)
    if arguments.out is not None:
        check_file_to_write(arguments.out)
        require_other_file(
            arguments.out,
            [arguments.anchors, *(arguments.boxes or ())],
            what="anchors or boxes that are read",
        )
    found = find_anchors(arguments.anchors, arguments.k)
    _check_input(found, arguments)
    input_size_wh, fit, assumed = chosen_input(found, arguments)
    boxes_wh_px = None
    if arguments.boxes:
        named = argparse.Namespace(**{**vars(arguments), "files": arguments.boxes})
        outputs = () if arguments.out is None else (arguments.out,)
        reading = read_input(named, outputs=outputs)
        boxes_wh_px = sizes_at_input(reading.table, input_size_wh, fit)
    assignment = _assigned(found, arguments, boxes_wh_px)
    leveled = LeveledAnchors(assignment, input_size_wh, fit, arguments.classes, assumed)
    text = render_anchors(leveled, arguments.to)
    assignment = replace(assignment, warnings=export_warnings(leveled, arguments.to))
    if arguments.out is not None:
        write_text(arguments.out, text)
    if arguments.json:
        print_json(
            {
                "to": arguments.to,
                "out": None if arguments.out is None else str(arguments.out),
                "text": text,
                "input_size_wh": input_size_wh,
                "fit": fit,
                "assumed": list(assumed),
                "levels": levels_json(assignment),
                "warnings": list(assignment.warnings),
            }
        )
        return cli.OK
    if arguments.out is None:
        print(text, end="")
    # Without --out the file itself is the result, and what is said about it goes to stderr.
    said = sys.stderr if arguments.out is None else sys.stdout
    print("\n".join(level_lines(assignment)), file=said)
    if arguments.out is not None:
        print_lines([f"{arguments.out}: {leveled.about}, for {arguments.to}"])
    return cli.OK


def _assigned(
    found: AnchorFile, arguments: argparse.Namespace, boxes_wh_px: NDArray[Any] | None
) -> StrideAssignment:
    """Return the anchors on the levels they are on, or divided over those that are asked for."""
    from tinysight.boxes.export import ONE_LEVEL_PX
    from tinysight.boxes.strides import STRIDES_PX, assign_strides, group_levels
    from tinysight.errors import DataError

    strides = arguments.strides or ONE_LEVEL_PX.get(arguments.to)
    # Levels without strides are kept when strides are named; levels with strides are left then.
    keeps_levels = strides is None or (
        found.strides_px is None and arguments.to not in ONE_LEVEL_PX
    )
    if not found.has_levels or arguments.divide is not None or not keeps_levels:
        return assign_strides(
            found.anchors_wh_px,
            strides or found.level_strides_px or STRIDES_PX,
            rule=arguments.divide or "equal",
            boxes_wh_px=boxes_wh_px,
        )
    of_levels = strides or found.level_strides_px
    if of_levels is None:
        raise DataError(
            f"{arguments.anchors}: the strides of the levels must be known, but the file has "
            f"{counted(len(found.levels_wh_px), 'level')} and names no stride. Name them with "
            f"--strides, finest first, or divide the anchors anew with --divide."
        )
    return group_levels(found.levels_wh_px, of_levels, boxes_wh_px=boxes_wh_px)


def _check_input(found: AnchorFile, arguments: argparse.Namespace) -> None:
    """Refuse another input than that of the anchors, whose numbers would stay what they are."""
    from tinysight.errors import DataError

    size = arguments.input_size
    if found.input_size_wh is not None and size not in (None, found.input_size_wh):
        own, other = ("x".join(map(str, size_wh)) for size_wh in (found.input_size_wh, size))
        raise DataError(
            f"{arguments.anchors}: --input-size must be {own}, as the anchors are pixels at that "
            f"input, got {other}. Leave it out, or fit anchors at {other}."
        )
    if found.fit is not None and arguments.fit not in (None, found.fit):
        raise DataError(
            f"{arguments.anchors}: --fit must be {found.fit}, as the anchors are for images that "
            f"meet the input so, got {arguments.fit}. Leave it out, or fit anchors with "
            f"`tinysight boxes anchors FILE --fit {arguments.fit}`."
        )


def _strides(text: str) -> tuple[int, ...]:
    parts = text.replace(",", " ").split()
    if parts and all(part.isdecimal() and int(part) >= 1 for part in parts):
        return tuple(int(part) for part in parts)
    raise argparse.ArgumentTypeError(
        f"must be whole pixels separated by commas, got {text!r}. Example: 8,16,32."
    )
