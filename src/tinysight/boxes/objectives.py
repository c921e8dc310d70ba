"""What anchors are fitted for: a score of every box with every anchor, and where it stands still.

An objective scores a box and an anchor in [0, 1]; the value of a set of anchors is the weighted
mean over boxes of the score with the best anchor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import RECALL_RATIO, pairwise_iou, pairwise_ratio

Floats = NDArray[np.float64]


class Objective(Protocol):
    """A score of box sizes with anchors that depends on the quotients of their sides alone."""

    def scores(self, boxes_wh: Floats, anchors_wh: Floats) -> Floats:
        """Return the score of every box with every anchor, (n, k)."""
        ...

    def pulls(self, boxes_wh: Floats, anchor_wh: Floats, axis: int) -> tuple[Floats, Floats]:
        """Return by how much each box pulls one side of its anchor up and down.

        They are d score / d log(side), without its sign, as it is where the box's side is larger
        (up) and where it is smaller (down) than the anchor's. Each is (n,).
        """
        ...

    def most_growth(self, distance_ln: float) -> float:
        """Return the factor by which a score can grow when each side changes by exp(distance)."""
        ...


@dataclass(frozen=True)
class MeanIoU:
    """IoU, plus a bonus for boxes that some anchor matches within the ratio of training.

    With ``recall_weight`` 0 the value is the mean best IoU.
    """

    recall_weight: float = 0.0
    """Lambda in IoU + lambda * [no side differs by the factor 4 or more]."""

    def scores(self, boxes_wh: Floats, anchors_wh: Floats) -> Floats:
        """Return IoU + lambda * [ratio within 4], scaled to [0, 1], (n, k)."""
        iou = pairwise_iou(boxes_wh, anchors_wh)
        if not self.recall_weight:
            return iou
        matched = pairwise_ratio(boxes_wh, anchors_wh) > 1 / RECALL_RATIO
        return (iou + self.recall_weight * matched) / (1 + self.recall_weight)

    def pulls(self, boxes_wh: Floats, anchor_wh: Floats, axis: int) -> tuple[Floats, Floats]:
        """Return I * S_box / U**2 and I * S_anchor / U**2; the bonus has no derivative."""
        intersection = np.minimum(boxes_wh, anchor_wh).prod(axis=1)
        box_area, anchor_area = boxes_wh[:, 0] * boxes_wh[:, 1], anchor_wh[0] * anchor_wh[1]
        union = box_area + anchor_area - intersection
        iou = intersection / union
        return iou * (box_area / union), iou * (anchor_area / union)

    def most_growth(self, distance_ln: float) -> float:
        """Return exp(2 * distance): log IoU has slope 1 along each axis; the bonus may jump."""
        return np.inf if self.recall_weight else float(np.exp(2 * distance_ln))


@dataclass(frozen=True)
class RatioFitness:
    """The ratio of the worse side where it is within the factor, else 0: yolov5's fitness."""

    ratio: float = RECALL_RATIO

    def scores(self, boxes_wh: Floats, anchors_wh: Floats) -> Floats:
        """Return min(w/a, a/w, h/b, b/h) where above 1 / ratio, else 0, (n, k)."""
        ratios = pairwise_ratio(boxes_wh, anchors_wh)
        return np.where(ratios > 1 / self.ratio, ratios, 0.0)

    def pulls(self, boxes_wh: Floats, anchor_wh: Floats, axis: int) -> tuple[Floats, Floats]:
        """Return the score where this side is the worse one, else 0, up and down alike."""
        sides = np.minimum(boxes_wh / anchor_wh, anchor_wh / boxes_wh)
        score = sides.min(axis=1)
        pull = np.where((sides[:, axis] <= score) & (score > 1 / self.ratio), score, 0.0)
        return pull, pull

    def most_growth(self, distance_ln: float) -> float:
        """Return infinity: the score jumps from 0 to 1 / ratio."""
        return np.inf
