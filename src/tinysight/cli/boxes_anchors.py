"""``tinysight boxes anchors``: anchors for each k, how good they are, and how good any can be."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from tinysight.cli.anchor_fits import (
    DEFAULT_CERTIFY_S,
    FittedAnchors,
    fit_to_boxes,
    fit_to_shards,
)
from tinysight.cli.anchor_lines import set_lines, structured_lines
from tinysight.cli.boxes_input import (
    DEFAULT_INPUT_PX,
    FITS,
    add_input_arguments,
    input_size_wh,
)
from tinysight.cli.boxes_shards import add_shard_arguments, are_shards, order_note
from tinysight.cli.number_arguments import not_negative, whole_number
from tinysight.cli.output import print_json

if TYPE_CHECKING:
    from tinysight.boxes.anchors import AnchorSet
    from tinysight.boxes.choice_of_k import ChoiceOfK
    from tinysight.boxes.structured import StructuredAnchors

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

# The words of boxes.anchors.DISTANCES, repeated so that --help needs no numpy; a test holds them
# equal.
DISTANCES = ("iou", "log", "wh", "ratio")

_MOST_K = 100
_MOST_STRUCTURED = 500
_LARGEST_SEED = 2**32 - 1  # of scikit-learn


def add_parser(commands: Subparsers) -> None:
    """Add ``anchors`` to the commands of ``tinysight boxes``."""
    parser = commands.add_parser(
        "anchors",
        help="choose anchor boxes and prove how near to the best possible they are",
        description="Fit anchors for each k, score them on every box, and prove an upper bound of "
        "the mean best IoU that any k anchors can reach on these boxes.",
    )
    add_input_arguments(parser)
    add_anchor_arguments(parser, certify_s=DEFAULT_CERTIFY_S)
    add_shard_arguments(
        parser,
        remark="; only counts of sizes within 1%% are kept, so that memory does not grow with the "
        "boxes, and there is neither a proof nor an elbow",
    )
    parser.add_argument(
        "--distance",
        choices=DISTANCES,
        default="iou",
        help="what to optimise: mean best IoU (default), yolov5's ratio fitness, or Euclidean "
        "k-means on (w, h) or on (log w, log h)",
    )
    parser.add_argument(
        "--recall-weight",
        type=not_negative,
        default=0.0,
        metavar="LAMBDA",
        help="with --distance iou: optimise IoU + LAMBDA * recall (default 0)",
    )
    parser.add_argument(
        "--structured",
        type=_structure,
        metavar="LxSxR",
        help="also fit S sizes for each of L levels, each level twice the last, times R ratios; "
        "5x3x3 for RetinaNet, 5x1x3 for Faster R-CNN FPN",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run_anchors)


def add_anchor_arguments(parser: argparse.ArgumentParser, *, certify_s: float) -> None:
    """Add how many anchors to fit, at which input, and how long to prove."""
    parser.add_argument(
        "--k",
        type=_counts,
        metavar="LIST",
        help="numbers of anchors: 3,4,5,6 or 1:12 (default 3,4,5,6, as far as there are so many "
        "distinct box sizes)",
    )
    parser.add_argument(
        "--input-size",
        type=input_size_wh,
        default=(DEFAULT_INPUT_PX, DEFAULT_INPUT_PX),
        metavar="N|WxH",
        help=f"network input, pixels (default {DEFAULT_INPUT_PX})",
    )
    parser.add_argument(
        "--fit",
        choices=FITS,
        default="letterbox",
        help="how images meet the input: scaled and padded (default), stretched, or, as "
        "torchvision and detectron2 do, scaled until the shorter side has the height of "
        "--input-size or the longer one its width: --input-size 1333x800",
    )
    parser.add_argument(
        "--certify",
        type=not_negative,
        metavar="SECONDS",
        help=f"most seconds of processor time for the proof of each k, 0 for none "
        f"(default {certify_s:g})",
    )
    parser.add_argument(
        "--seed",
        type=whole_number(0, _LARGEST_SEED),
        default=0,
        metavar="N",
        help="of the search (default 0)",
    )


def run_anchors(arguments: argparse.Namespace) -> int:
    """Fit the anchors and print them with what was proved."""
    from tinysight import cli
    from tinysight.errors import DataError

    if arguments.recall_weight > 0 and arguments.distance != "iou":
        raise DataError(
            f"--recall-weight must go with --distance iou, got --distance {arguments.distance}. "
            f"Leave one of them out."
        )
    found = fit_to_shards(arguments) if are_shards(arguments) else fit_to_boxes(arguments)
    if arguments.json:
        print_json(_as_json(found, arguments))
        return cli.OK
    lines = set_lines(found.sets, found.choice, found.num_boxes, found.num_crowd, found.note_on_k)
    print("\n".join(lines))
    if found.structured is not None:
        print("\n".join(structured_lines(found.structured)))
    if found.shards is not None:
        print(f"shards      {found.shards.shards:,}")
        if note := order_note(found.shards.box_orders):
            print(note)
    return cli.OK


def _as_json(found: FittedAnchors, arguments: argparse.Namespace) -> dict[str, Any]:
    choice, structured = found.choice, found.structured
    return {
        "input_size_wh": arguments.input_size,
        "fit": arguments.fit,
        "boxes": found.num_boxes,
        "crowd_boxes_left_out": found.num_crowd,
        "note_on_k": found.note_on_k or None,
        "sets": [_set_json(anchors) for anchors in found.sets],
        "elbow": _elbow_json(choice),
        "wcss": choice and choice.wcss_log,
        "wcss_k": choice and choice.ks,
        "wcss_wh": choice and choice.wcss_wh,
        "structured": None if structured is None else _structured_json(structured),
        "shards": found.shards and found.shards.shards,
        "findings": found.shards and found.shards.findings,
        "box_orders": found.shards and list(found.shards.box_orders),
    }


def _set_json(anchors: AnchorSet) -> dict[str, Any]:
    return {
        "k": anchors.k,
        "distance": anchors.distance,
        "anchors_wh_px": anchors.anchors_wh_px.tolist(),
        "mean_best_iou": anchors.mean_best_iou,
        "best_possible_recall": anchors.best_possible_recall,
        "upper_bound": anchors.upper_bound,
        "gap": anchors.gap,
        "is_proof_finished": anchors.is_proof_finished,
    }


def _structured_json(structured: StructuredAnchors) -> dict[str, Any]:
    return {
        "sizes_px": structured.sizes_px.tolist(),
        "ratios": structured.ratios.tolist(),
        "mean_best_iou": structured.mean_best_iou,
        "best_possible_recall": structured.best_possible_recall,
    }


def _elbow_json(choice: ChoiceOfK | None) -> dict[str, Any]:
    if choice is None:
        return {"k": None, "agreed": None, "rules": None}
    return {
        "k": choice.k,
        "agreed": choice.is_agreed,
        "rules": {name: {"k": rule.k, "share": rule.share} for name, rule in choice.rules.items()},
    }


def _counts(text: str) -> tuple[int, ...]:
    counts: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,3})(?::(\d{1,3}))?", part.strip())
        last = int(match[2] or match[1]) if match else 0
        if match is None or not 1 <= int(match[1]) <= last <= _MOST_K:
            raise argparse.ArgumentTypeError(
                f"must be numbers from 1 to {_MOST_K} as in 3,4,5,6 or 1:12, got {text!r}"
            )
        counts.update(range(int(match[1]), last + 1))
    return tuple(sorted(counts))


def _structure(text: str) -> tuple[int, int, int]:
    match = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)x([1-9]\d?)", text)
    levels, sizes, ratios = map(int, match.groups()) if match else (0, 0, 0)
    if 1 <= levels * sizes * ratios <= _MOST_STRUCTURED:
        return levels, sizes, ratios
    raise argparse.ArgumentTypeError(
        f"must be LEVELSxSIZESxRATIOS, each from 1 to 99 and at most {_MOST_STRUCTURED} anchors in "
        f"all, got {text!r}. Example: 5x3x3."
    )
