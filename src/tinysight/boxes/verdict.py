"""Is it worth changing the anchors? In plain English, with the margin that decides.

New anchors cost something: published weights no longer fit the layers that predict boxes, and users
have seen the mAP fall although the mean IoU rose (pjreddie/darknet issue 1033, AlexeyAB/darknet
issue 2960). So the published anchors stay unless the gain is clear. Where a box is matched with the
anchors near its shape, one that has none is not learned: a recall that falls is said beside an IoU
that rises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import (
    Fit,
    best_iou,
    best_possible_recall,
    is_within_ratio,
    mean_best_iou,
    mean_of_scores,
)
from tinysight.boxes.held_out import Interval, bootstrap_means
from tinysight.boxes.presets import PRESETS, AnchorPreset, sizes_at_preset
from tinysight.boxes.quality import checked_anchors
from tinysight.boxes.threads import map_in_threads
from tinysight.numerals import counted, rounded_down

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

IOU_MARGIN = 0.02
"""Gain in mean best IoU from which a change is worth it."""

RECALL_MARGIN = 0.01
"""Gain in best possible recall from which a change is worth it; yolov5 changes below 0.98."""


@dataclass(frozen=True)
class Verdict:
    """Whether to keep published anchors or take others, and why."""

    default: str
    """Name of the published anchors."""

    keep_default: bool
    iou_default: float
    iou_fitted: float
    recall_default: float
    recall_fitted: float
    gain_interval: Interval | None
    """95 % bootstrap interval over images of the gain in mean best IoU; None for one image."""

    recall_interval: Interval | None
    """The same of the gain in best possible recall."""

    margin: float
    """Gain in mean best IoU that was asked for."""

    text: str
    """The verdict in plain English."""

    @property
    def can_be_told(self) -> bool:
        """Whether there is more than one image, so that it shows how much images differ.

        If not, published anchors are kept for want of a reason to change them.
        """
        return self.gain_interval is not None

    @property
    def iou_gain(self) -> float:
        """How much higher the mean best IoU of the fitted anchors is."""
        return self.iou_fitted - self.iou_default

    @property
    def recall_gain(self) -> float:
        """How much higher the best possible recall of the fitted anchors is."""
        return self.recall_fitted - self.recall_default


def judge_anchors(
    anchors_wh_px: NDArray[np.float64],
    default: AnchorPreset,
    boxes_wh_px: NDArray[np.float64],
    image_index: NDArray[np.integer],
    *,
    margin: float = IOU_MARGIN,
    held_out: bool = False,
    seed: int = 0,
) -> Verdict:
    """Say whether anchors beat published ones by enough to change.

    Both are scored in the same pixels: frameworks use their anchors as they are at any input size.

    Args:
        anchors_wh_px: (k, 2), pixels at the user's input.
        default: What the framework ships.
        boxes_wh_px: (n, 2), pixels at the user's input, n >= 1.
        image_index: (n,) the image of each box.
        margin: Gain in mean best IoU from which to change.
        held_out: Whether the boxes are others than those the anchors were fitted to.
        seed: Of the bootstrap.
    """
    return judge_sets(
        [(anchors_wh_px, default)],
        boxes_wh_px,
        image_index,
        margin=margin,
        held_out=held_out,
        seed=seed,
    )[0]


def judge_sets(
    pairs: Sequence[tuple[NDArray[np.float64], AnchorPreset]],
    boxes_wh_px: NDArray[np.float64],
    image_index: NDArray[np.integer],
    *,
    margin: float = IOU_MARGIN,
    held_out: bool = False,
    seed: int = 0,
) -> tuple[Verdict, ...]:
    """Say of several sets of anchors whether they beat published ones by enough to change.

    Args:
        pairs: Anchors (k, 2) in pixels at the user's input, and what a framework ships.
        boxes_wh_px: (n, 2), pixels at the user's input, n >= 1.
        image_index: (n,) the image of each box.
        margin: Gain in mean best IoU from which to change.
        held_out: Whether the boxes are others than those the anchors were fitted to.
        seed: Of the bootstrap.
    """

    def score(pair: tuple[NDArray[np.float64], AnchorPreset]) -> _Comparison:
        anchors, default = pair
        return _Comparison.of(checked_anchors(anchors), default, boxes_wh_px)

    comparisons = map_in_threads(score, pairs)
    # The same draws of images for all: they take longer than the scores.
    intervals = bootstrap_means(
        [gain for one in comparisons for gain in (one.iou_gain, one.recall_gain)],
        image_index,
        np.random.default_rng(seed),
    )
    return tuple(
        _verdict_of(one, iou_interval, recall_interval, margin, held_out=held_out)
        for one, iou_interval, recall_interval in zip(
            comparisons, intervals[::2], intervals[1::2], strict=True
        )
    )


@dataclass(frozen=True)
class _Comparison:
    """Two sets of anchors on the same boxes."""

    default: AnchorPreset
    num_fitted: int
    iou_default: float
    iou_fitted: float
    recall_default: float
    recall_fitted: float
    iou_gain: NDArray[np.float64]
    """(n,) of each box."""

    recall_gain: NDArray[np.float64]
    """(n,) 1 where only the fitted anchors are near, -1 where only the default ones are."""

    @staticmethod
    def of(
        anchors: NDArray[np.float64], default: AnchorPreset, boxes_wh_px: NDArray[np.float64]
    ) -> _Comparison:
        both = anchors, default.anchors_wh_px
        iou_fitted, iou_default = (best_iou(boxes_wh_px, one) for one in both)
        is_near, default_is_near = (is_within_ratio(boxes_wh_px, one) for one in both)
        return _Comparison(
            default=default,
            num_fitted=len(anchors),
            iou_default=mean_of_scores(iou_default),
            iou_fitted=mean_of_scores(iou_fitted),
            recall_default=float(default_is_near.mean()),
            recall_fitted=float(is_near.mean()),
            iou_gain=iou_fitted - iou_default,
            recall_gain=is_near.astype(np.float64) - default_is_near,
        )


def _verdict_of(
    one: _Comparison,
    interval: Interval | None,
    recall_interval: Interval | None,
    margin: float,
    *,
    held_out: bool,
) -> Verdict:
    default = one.default
    gain = one.iou_fitted - one.iou_default
    recall_gain = one.recall_fitted - one.recall_default
    keep, headline = _headline(one, interval, recall_interval, margin)
    recall = f"{rounded_down(one.recall_fitted, 4)} and {rounded_down(one.recall_default, 4)}"
    if recall_gain:
        recall += f" ({_in_points(recall_gain, recall_interval)})"
    where = "boxes they were not fitted to" if held_out else "these boxes"
    sentences = [
        headline,
        f"On {where} the mean best IoU is {one.iou_fitted:.3f}, with {default.name} "
        f"{one.iou_default:.3f} ({_in_points(gain, interval)}); the best possible recall is "
        f"{recall}.",
    ]
    if one.num_fitted != len(default.anchors_wh_px):
        are = "is" if one.num_fitted == 1 else "are"
        sentences.append(
            f"Mind that {counted(one.num_fitted, 'anchor')} {are} compared with "
            f"{len(default.anchors_wh_px)}."
        )
    if not keep and recall_gain < 0:
        sentences.append(
            "Raise the recall first: fit more anchors, or the same number with `tinysight boxes "
            "anchors --recall-weight 1`, and compare again."
        )
    if not keep:
        sentences.append(
            "A higher IoU is no promise of a higher mAP: put each anchor on the level of its size "
            "and train both before you decide."
        )
    return Verdict(
        default=default.name,
        keep_default=keep,
        iou_default=one.iou_default,
        iou_fitted=one.iou_fitted,
        recall_default=one.recall_default,
        recall_fitted=one.recall_fitted,
        gain_interval=interval,
        recall_interval=recall_interval,
        margin=margin,
        text=" ".join(sentences),
    )


def _headline(
    one: _Comparison, interval: Interval | None, recall_interval: Interval | None, margin: float
) -> tuple[bool, str]:
    """Return whether to keep the default, and the sentence that says so."""
    name = one.default.name
    if interval is None or recall_interval is None:
        return True, f"Whether to keep the {name} anchors cannot be told: one image is too few."
    iou_gain = one.iou_fitted - one.iou_default
    recall_gain = one.recall_fitted - one.recall_default
    keep, why = _decide(iou_gain, recall_gain, interval, recall_interval, margin)
    if keep:
        return True, f"Keep the {name} anchors: {why}."
    return False, _change(why, recall_gain, len(one.recall_gain))


def _change(why: str, recall_gain: float, num_boxes: int) -> str:
    """Return the sentence that speaks for a change, with what it costs in recall."""
    if recall_gain >= 0:
        return f"Change the anchors: {why}."
    num_lost = round(-recall_gain * num_boxes)
    cost = (
        f"{num_lost:,} more of the {counted(num_boxes, 'box', 'boxes')} would be left without an "
        f"anchor near {'its' if num_lost == 1 else 'their'} shape"
    )
    if recall_gain <= -RECALL_MARGIN:
        return f"Change the anchors, but not to these as they are: {why}, yet {cost}."
    return f"Change the anchors: {why}, though {cost}."


def _in_points(gain: float, interval: Interval | None) -> str:
    """Return a gain in percentage points with how sure it is."""
    if interval is None:
        return f"{100 * gain:+.1f} points; one image has no interval"
    low, high = (100 * end for end in interval)
    return f"{100 * gain:+.1f} points; 95 % interval {low:+.1f} to {high:+.1f}"


def closest_default(
    k: int, boxes_wh_px: NDArray[np.float64], input_size_wh: tuple[int, int]
) -> AnchorPreset:
    """Return the published anchors to compare ``k`` anchors with.

    They are those whose number is nearest to ``k``, among them those that fit the boxes best, and
    among equals those published for the most similar input.

    Args:
        k: Number of anchors.
        boxes_wh_px: (n, 2), pixels at the user's input.
        input_size_wh: The user's input, pixels.
    """
    nearest = min(abs(len(preset.anchors_wh_px) - k) for preset in PRESETS.values())
    candidates = [
        preset for preset in PRESETS.values() if abs(len(preset.anchors_wh_px) - k) == nearest
    ]

    def rank(preset: AnchorPreset) -> tuple[float, int]:
        off_px = abs(preset.input_size_wh[0] - input_size_wh[0])
        return mean_best_iou(boxes_wh_px, preset.anchors_wh_px), -off_px

    return max(candidates, key=rank)


@dataclass(frozen=True)
class PresetScore:
    """Published anchors on some boxes: as they are at the user's input, and at their own."""

    name: str
    framework: str
    k: int
    mean_best_iou: float
    """At the user's input, anchors in the pixels they were published in."""

    best_possible_recall: float
    own_mean_best_iou: float
    """At the input that they were published for."""

    own_best_possible_recall: float
    input_size_wh: tuple[int, int]
    """The input that they were published for, pixels."""

    fit: str
    source: str


def score_presets(
    table: BoxTable,
    sizes_wh_px: NDArray[np.float64],
    presets: Sequence[AnchorPreset] | None = None,
) -> tuple[PresetScore, ...]:
    """Score published anchors on a table of boxes, the best mean IoU at the user's input first.

    Args:
        table: The boxes.
        sizes_wh_px: (n, 2) their sizes at the user's input without crowd boxes, as
            ``geometry.sizes_at_input`` returns them.
        presets: Which; all of them when not given.
    """
    at_input: dict[tuple[tuple[int, int], Fit], list[AnchorPreset]] = {}
    for preset in PRESETS.values() if presets is None else presets:
        at_input.setdefault((preset.input_size_wh, preset.fit), []).append(preset)
    # In turn, so that the sizes at one input only are in memory.
    scores: list[PresetScore] = []
    for group in at_input.values():
        own_wh_px = sizes_at_preset(table, group[0])
        is_same = np.array_equal(own_wh_px, sizes_wh_px)
        scores += map_in_threads(
            partial(_score_preset, sizes_wh_px, None if is_same else own_wh_px), group
        )
    return tuple(sorted(scores, key=lambda score: (-score.mean_best_iou, score.name)))


def _score_preset(
    sizes_wh_px: NDArray[np.float64], own_wh_px: NDArray[np.float64] | None, preset: AnchorPreset
) -> PresetScore:
    """Score a preset on the sizes at the user's input and on those at its own, if these differ."""
    anchors = preset.anchors_wh_px
    here = mean_best_iou(sizes_wh_px, anchors), best_possible_recall(sizes_wh_px, anchors)
    own = here
    if own_wh_px is not None:
        own = mean_best_iou(own_wh_px, anchors), best_possible_recall(own_wh_px, anchors)
    return PresetScore(
        name=preset.name,
        framework=preset.framework,
        k=len(anchors),
        mean_best_iou=here[0],
        best_possible_recall=here[1],
        own_mean_best_iou=own[0],
        own_best_possible_recall=own[1],
        input_size_wh=preset.input_size_wh,
        fit=preset.fit,
        source=preset.source,
    )


def _decide(
    iou_gain: float,
    recall_gain: float,
    interval: Interval,
    recall_interval: Interval,
    margin: float,
) -> tuple[bool, str]:
    """Return whether to keep the default, and the reason as half a sentence."""
    asked = f"the {100 * margin:g} points that make a change worth its cost"
    # In a small set one box is more than the margin: it must be more than chance, too.
    if recall_gain <= -RECALL_MARGIN and recall_interval[1] < 0:
        return True, (
            f"others would leave {100 * -recall_gain:.1f} % more of the boxes without an anchor "
            f"near their shape"
        )
    least = min(iou_gain, interval[0])
    if least >= margin and least > 0:
        return False, f"the mean best IoU rises by {100 * iou_gain:.1f} points, more than {asked}"
    if recall_gain >= RECALL_MARGIN and recall_interval[0] > 0 and iou_gain >= 0:
        return False, (
            f"{100 * recall_gain:.1f} % more of the boxes get an anchor near their shape, and "
            f"the mean best IoU does not fall"
        )
    if iou_gain <= 0:
        return True, "the others do not fit better"
    if iou_gain >= margin:
        return True, (
            f"the gain of {100 * iou_gain:.1f} points is above {asked}, but too uncertain with "
            f"this few images"
        )
    return True, f"the gain of {100 * iou_gain:.1f} points is below {asked}"
