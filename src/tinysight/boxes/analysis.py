"""Everything that a report on a set of annotations says, computed in one call."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.anchors import (
    DEFAULT_KS,
    AnchorFitter,
    AnchorSet,
    FitSettings,
    default_ks,
    with_proof,
)
from tinysight.boxes.choice_of_k import ChoiceOfK, choose_k
from tinysight.boxes.clustering import WeightedSizes, distinct_sizes, histogram_points
from tinysight.boxes.findings import Reading
from tinysight.boxes.geometry import Fit, sizes_at_input
from tinysight.boxes.presets import AnchorPreset
from tinysight.boxes.quality import AnchorQuality, score_anchors
from tinysight.boxes.sizes import size_histogram
from tinysight.boxes.summary import BoxSummary, summarize_boxes
from tinysight.boxes.verdict import (
    PresetScore,
    Verdict,
    closest_default,
    judge_sets,
    score_presets,
)
from tinysight.errors import DataError
from tinysight.numerals import counted

MOST_POINTS = 1500
"""Points that stand for all box sizes in a drawing."""

CURVE_K = 10
"""Anchors are fitted for every k up to this, whatever was asked for: one k alone says little."""


@dataclass(frozen=True)
class AnchorAnalysis:
    """Anchors for one set of boxes at one input, and how they compare."""

    num_boxes: int
    """Boxes that are not crowd regions."""

    points: WeightedSizes
    """At most ``MOST_POINTS`` sizes in pixels at the input that stand for all."""

    sets: tuple[AnchorSet, ...]
    """For each k asked for or of the default, ascending; with an upper bound where there was time.
    """

    curve: tuple[AnchorSet, ...]
    """For every k from 1 to ``CURVE_K`` and those asked for, ascending; these with their bound."""

    choice: ChoiceOfK
    chosen: AnchorSet
    """The set at the elbow if it was asked for, else the smallest set."""

    quality: AnchorQuality
    """Of the chosen set."""

    presets: tuple[PresetScore, ...]
    """Published anchors, the best first."""

    verdicts: tuple[Verdict, ...]
    """Each set against the published anchors asked for, else those nearest to it in number."""

    @property
    def verdict(self) -> Verdict:
        """The one on the chosen set."""
        ks = [one.k for one in self.sets]
        return self.verdicts[ks.index(self.chosen.k)]


@dataclass(frozen=True)
class BoxAnalysis:
    """What is in a set of annotations, what is wrong with it, and which anchors fit it."""

    reading: Reading
    summary: BoxSummary
    input_size_wh: tuple[int, int]
    fit: str
    anchors: AnchorAnalysis | None
    why_no_anchors: str
    """Why there are none, as a sentence; empty if there are."""

    are_ks_default: bool
    """Whether nobody asked for numbers of anchors."""

    left_out_ks: tuple[int, ...]
    """Numbers of anchors, asked for or default, that are more than there are distinct sizes."""


def analyse_boxes(
    reading: Reading,
    ks: Sequence[int] | None = None,
    *,
    input_size_wh: tuple[int, int] = (640, 640),
    fit: Fit = "letterbox",
    against: AnchorPreset | None = None,
    certify_s: float = 5.0,
    seed: int = 0,
    executor: Executor | None = None,
) -> BoxAnalysis:
    """Summarise boxes, fit anchors for each k, and compare them with published ones.

    Args:
        reading: What was read.
        ks: Numbers of anchors, each at least 1; ``anchors.DEFAULT_KS`` when not given, cut to the
            number of distinct sizes where that is smaller.
        input_size_wh: Network input, width and height in pixels.
        fit: How images meet the input.
        against: Published anchors that each set is judged against; those nearest to it in number
            when not given.
        certify_s: Most seconds of processor time for the proof of each set; 0 for none.
        seed: Of every search and every bootstrap.
        executor: Where the proofs run beside all else; here, one after the other, when not given.

    Returns:
        Everything a page needs. Without boxes, or without the sizes of their images, there are no
        anchors and the result says why.
    """
    summary = summarize_boxes(reading.table)
    anchors: AnchorAnalysis | None = None
    why = ""
    left_out: tuple[int, ...] = ()
    try:
        sizes = sizes_at_input(reading.table, input_size_wh, fit)
    except DataError as fault:
        why = str(fault)
    else:
        settings = FitSettings(certify_s=certify_s, seed=seed)
        fitter = None
        if len(sizes):
            fitter = AnchorFitter(sizes, input_size_wh=input_size_wh, fit=fit, settings=settings)
        num_distinct = fitter.num_distinct if fitter else 0
        asked = DEFAULT_KS if ks is None else ks
        fitted = sorted({k for k in asked if k <= num_distinct})
        if ks is None and num_distinct:
            fitted = list(default_ks(num_distinct))
        left_out = tuple(sorted({*asked} - {*fitted}))
        if fitter and fitted:
            anchors = _analyse_anchors(reading, sizes, fitter, fitted, against, settings, executor)
        else:
            why = (
                f"There {'is' if num_distinct == 1 else 'are'} "
                f"{counted(num_distinct, 'distinct box size')}, fewer than the anchors "
                f"{'fitted by default' if ks is None else 'asked for'} "
                f"(k = {', '.join(map(str, left_out))})."
            )
    return BoxAnalysis(
        reading=reading,
        summary=summary,
        input_size_wh=input_size_wh,
        fit=fit,
        anchors=anchors,
        why_no_anchors=why,
        are_ks_default=ks is None,
        left_out_ks=left_out,
    )


def _analyse_anchors(
    reading: Reading,
    sizes_wh_px: NDArray[np.float64],
    fitter: AnchorFitter,
    ks: Sequence[int],
    against: AnchorPreset | None,
    settings: FitSettings,
    executor: Executor | None,
) -> AnchorAnalysis:
    table = reading.table
    sets = [fitter.fit(k) for k in ks]
    proofs = [fitter.start_proof(one, executor) for one in sets if settings.certify_s > 0]
    most = max(min(CURVE_K, fitter.num_distinct), *ks)
    others = [fitter.fit(k) for k in range(1, min(CURVE_K, most) + 1) if k not in ks]
    with ThreadPoolExecutor(1) as pool:  # beside the presets
        choosing = pool.submit(choose_k, table, most=most, seed=settings.seed)
        presets = score_presets(table, sizes_wh_px)
        choice = choosing.result()
    chosen_at = ks.index(choice.k) if choice.k in ks else 0
    verdicts = judge_sets(
        [
            (
                one.anchors_wh_px,
                against or closest_default(one.k, sizes_wh_px, one.input_size_wh),
            )
            for one in sets
        ],
        sizes_wh_px,
        table.image_index[~table.is_crowd],
        seed=settings.seed,
    )
    quality = score_anchors(table, sizes_wh_px, sets[chosen_at].anchors_wh_px)
    points = points_for(sizes_wh_px)
    if proofs:
        results = [proof.result() for proof in proofs]
        sets = [with_proof(one, proof) for one, proof in zip(sets, results, strict=True)]
    return AnchorAnalysis(
        num_boxes=len(sizes_wh_px),
        points=points,
        sets=tuple(sets),
        curve=tuple(sorted((*sets, *others), key=lambda one: one.k)),
        choice=choice,
        chosen=sets[chosen_at],
        quality=quality,
        presets=presets,
        verdicts=verdicts,
    )


def points_for(sizes_wh_px: NDArray[np.float64], most: int = MOST_POINTS) -> WeightedSizes:
    """Return few points that stand for many box sizes in a drawing.

    Args:
        sizes_wh_px: (n, 2) width and height, > 0, n >= 1.
        most: Points at the most; as many distinct sizes or fewer are the points themselves.
    """
    distinct = distinct_sizes(sizes_wh_px)
    if len(distinct.weights) <= most:
        return distinct
    return histogram_points(size_histogram(sizes_wh_px), most, 1)
