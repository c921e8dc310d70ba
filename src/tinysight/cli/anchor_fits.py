"""What ``tinysight boxes anchors`` finds, on boxes or on the counts that shards leave of them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinysight.cli.boxes_input import faults_named, read_input
from tinysight.cli.boxes_shards import read_shards

if TYPE_CHECKING:
    from tinysight.boxes.anchors import AnchorSet
    from tinysight.boxes.choice_of_k import ChoiceOfK
    from tinysight.boxes.engine import ShardResult
    from tinysight.boxes.structured import StructuredAnchors

DEFAULT_CERTIFY_S = 10.0

_LEAST_CURVE = 10  # the elbow is looked for among at least so many k


@dataclass(frozen=True)
class FittedAnchors:
    """What is said of anchors; None where it is not known of boxes that were only counted."""

    sets: tuple[AnchorSet, ...]
    num_boxes: int
    num_crowd: int
    note_on_k: str
    choice: ChoiceOfK | None = None
    structured: StructuredAnchors | None = None
    shards: ShardResult | None = None


def fit_to_boxes(arguments: argparse.Namespace) -> FittedAnchors:
    """Fit anchors to the boxes of all files, and prove how good any could be."""
    from tinysight.boxes.anchors import (
        FitSettings,
        default_ks,
        distinct_or_fault,
        fit_sets_to_sizes,
    )
    from tinysight.boxes.choice_of_k import choose_k
    from tinysight.boxes.geometry import sizes_at_input
    from tinysight.boxes.proofs import proof_processes
    from tinysight.boxes.structured import fit_structured

    table = read_input(arguments).table
    sizes = sizes_at_input(table, arguments.input_size, arguments.fit)
    with faults_named(arguments.files):
        num_distinct = len(distinct_or_fault(sizes).weights)
    ks = arguments.k or default_ks(num_distinct)
    certify_s = DEFAULT_CERTIFY_S if arguments.certify is None else arguments.certify
    settings = FitSettings(
        distance=arguments.distance,
        recall_weight=arguments.recall_weight,
        seed=arguments.seed,
        certify_s=certify_s,
    )
    with (
        faults_named(arguments.files),
        proof_processes(len(ks) if certify_s > 0 else 0) as executor,
    ):
        sets = fit_sets_to_sizes(
            sizes,
            ks,
            input_size_wh=arguments.input_size,
            fit=arguments.fit,
            settings=settings,
            executor=executor,
        )
    choice = choose_k(table, most=max(_LEAST_CURVE, *ks), seed=arguments.seed)
    structured = None
    if arguments.structured is not None:
        structured = fit_structured(sizes, *arguments.structured)
    num_boxes = int((~table.is_crowd).sum())
    return FittedAnchors(
        sets=sets,
        num_boxes=num_boxes,
        num_crowd=table.num_boxes - num_boxes,
        note_on_k="" if arguments.k else _note_on_default(ks, num_distinct),
        choice=choice,
        structured=structured,
    )


def fit_to_shards(arguments: argparse.Namespace) -> FittedAnchors:
    """Fit anchors to what shards hold, counted by size and never in memory at once."""
    from tinysight.boxes.anchors import default_ks
    from tinysight.boxes.histogram_anchors import fit_to_histogram

    _check_counts_suffice(arguments)
    result = read_shards(arguments, input_size_wh=arguments.input_size, fit=arguments.fit)
    assert result.histogram is not None, "an input was given"
    num_distinct = len(result.histogram.counts)
    ks = arguments.k or default_ks(max(num_distinct, 1))
    with faults_named(arguments.files):
        sets = fit_to_histogram(
            result.histogram,
            ks,
            input_size_wh=arguments.input_size,
            fit=arguments.fit,
            seed=arguments.seed,
        )
    return FittedAnchors(
        sets=sets,
        num_boxes=result.histogram.num_boxes,
        num_crowd=result.summary.crowd_boxes,
        note_on_k="" if arguments.k else _note_on_default(ks, num_distinct),
        shards=result,
    )


def _check_counts_suffice(arguments: argparse.Namespace) -> None:
    """Refuse what needs the boxes themselves, of which shards leave only counts of sizes."""
    from tinysight.errors import DataError

    asked = [
        option
        for option, is_asked in (
            (f"--distance {arguments.distance}", arguments.distance != "iou"),
            ("--recall-weight", arguments.recall_weight > 0),
            ("--certify", bool(arguments.certify)),
            ("--structured", arguments.structured is not None),
        )
        if is_asked
    ]
    if asked:
        raise DataError(
            f"--shards must go with --distance iou and without a proof, as the boxes themselves "
            f"are not kept; got {', '.join(asked)}. Leave it out, or leave out --shards."
        )


def _note_on_default(ks: tuple[int, ...], num_distinct: int) -> str:
    """Return why the default numbers of anchors were cut; empty where they were not."""
    from tinysight.boxes.anchors import DEFAULT_KS

    if ks == DEFAULT_KS:
        return ""
    sizes = "1 distinct box size" if num_distinct == 1 else f"{num_distinct} distinct box sizes"
    return (
        f"{', '.join(map(str, ks))} instead of {', '.join(map(str, DEFAULT_KS))}: at this input "
        f"there {'is' if num_distinct == 1 else 'are'} only {sizes}"
    )
