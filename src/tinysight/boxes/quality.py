"""How well a set of anchors fits a set of boxes: over all, by class, by size, by anchor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysight.boxes.distributions import SIZE_NAMES, size_class
from tinysight.boxes.geometry import (
    RECALL_RATIO,
    mean_of_scores,
    pairwise_iou,
    pairwise_ratio,
)
from tinysight.errors import DataError

if TYPE_CHECKING:
    from tinysight.boxes.table import BoxTable

HALF = 0.5
"""The overlap that detectors and their scores ask for most often."""

_CHUNK_SCORES = 2**20  # (box, anchor) pairs scored at a time


@dataclass(frozen=True)
class GroupQuality:
    """How well the anchors fit one group of boxes; the figures are None where it has no box."""

    name: str
    boxes: int
    mean_best_iou: float | None
    """Mean over boxes of the IoU with the best anchor, both centred on one point."""

    best_possible_recall: float | None
    """Share of boxes of which no side differs from some anchor's by the factor 4 or more."""

    over_half: float | None
    """Share of boxes with an IoU above 0.5."""

    @classmethod
    def of(
        cls,
        name: str,
        matches: BestMatches,
        rows: NDArray[np.intp] | NDArray[np.bool_] | slice = slice(None),
    ) -> GroupQuality:
        """Sum up the matches of some boxes."""
        iou, ratio = matches.iou[rows], matches.ratio[rows]
        if not len(iou):
            return cls(name, 0, None, None, None)
        return cls(
            name=name,
            boxes=len(iou),
            mean_best_iou=mean_of_scores(iou),
            best_possible_recall=float(np.count_nonzero(ratio > 1 / RECALL_RATIO) / len(iou)),
            over_half=float(np.count_nonzero(iou > HALF) / len(iou)),
        )


@dataclass(frozen=True)
class RatioQuality:
    """The figures that yolov5 prints of a set of anchors, over the ratio of the worse side."""

    anchors_past_threshold: float
    """Mean number of anchors within the factor 4 of a box."""

    mean_ratio: float
    """Mean over boxes and anchors ("metric_all mean")."""

    mean_best_ratio: float
    """Mean over boxes of the best anchor's ("metric_all best")."""

    mean_past_ratio: float
    """Mean over the pairs that are within the factor ("past_thr mean"); 0 without any."""


@dataclass(frozen=True)
class AnchorQuality:
    """How well a set of anchors fits a set of boxes."""

    anchors_wh_px: NDArray[np.float64]
    """(k, 2) as given."""

    overall: GroupQuality
    ratios: RatioQuality
    by_class: tuple[GroupQuality, ...]
    by_size: tuple[GroupQuality, ...]
    """Small, medium and large by COCO's limits, pixels of the source image."""

    by_anchor: tuple[GroupQuality, ...]
    """For each anchor the boxes that it fits best; a tie goes to the first."""

    @property
    def mean_best_iou(self) -> float:
        """Mean over boxes of the IoU with the best anchor; 0 without boxes."""
        return self.overall.mean_best_iou or 0.0

    @property
    def best_possible_recall(self) -> float:
        """Share of boxes within the factor 4 of some anchor; 0 without boxes."""
        return self.overall.best_possible_recall or 0.0

    @property
    def over_half(self) -> float:
        """Share of boxes with an IoU above 0.5; 0 without boxes."""
        return self.overall.over_half or 0.0


@dataclass(frozen=True)
class BestMatches:
    """Each box with its best anchor, by IoU and by the ratio of the worse side."""

    anchor: NDArray[np.intp]
    """(n,) the anchor with the largest IoU, the first of equals."""

    iou: NDArray[np.float64]
    """(n,) its IoU."""

    ratio: NDArray[np.float64]
    """(n,) the largest ratio over the anchors, in (0, 1]."""

    ratios: RatioQuality


def match_anchors(boxes_wh: ArrayLike, anchors_wh: ArrayLike) -> BestMatches:
    """Score every box with every anchor and keep the best.

    Args:
        boxes_wh: (n, 2), > 0, any unit.
        anchors_wh: (k, 2), > 0, the same unit.

    Raises:
        DataError: There are no anchors, or a side of one is not above 0.
    """
    boxes = np.asarray(boxes_wh, dtype=np.float64).reshape(-1, 2)
    anchors = checked_anchors(anchors_wh)
    anchor = np.empty(len(boxes), dtype=np.intp)
    iou, ratio = np.empty(len(boxes)), np.empty(len(boxes))
    means, past, past_means = np.empty(len(boxes)), 0, []
    rows = max(1, _CHUNK_SCORES // len(anchors))
    for start in range(0, len(boxes), rows):
        part = slice(start, start + rows)
        overlaps = pairwise_iou(boxes[part], anchors)
        anchor[part] = overlaps.argmax(axis=1)
        iou[part] = overlaps.max(axis=1)
        closeness = pairwise_ratio(boxes[part], anchors)
        ratio[part] = closeness.max(axis=1)
        means[part] = closeness.mean(axis=1)
        within = closeness[closeness > 1 / RECALL_RATIO]
        past += len(within)
        past_means.append((mean_of_scores(within), len(within)))
    ratios = RatioQuality(
        anchors_past_threshold=past / len(boxes) if len(boxes) else 0.0,
        mean_ratio=mean_of_scores(means),
        mean_best_ratio=mean_of_scores(ratio),
        mean_past_ratio=sum(mean * count for mean, count in past_means) / past if past else 0.0,
    )
    return BestMatches(anchor, iou, ratio, ratios)


def score_anchors(
    table: BoxTable, sizes_wh_px: NDArray[np.float64], anchors_wh_px: ArrayLike
) -> AnchorQuality:
    """Say how well anchors fit the boxes of a table; crowd boxes are left out.

    Args:
        table: The boxes, for their classes and their sizes in the source images.
        sizes_wh_px: (n, 2) sizes of the boxes that are not crowd regions, as
            ``geometry.sizes_at_input`` returns them.
        anchors_wh_px: (k, 2), pixels at the same input.

    Raises:
        DataError: There are no anchors, or a side of one is not above 0.
    """
    kept = ~table.is_crowd
    matches = match_anchors(sizes_wh_px, anchors_wh_px)
    anchors = checked_anchors(anchors_wh_px)
    owner = table.class_index[kept]
    source_size = size_class(table.wh_px[kept].prod(axis=1))
    names = [f"{width:g} x {height:g}" for width, height in anchors.round(2).tolist()]
    return AnchorQuality(
        anchors_wh_px=anchors,
        overall=GroupQuality.of("all", matches),
        ratios=matches.ratios,
        by_class=tuple(_groups(table.class_names, matches, owner)),
        by_size=tuple(_groups(SIZE_NAMES, matches, source_size)),
        by_anchor=tuple(_groups(names, matches, matches.anchor)),
    )


def checked_anchors(anchors_wh: ArrayLike) -> NDArray[np.float64]:
    """Return anchors as (k, 2) float64.

    Raises:
        DataError: There are none, or a side is not finite and above 0.
    """
    anchors = np.asarray(anchors_wh, dtype=np.float64)
    if anchors.ndim != 2 or anchors.shape[1:] != (2,) or not len(anchors):
        raise DataError(
            f"`anchors` must be one or more pairs of width and height, got an array of shape "
            f"{anchors.shape}. Give them as [[width, height], …]."
        )
    wrong = ~((anchors > 0) & np.isfinite(anchors)).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        width, height = anchors[row].tolist()
        raise DataError(
            f"anchors[{row}]: width and height must be finite and > 0 pixels, got "
            f"{width:g} x {height:g}. Take it out or mend it."
        )
    return anchors


def _groups(
    names: Sequence[str], matches: BestMatches, owner: NDArray[np.integer]
) -> Iterator[GroupQuality]:
    # One sort instead of a pass over all boxes for each of, say, 1,203 classes.
    order = np.argsort(owner, kind="stable")
    ends = np.searchsorted(owner[order], np.arange(len(names) + 1))
    for index, name in enumerate(names):
        yield GroupQuality.of(name, matches, order[ends[index] : ends[index + 1]])
