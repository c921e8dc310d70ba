from __future__ import annotations

import numpy as np
import pytest

from tests.boxes.sizes_of_boxes import drawn_sizes
from tinysight.boxes.geometry import pairwise_iou
from tinysight.boxes.objectives import MeanIoU, RatioFitness


@pytest.mark.parametrize("objective", [MeanIoU(), RatioFitness()])
@pytest.mark.parametrize("axis", [0, 1])
def test_pulls_are_the_derivatives_of_the_score(
    objective: MeanIoU | RatioFitness, axis: int
) -> None:
    boxes, anchor, step = drawn_sizes(200, spread=0.4), np.array([55.0, 60.0]), 1e-6
    up, down = objective.pulls(boxes, anchor, axis)
    longer = anchor * np.where(np.arange(2) == axis, np.exp(step), 1.0)
    difference = objective.scores(boxes, longer[None]) - objective.scores(boxes, anchor[None])
    expected = np.where(boxes[:, axis] > anchor[axis], up, -down)
    np.testing.assert_allclose(difference[:, 0] / step, expected, atol=1e-5)


def test_the_bonus_is_added_where_no_side_differs_by_4_and_the_score_stays_in_0_to_1() -> None:
    boxes, anchors = np.array([[10.0, 10.0], [10.0, 80.0]]), np.array([[10.0, 20.0]])
    scores = MeanIoU(recall_weight=0.5).scores(boxes, anchors)
    iou = pairwise_iou(boxes, anchors)
    assert scores.ravel().tolist() == [(iou[0, 0] + 0.5) / 1.5, iou[1, 0] / 1.5]


def test_ratio_fitness_is_zero_from_the_factor_on() -> None:
    scores = RatioFitness().scores(np.array([[40.0, 10.0], [30.0, 10.0]]), np.array([[10.0, 10.0]]))
    assert scores.ravel().tolist() == [0.0, pytest.approx(1 / 3)]


def test_iou_grows_by_no_more_than_is_said() -> None:
    boxes = drawn_sizes(300)
    before = MeanIoU().scores(boxes, np.array([[50.0, 70.0]]))
    for width in (-0.2, 0.2):
        for height in (-0.2, 0.2):
            anchor = np.array([[50.0 * np.exp(width), 70.0 * np.exp(height)]])
            after = MeanIoU().scores(boxes, anchor)
            assert (after <= before * MeanIoU().most_growth(0.2) * (1 + 1e-12)).all()
    assert MeanIoU(1.0).most_growth(0.1) == RatioFitness().most_growth(0.1) == np.inf
