"""Which level of a detector gets which anchors, and which boxes each level would then learn.

A detector predicts small objects on fine levels (stride 8) and large ones on coarse levels (stride
32). Better anchors on the wrong levels make a detector worse: users of darknet lost several points
of mAP that way (AlexeyAB/darknet issues 2960 and 3860). So the assignment is shown, not implied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.boxes.quality import GroupQuality, checked_anchors, match_anchors
from tinysight.errors import DataError
from tinysight.numerals import counted, percent

Rule = Literal["equal", "size"]
"""``equal``: the same number of anchors on every level, by area, as yolov5, v7 and mmdetection
need. ``size``: each anchor where its size belongs, as darknet's masks allow."""

RULES: tuple[Rule, ...] = ("equal", "size")

STRIDES_PX = (8, 16, 32)

SIDE_PER_STRIDE = 3.75
"""A level holds anchors whose mean side is below this many strides: 30 px at 8, 60 px at 16.

From darknet's README: anchors below 30x30 on the first [yolo] layer, below 60x60 on the second.
"""

MOST_CELLS = 12.0
"""Cells that the mean side of an anchor may span where there is a coarser level; of the published
anchors none spans more than 11.3."""

FEW_BOXES = 0.02
"""Share of the boxes below which a level is said to have few."""


@dataclass(frozen=True)
class Level:
    """One level of a detector with its anchors."""

    stride_px: int
    anchors_wh_px: NDArray[np.float64]
    """(a, 2) ascending area; a = 0 on an empty level."""

    coverage: LevelCoverage | None = None


@dataclass(frozen=True)
class LevelCoverage:
    """What a level would learn: the boxes whose best anchor is on it."""

    boxes: int
    share: float
    """Of all boxes."""

    mean_best_iou: float | None
    """Over those boxes; None without any."""

    best_possible_recall: float | None
    """Over those boxes; None without any."""

    boxes_by_size: int
    """Boxes whose own size belongs on this level by the rule ``size``."""


@dataclass(frozen=True)
class StrideAssignment:
    """Anchors on the levels of a detector, finest level first."""

    levels: tuple[Level, ...]
    warnings: tuple[str, ...]
    """What a user should look at, in full sentences; empty when nothing."""

    @property
    def anchors_wh_px(self) -> NDArray[np.float64]:
        """All anchors, level by level, (k, 2)."""
        return np.concatenate([level.anchors_wh_px for level in self.levels])

    @property
    def masks(self) -> tuple[tuple[int, ...], ...]:
        """For each level the rows of ``anchors_wh_px`` on it, as darknet's masks."""
        masks, start = [], 0
        for level in self.levels:
            stop = start + len(level.anchors_wh_px)
            masks.append(tuple(range(start, stop)))
            start = stop
        return tuple(masks)


def assign_strides(
    anchors_wh_px: ArrayLike,
    strides_px: Sequence[int] = STRIDES_PX,
    *,
    rule: Rule = "equal",
    boxes_wh_px: ArrayLike | None = None,
) -> StrideAssignment:
    """Put anchors on the levels of a detector and say what each level would learn.

    Args:
        anchors_wh_px: (k, 2), pixels at the input.
        strides_px: Stride of each level, finest first, ascending, pixels at the input.
        rule: How anchors are divided, see :data:`Rule`.
        boxes_wh_px: (n, 2) box sizes at the same input; without them there is no coverage.

    Returns:
        Every anchor on one level, small ones on fine levels.

    Raises:
        DataError: The strides are not ascending, or ``equal`` and the anchors cannot be divided.
    """
    anchors = checked_anchors(anchors_wh_px)
    anchors = anchors[np.argsort(anchors.prod(axis=1), kind="stable")]
    strides = _checked_strides(strides_px)
    if rule not in RULES:
        raise DataError(f"`rule` must be one of {', '.join(RULES)}, got {rule!r}.")
    if rule == "equal":
        if len(anchors) % len(strides):
            raise DataError(
                f"{counted(len(anchors), 'anchor')} cannot be divided evenly over {len(strides)} "
                f"levels (strides {_listed(strides)}). Fit a multiple of {len(strides)}, name "
                f"other strides, or divide by size (darknet only)."
            )
        owner = np.arange(len(anchors)) // (len(anchors) // len(strides))
    else:
        owner = level_by_size(anchors, strides)
    levels = tuple(Level(stride, anchors[owner == index]) for index, stride in enumerate(strides))
    return _described(levels, boxes_wh_px)


def group_levels(
    levels_wh_px: Sequence[ArrayLike],
    strides_px: Sequence[int],
    *,
    boxes_wh_px: ArrayLike | None = None,
) -> StrideAssignment:
    """Take anchors that already are on levels, as a preset's are, and check their order.

    Args:
        levels_wh_px: For each level (a, 2), pixels at the input; a level may be empty, not all.
        strides_px: Stride of each level, finest first.
        boxes_wh_px: (n, 2) box sizes at the same input; without them there is no coverage.

    Raises:
        DataError: The numbers differ, the strides are not ascending, or there is no anchor.
    """
    strides = _checked_strides(strides_px)
    if len(levels_wh_px) != len(strides):
        raise DataError(
            f"{counted(len(levels_wh_px), 'level')} of anchors must have one stride each, got "
            f"{len(strides)} ({_listed(strides)}). Name one stride for each level."
        )
    arrays = [np.asarray(anchors, dtype=np.float64).reshape(-1, 2) for anchors in levels_wh_px]
    checked_anchors(np.concatenate(arrays))
    levels = []
    for stride, anchors in zip(strides, arrays, strict=True):
        levels.append(Level(stride, anchors[np.argsort(anchors.prod(axis=1), kind="stable")]))
    return _described(tuple(levels), boxes_wh_px)


def level_by_size(wh_px: NDArray[np.float64], strides_px: Sequence[int]) -> NDArray[np.intp]:
    """Return for each size, (n, 2), the index of the level that it belongs on by darknet's rule."""
    limits_px = SIDE_PER_STRIDE * np.asarray(strides_px[:-1], dtype=np.float64)
    return np.asarray(np.searchsorted(limits_px, np.sqrt(wh_px.prod(axis=1)), side="right"))


def too_large_anchors(level: Level) -> NDArray[np.float64]:
    """Return the anchors that are too large for a level, (a, 2), if it is not the coarsest."""
    sides_px = np.sqrt(level.anchors_wh_px.prod(axis=1))
    return np.asarray(level.anchors_wh_px[sides_px > MOST_CELLS * level.stride_px])


def _described(levels: tuple[Level, ...], boxes_wh_px: ArrayLike | None) -> StrideAssignment:
    warnings = list(_warnings_of_anchors(levels))
    if boxes_wh_px is None:
        return StrideAssignment(levels, tuple(warnings))
    boxes = np.asarray(boxes_wh_px, dtype=np.float64).reshape(-1, 2)
    matches = match_anchors(boxes, np.concatenate([level.anchors_wh_px for level in levels]))
    owner = np.repeat(np.arange(len(levels)), [len(level.anchors_wh_px) for level in levels])
    of_box = owner[matches.anchor]
    by_size = level_by_size(boxes, [level.stride_px for level in levels])
    covered = []
    for index, level in enumerate(levels):
        group = GroupQuality.of(str(level.stride_px), matches, of_box == index)
        coverage = LevelCoverage(
            boxes=group.boxes,
            share=group.boxes / len(boxes) if len(boxes) else 0.0,
            mean_best_iou=group.mean_best_iou,
            best_possible_recall=group.best_possible_recall,
            boxes_by_size=int(np.count_nonzero(by_size == index)),
        )
        covered.append(Level(level.stride_px, level.anchors_wh_px, coverage))
        warnings += _warnings_of_coverage(level, coverage, len(boxes))
    finest_px = levels[0].stride_px
    num_tiny = int(np.count_nonzero((boxes < finest_px).all(axis=1)))
    if num_tiny > FEW_BOXES * len(boxes):
        share = percent(num_tiny / len(boxes), 0)
        warnings.append(
            f"{num_tiny:,} of {counted(len(boxes), 'box', 'boxes')} ({share}) "
            f"{'is' if num_tiny == 1 else 'are'} smaller than one cell of the "
            f"finest level ({finest_px} px) in both sides: several may fall into one cell. Use a "
            f"larger input or a finer level."
        )
    return StrideAssignment(tuple(covered), tuple(warnings))


def _warnings_of_anchors(levels: Sequence[Level]) -> list[str]:
    warnings = []
    filled = [level for level in levels if len(level.anchors_wh_px)]
    for level in levels:
        if not len(level.anchors_wh_px):
            warnings.append(
                f"The level of stride {level.stride_px} has no anchor and would learn nothing. "
                f"Use equal groups, other strides, or a detector with fewer levels."
            )
    for fine, coarse in pairwise(filled):
        if _mean_area(fine) > _mean_area(coarse):
            warnings.append(
                f"The anchors of stride {fine.stride_px} are larger than those of stride "
                f"{coarse.stride_px}: their order is reversed. Small anchors belong on the "
                f"finer level."
            )
    for level in levels[:-1]:
        too_large = [
            f"{width:.0f} x {height:.0f}" for width, height in too_large_anchors(level).tolist()
        ]
        if too_large:
            warnings.append(
                f"On the level of stride {level.stride_px} an anchor should span at most "
                f"{MOST_CELLS:.0f} cells ({MOST_CELLS * level.stride_px:.0f} px), got "
                f"{', '.join(too_large)}: so fine a level sees too little of the image for it. "
                f"Use a smaller input or coarser strides."
            )
    return warnings


def _warnings_of_coverage(level: Level, coverage: LevelCoverage, num_boxes: int) -> list[str]:
    if not len(level.anchors_wh_px) or not num_boxes:
        return []
    if not coverage.boxes:
        return [
            f"No box has its best anchor on the level of stride {level.stride_px}: it would learn "
            f"nothing. Use fewer levels or fit the anchors again."
        ]
    if coverage.share < FEW_BOXES:
        have_their = "has its" if coverage.boxes == 1 else "have their"
        return [
            f"Only {coverage.boxes:,} of {num_boxes:,} boxes ({percent(coverage.share)}) "
            f"{have_their} best anchor on the level of stride {level.stride_px}: it would learn "
            f"from few."
        ]
    return []


def _mean_area(level: Level) -> float:
    return float(level.anchors_wh_px.prod(axis=1).mean())


def _checked_strides(strides_px: Sequence[int]) -> tuple[int, ...]:
    strides = tuple(strides_px)
    if not strides or strides[0] < 1 or any(b <= a for a, b in pairwise(strides)):
        raise DataError(
            f"`strides` must be whole pixels from 1 up, each larger than the one before, got "
            f"{_listed(strides) or 'none'}. Example: 8, 16, 32."
        )
    return strides


def _listed(strides: Sequence[int]) -> str:
    return ", ".join(str(stride) for stride in strides)
