"""``tinysight boxes score``: how well any anchors fit, and whether others would be worth it."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinysight.cli.boxes_input import (
    DEFAULT_INPUT_PX,
    FITS,
    add_input_arguments,
    input_size_wh,
    read_input,
)
from tinysight.cli.number_arguments import fraction
from tinysight.cli.output import print_json, print_lines
from tinysight.numerals import counted, percent, rounded_down

if TYPE_CHECKING:
    from tinysight.boxes.anchor_files import AnchorFile
    from tinysight.boxes.geometry import Fit
    from tinysight.boxes.held_out import HeldOutCheck
    from tinysight.boxes.quality import AnchorQuality, GroupQuality
    from tinysight.boxes.strides import StrideAssignment
    from tinysight.boxes.verdict import PresetScore, Verdict

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_MOST_CLASSES = 10
_COLUMNS = 99


def add_parser(commands: Subparsers) -> None:
    """Add ``score`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "score",
        help="say how well published or your own anchors fit your boxes",
        description="Score anchors on boxes: mean best IoU, best possible recall, by class, size "
        "and level; compare them with published ones and say whether a change is worth it.",
    )
    add_input_arguments(parser)
    parser.add_argument(
        "--anchors",
        required=True,
        metavar="PRESET|FILE",
        help="a preset such as yolov5-p5, or a file: JSON, CSV, yolov5 yaml, darknet cfg, numbers",
    )
    parser.add_argument(
        "--k",
        type=int,
        metavar="N",
        help="which set, where the file has several; without it its structured anchors, if any",
    )
    add_input_size_arguments(parser)
    add_against_argument(parser)
    parser.add_argument(
        "--margin",
        type=fraction,
        metavar="IOU",
        help="gain in mean best IoU from which a change is worth it (default 0.02)",
    )
    parser.add_argument(
        "--fitted-on",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="the boxes the anchors were fitted to; FILE... are then others, held out",
    )
    parser.add_argument(
        "--compare", action="store_true", help="score all published anchors at this input as well"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_score)


def add_against_argument(parser: argparse.ArgumentParser) -> None:
    """Add which published anchors the verdict is about."""
    parser.add_argument(
        "--against",
        metavar="PRESET",
        help="published anchors to compare with (default: the closest in number)",
    )


def add_input_size_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the size of the network's input and how an image meets it."""
    parser.add_argument(
        "--input-size",
        type=input_size_wh,
        metavar="N|WxH",
        help=f"network input, pixels (default: that of the anchors, else {DEFAULT_INPUT_PX})",
    )
    parser.add_argument(
        "--fit",
        choices=FITS,
        help="how an image meets the input (default: as for the anchors, else letterbox)",
    )


def chosen_input(
    found: AnchorFile, arguments: argparse.Namespace
) -> tuple[tuple[int, int], Fit, tuple[str, ...]]:
    """Return the size and fit to take anchors at, and which of ``size`` and ``fit`` nobody said."""
    size = arguments.input_size or found.input_size_wh
    fit = arguments.fit or found.fit
    assumed = tuple(name for name, value in (("size", size), ("fit", fit)) if value is None)
    return size or (DEFAULT_INPUT_PX, DEFAULT_INPUT_PX), fit or "letterbox", assumed


def run_score(arguments: argparse.Namespace) -> int:
    """Score the anchors and print what was found."""
    from tinysight import cli
    from tinysight.boxes.anchor_files import find_anchors
    from tinysight.boxes.geometry import sizes_at_input
    from tinysight.boxes.held_out import check_held_out
    from tinysight.boxes.presets import PRESETS, find_preset
    from tinysight.boxes.quality import score_anchors
    from tinysight.boxes.strides import STRIDES_PX, assign_strides, group_levels
    from tinysight.boxes.verdict import IOU_MARGIN, closest_default, judge_anchors, score_presets
    from tinysight.errors import DataError

    found = find_anchors(arguments.anchors, arguments.k)
    against = find_preset(arguments.against) if arguments.against else None
    input_size_wh, fit, assumed = chosen_input(found, arguments)
    table = read_input(arguments).table
    sizes_wh_px = sizes_at_input(table, input_size_wh, fit)
    if not len(sizes_wh_px):
        found_instead, mend = "none", "See what was rejected with `tinysight boxes check`."
        if table.num_boxes:
            found_instead = f"{counted(table.num_boxes, 'crowd region')} only"
            mend = "Name files with other boxes."
        raise DataError(
            f"{arguments.files[0]}: must hold boxes that are no crowd regions to score anchors on, "
            f"got {found_instead}. {mend}"
        )
    image_index = table.image_index[~table.is_crowd]
    quality = score_anchors(table, sizes_wh_px, found.anchors_wh_px)
    assignment = None
    about_levels = ""
    if found.level_strides_px is not None:
        assignment = group_levels(
            found.levels_wh_px, found.level_strides_px, boxes_wh_px=sizes_wh_px
        )
        if found.strides_px is None:
            about_levels = "as the file has them, with the strides 8, 16 and 32:"
    elif found.has_levels:
        one = len(found.levels_wh_px) == 1
        about_levels = (
            f"{len(found.levels_wh_px)} in the file, without {'stride' if one else 'strides'}, so "
            f"that nothing is said of {'it' if one else 'them'}"
        )
    elif len(found.anchors_wh_px) % len(STRIDES_PX) == 0:  # as yolov5 would divide them
        assignment = assign_strides(found.anchors_wh_px, boxes_wh_px=sizes_wh_px)
        about_levels = "the anchors are on none; divided evenly, as yolov5 has them:"
    held_out = None
    if arguments.fitted_on:
        fitted = read_input(argparse.Namespace(**{**vars(arguments), "files": arguments.fitted_on}))
        held_out = check_held_out(
            found.anchors_wh_px,
            sizes_at_input(fitted.table, input_size_wh, fit),
            sizes_wh_px,
            image_index,
        )
    if against is None and arguments.anchors not in PRESETS:
        against = closest_default(len(found.anchors_wh_px), sizes_wh_px, input_size_wh)
    verdict = None
    if against is not None:
        verdict = judge_anchors(
            found.anchors_wh_px,
            against,
            sizes_wh_px,
            image_index,
            margin=IOU_MARGIN if arguments.margin is None else arguments.margin,
            held_out=held_out is not None,
        )
    presets = score_presets(table, sizes_wh_px) if arguments.compare else ()
    if arguments.json:
        about = {
            "input_size_wh": input_size_wh,
            "fit": fit,
            "assumed": list(assumed),
            "crowd_boxes": int(table.is_crowd.sum()),
        }
        print_json(_as_json(quality, assignment, held_out, verdict, presets) | about)
    else:
        width, height = input_size_wh
        print(
            f"anchors      {len(quality.anchors_wh_px)} on "
            f"{counted(quality.overall.boxes, 'box', 'boxes')}, sizes "
            f"at an input of {width}x{height} px ({fit})"
        )
        if assumed:
            print(
                f"assumed      the {' and '.join(assumed)} of that input, which the file of "
                f"anchors does not state"
            )
        print_lines(_lines(quality, assignment, about_levels, held_out, verdict, presets))
    return cli.OK


def _as_json(
    quality: AnchorQuality,
    assignment: StrideAssignment | None,
    held_out: HeldOutCheck | None,
    verdict: Verdict | None,
    presets: tuple[PresetScore, ...],
) -> dict[str, Any]:
    return {
        "anchors_wh_px": quality.anchors_wh_px.tolist(),
        "boxes": quality.overall.boxes,
        "mean_best_iou": quality.mean_best_iou,
        "best_possible_recall": quality.best_possible_recall,
        "over_half": quality.over_half,
        "by_class": [asdict(group) for group in quality.by_class],
        "by_size": [asdict(group) for group in quality.by_size],
        "by_anchor": [asdict(group) for group in quality.by_anchor],
        "ratios": asdict(quality.ratios),
        "by_level": None if assignment is None else levels_json(assignment),
        "warnings": [] if assignment is None else list(assignment.warnings),
        "held_out": None
        if held_out is None
        else {**asdict(held_out), "drop": held_out.drop, "holds": held_out.holds},
        "verdict": None
        if verdict is None
        else {
            **asdict(verdict),
            "can_be_told": verdict.can_be_told,
            "iou_gain": verdict.iou_gain,
            "recall_gain": verdict.recall_gain,
        },
        "presets": [asdict(score) for score in presets],
    }


def levels_json(assignment: StrideAssignment) -> list[dict[str, Any]]:
    """Return the levels of a detector with what each would learn, as JSON holds them."""
    return [
        {
            "stride_px": level.stride_px,
            "anchors_wh_px": level.anchors_wh_px.tolist(),
            "coverage": None if level.coverage is None else asdict(level.coverage),
        }
        for level in assignment.levels
    ]


def level_lines(assignment: StrideAssignment) -> Iterator[str]:
    """Yield the coverage table of a detector's levels, and the warnings."""
    has_boxes = any(level.coverage is not None for level in assignment.levels)
    columns = "     boxes       share  mean IoU  recall   boxes of its size" if has_boxes else ""
    yield f"level        anchors{columns}"
    for level in assignment.levels:
        line = f"  stride {level.stride_px:<4} {len(level.anchors_wh_px):>5}"
        coverage = level.coverage
        if coverage is not None:
            line += (
                f" {coverage.boxes:>10,} {percent(coverage.share):>11}"
                f" {_figure(coverage.mean_best_iou)} {_share(coverage.best_possible_recall)}"
                f" {coverage.boxes_by_size:>16,}"
            )
        yield line
    for warning in assignment.warnings:
        yield from _wrapped(warning, "  warning: ")


def _lines(
    quality: AnchorQuality,
    assignment: StrideAssignment | None,
    about_levels: str,
    held_out: HeldOutCheck | None,
    verdict: Verdict | None,
    presets: tuple[PresetScore, ...],
) -> Iterator[str]:
    ratios = quality.ratios
    recall, over_half = (
        rounded_down(share, 4) for share in (quality.best_possible_recall, quality.over_half)
    )
    yield f"mean IoU     {quality.mean_best_iou:.4f} with the best anchor"
    yield f"recall       {recall} of the boxes within the factor 4 (BPR)"
    yield f"over half    {over_half} of the boxes have an IoU above 0.5"
    yield from _wrapped(
        f"{ratios.anchors_past_threshold:.2f} anchors a box past the threshold, ratio "
        f"{ratios.mean_ratio:.3f} mean, {ratios.mean_best_ratio:.3f} best, "
        f"{ratios.mean_past_ratio:.3f} past the threshold",
        "as yolov5    ",
    )
    yield f"{'':36} {'boxes':>9}  mean IoU  recall  over half"
    yield from (_group_line(group) for group in quality.by_size)
    filled = [group for group in quality.by_class if group.boxes]
    if len(filled) > 1:
        worst = sorted(filled, key=lambda group: group.mean_best_iou or 0.0)[:_MOST_CLASSES]
        yield from (_group_line(group) for group in worst)
        if len(filled) > len(worst):
            yield f"  the {len(worst)} worst of {len(filled):,} classes; --json lists them all"
    if about_levels:
        yield f"levels       {about_levels}"
    if assignment is not None:
        yield from level_lines(assignment)
    if presets:
        yield f"{'':30} {'anchors':>8}  mean IoU  recall  mean IoU at its own input"
    for score in presets:
        width, height = score.input_size_wh
        yield (
            f"  {score.name:<30} {score.k:>6} {score.mean_best_iou:>9.4f}  "
            f"{rounded_down(score.best_possible_recall, 4)}  {score.own_mean_best_iou:.4f}, "
            f"{width}x{height} {score.fit}"
        )
    if held_out is not None:
        interval = (
            "one image has no interval"
            if held_out.interval is None
            else f"95 % interval {held_out.interval[0]:.4f} to {held_out.interval[1]:.4f}"
        )
        yield (
            f"held out     mean IoU {held_out.fitted.mean_best_iou or 0.0:.4f} where fitted, "
            f"{held_out.held_out.mean_best_iou or 0.0:.4f} on others "
            f"({interval})"
        )
    if verdict is not None:
        yield from _wrapped(verdict.text, "verdict      ")


def _group_line(group: GroupQuality) -> str:
    return (
        f"  {group.name[:34]:<34} {group.boxes:>9,} {_figure(group.mean_best_iou)} "
        f"{_share(group.best_possible_recall)}    {_share(group.over_half)}"
    )


def _wrapped(text: str, label: str) -> list[str]:
    return textwrap.wrap(
        text,
        _COLUMNS,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_on_hyphens=False,
    )


def _figure(value: float | None) -> str:
    return f"{'-' if value is None else f'{value:.4f}':>8}"


def _share(value: float | None) -> str:
    """Return a share of boxes, which is 1 only if it is all of them."""
    return f"{'-' if value is None else rounded_down(value, 4):>8}"
