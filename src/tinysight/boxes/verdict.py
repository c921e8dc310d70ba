"""Is it worth changing the anchors? In plain English, with the margin that decides.

New anchors cost something: published weights no longer fit the layers that predict boxes, and users
have seen the mAP fall although the mean IoU rose (pjreddie/darknet issue 1033, AlexeyAB/darknet
issue 2960). So the published anchors stay unless the gain is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import best_possible_recall, mean_best_iou
from tinysight.boxes.held_out import Interval, bootstrap_gain, bootstrap_recall_gain
from tinysight.boxes.presets import PRESETS, AnchorPreset, sizes_at_preset
from tinysight.boxes.quality import checked_anchors
from tinysight.boxes.threads import map_in_threads

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
    gain_interval: Interval
    """95 % bootstrap interval over images of the gain in mean best IoU."""

    margin: float
    """Gain in mean best IoU that was asked for."""

    text: str
    """The verdict in plain English."""

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
    anchors = checked_anchors(anchors_wh_px)
    iou_default = mean_best_iou(boxes_wh_px, default.anchors_wh_px)
    iou_fitted = mean_best_iou(boxes_wh_px, anchors)
    recall_default = best_possible_recall(boxes_wh_px, default.anchors_wh_px)
    recall_fitted = best_possible_recall(boxes_wh_px, anchors)
    interval = bootstrap_gain(anchors, default.anchors_wh_px, boxes_wh_px, image_index, seed=seed)
    recall_interval = bootstrap_recall_gain(
        anchors, default.anchors_wh_px, boxes_wh_px, image_index, seed=seed
    )
    gains = iou_fitted - iou_default, recall_fitted - recall_default
    keep, why = _decide(*gains, interval, recall_interval, margin)
    where = "boxes they were not fitted to" if held_out else "these boxes"
    points = 100 * (iou_fitted - iou_default)
    sentences = [
        f"Keep the {default.name} anchors: {why}." if keep else f"Change the anchors: {why}.",
        f"On {where} the mean best IoU is {iou_fitted:.3f}, with {default.name} {iou_default:.3f} "
        f"({points:+.1f} points; 95 % interval {100 * interval[0]:+.1f} to "
        f"{100 * interval[1]:+.1f}); the best possible recall is {recall_fitted:.4f} and "
        f"{recall_default:.4f}.",
    ]
    if len(anchors) != len(default.anchors_wh_px):
        sentences.append(
            f"Mind that {len(anchors)} anchors are compared with {len(default.anchors_wh_px)}."
        )
    if not keep:
        sentences.append(
            "A higher IoU is no promise of a higher mAP: put each anchor on the level of its size "
            "and train both before you decide."
        )
    return Verdict(
        default=default.name,
        keep_default=keep,
        iou_default=iou_default,
        iou_fitted=iou_fitted,
        recall_default=recall_default,
        recall_fitted=recall_fitted,
        gain_interval=interval,
        margin=margin,
        text=" ".join(sentences),
    )


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

    def score(preset: AnchorPreset) -> PresetScore:
        anchors, own = preset.anchors_wh_px, sizes_at_preset(table, preset)
        return PresetScore(
            name=preset.name,
            framework=preset.framework,
            k=len(anchors),
            mean_best_iou=mean_best_iou(sizes_wh_px, anchors),
            best_possible_recall=best_possible_recall(sizes_wh_px, anchors),
            own_mean_best_iou=mean_best_iou(own, anchors),
            own_best_possible_recall=best_possible_recall(own, anchors),
            input_size_wh=preset.input_size_wh,
            fit=preset.fit,
            source=preset.source,
        )

    scores = map_in_threads(score, PRESETS.values() if presets is None else presets)
    return tuple(sorted(scores, key=lambda score: (-score.mean_best_iou, score.name)))


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
    if iou_gain >= margin and interval[0] >= margin:
        return False, f"the mean best IoU rises by {100 * iou_gain:.1f} points, more than {asked}"
    if recall_gain >= RECALL_MARGIN and recall_interval[0] > 0 and iou_gain >= 0:
        return False, (
            f"{100 * recall_gain:.1f} % more of the boxes get an anchor near their shape, and "
            f"the mean best IoU does not fall"
        )
    if iou_gain >= margin:
        return True, (
            f"the gain of {100 * iou_gain:.1f} points is above {asked}, but too uncertain with "
            f"this few images"
        )
    if iou_gain <= 0:
        return True, "the others do not fit better"
    return True, f"the gain of {100 * iou_gain:.1f} points is below {asked}"
