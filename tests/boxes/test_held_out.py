from __future__ import annotations

import numpy as np
import pytest

from tests.boxes.tables import score_sizes
from tinysight.boxes.held_out import (
    bootstrap_mean,
    bootstrap_means,
    check_held_out,
)
from tinysight.errors import DataError

ANCHORS = np.array([(20.0, 20.0), (60.0, 40.0)])


def boxes_of(seed: int, images: int = 80, each: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(3.5, 0.6, (images * each, 2))), np.repeat(np.arange(images), each)


def test_both_sides_are_scored_as_they_are() -> None:
    (fitted, _), (others, image) = boxes_of(1), boxes_of(2)
    found = check_held_out(ANCHORS, fitted, others, image)
    assert found.fitted.mean_best_iou == score_sizes(fitted, ANCHORS).mean_best_iou
    assert found.held_out.mean_best_iou == score_sizes(others, ANCHORS).mean_best_iou
    assert found.drop == pytest.approx(
        score_sizes(fitted, ANCHORS).mean_best_iou - score_sizes(others, ANCHORS).mean_best_iou
    )
    assert found.interval is not None
    assert found.interval[0] < found.held_out.mean_best_iou < found.interval[1]


def test_anchors_made_for_other_boxes_do_not_hold() -> None:
    (_, _), (others, image) = boxes_of(1), boxes_of(2)
    found = check_held_out(ANCHORS, np.repeat(ANCHORS, 30, axis=0), others, image)
    assert found.fitted.mean_best_iou == 1.0
    assert not found.holds
    assert check_held_out(ANCHORS, others, others, image).holds


def test_one_seed_gives_the_same_bits() -> None:
    boxes, image = boxes_of(3)
    first, second, other = (
        check_held_out(ANCHORS, boxes, boxes, image, seed=seed).interval for seed in (0, 0, 1)
    )
    assert first == second != other


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # Boxes of an image agree: a bootstrap over boxes would be too narrow and fail this.
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        scores = np.repeat(rng.normal(0.6, 0.1, 40), 8)
        interval = bootstrap_mean(scores, np.repeat(np.arange(40), 8), np.random.default_rng(trial))
        assert interval is not None
        hits += interval[0] <= 0.6 <= interval[1]
    assert 180 <= hits <= 198


def test_images_are_drawn_whole() -> None:
    # One image holds all the variance; a resample without it has mean 0, one with it more.
    scores = np.array([0.0] * 10 + [1.0] * 10)
    image = np.repeat([7, 9], 10)
    assert bootstrap_mean(scores, image, np.random.default_rng(0)) == (0.0, 1.0)


def test_one_image_has_no_interval() -> None:
    image = np.full(9, 3)
    assert bootstrap_mean(np.linspace(0, 1, 9), image, np.random.default_rng(0)) is None
    boxes, _ = boxes_of(1)
    found = check_held_out(ANCHORS, boxes, boxes[:9], image)
    assert (found.interval, found.holds) == (None, None)


def test_several_means_are_drawn_as_each_alone() -> None:
    rng = np.random.default_rng(4)
    image = rng.integers(0, 30, 200)
    scores = [rng.random(200), np.zeros(200), rng.normal(size=200)]
    together = bootstrap_means(scores, image, np.random.default_rng(7))
    alone = [bootstrap_mean(each, image, np.random.default_rng(7)) for each in scores]
    assert together == alone
    assert together[1] == (0.0, 0.0)


def test_no_held_out_box_is_refused() -> None:
    boxes, image = boxes_of(1)
    with pytest.raises(DataError, match="The held-out boxes must be at least one, got none"):
        check_held_out(ANCHORS, boxes, boxes[:0], image[:0])
    with pytest.raises(DataError, match="The fitted boxes must be at least one, got none"):
        check_held_out(ANCHORS, boxes[:0], boxes, image)
