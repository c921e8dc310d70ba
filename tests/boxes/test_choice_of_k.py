from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from tests.boxes.sizes_of_boxes import drawn_sizes, real_sizes_rel
from tests.boxes.tables import make_table
from tinysight.boxes.choice_of_k import choose_k, choose_k_of_sizes, mean_silhouette
from tinysight.boxes.euclidean import fit_kmeans
from tinysight.errors import DataError


def three_heaps() -> np.ndarray:
    rng = np.random.default_rng(0)
    centers = np.log([[0.05, 0.05], [0.3, 0.1], [0.6, 0.9]])
    return np.asarray(np.exp(np.repeat(centers, 60, axis=0) + rng.normal(0, 0.02, (180, 2))))


def test_three_clear_heaps_make_every_rule_say_3() -> None:
    choice = choose_k_of_sizes(three_heaps(), num_resamples=5)
    assert choice.k == 3
    assert choice.is_agreed
    assert {name: (rule.k, rule.share) for name, rule in choice.rules.items()} == dict.fromkeys(
        ("kneedle", "chord", "silhouette", "gain"), (3, 1.0)
    )


def test_the_elbow_of_dogs_and_sample_coco_is_3_and_the_rules_disagree() -> None:
    for name in ("dogs", "sample_coco"):
        choice = choose_k_of_sizes(real_sizes_rel(name), num_resamples=4)
        assert choice.k == 3
        assert not choice.is_agreed
        assert choice.rules["kneedle"].share >= 0.75
        assert choice.rules["silhouette"].k == {"dogs": 2, "sample_coco": 3}[name]


def test_the_curves_are_those_of_plain_kmeans() -> None:
    sizes = drawn_sizes(200) / 1000
    choice = choose_k_of_sizes(sizes, most=4, num_resamples=1)
    assert choice.ks == (1, 2, 3, 4)
    ones = np.ones(200)
    assert choice.wcss_log[2] == fit_kmeans(np.log(sizes), ones, 3, seed=0).wcss
    assert choice.wcss_wh[3] == fit_kmeans(sizes, ones, 4, seed=0).wcss
    assert (np.diff(choice.mean_best_iou) > 0).all()


def test_two_runs_say_the_same() -> None:
    sizes = drawn_sizes(300) / 1000
    one, other = (choose_k_of_sizes(sizes, most=5, seed=4, num_resamples=3) for _ in range(2))
    assert one == other


def test_boxes_are_measured_in_parts_of_their_image() -> None:
    boxes = [(0, 0, 0, 0, 10, 20), (1, 0, 0, 0, 100, 200), (0, 0, 0, 0, 50, 50)]
    table = make_table(boxes, image_wh=[(100, 100), (1000, 1000)])
    choice = choose_k(table, num_resamples=1)
    assert choice.ks == (1, 2)  # two distinct sizes
    assert choice.wcss_log[1] == pytest.approx(0, abs=1e-12)


def test_one_size_has_no_elbow() -> None:
    choice = choose_k_of_sizes(np.full((5, 2), 0.5), num_resamples=2)
    assert choice.ks == (1,)
    assert choice.k is None
    assert not choice.is_agreed
    assert all(rule.k is None for rule in choice.rules.values())


def test_no_boxes_are_refused() -> None:
    with pytest.raises(DataError, match=r"The choice of k needs at least one box, got none\."):
        choose_k_of_sizes(np.empty((0, 2)))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_the_silhouette_is_that_of_scikit_learn_with_points_repeated(k: int) -> None:
    rng = np.random.default_rng(k)
    points, counts = rng.normal(size=(30, 2)), rng.integers(1, 4, 30)
    labels = fit_kmeans(points, counts.astype(float), k, seed=0).labels
    labels[0] = k  # a cluster of one point, once
    counts[0] = 1
    distances = np.hypot(*(np.subtract.outer(axis, axis) for axis in points.T))
    expected = silhouette_score(np.repeat(points, counts, axis=0), np.repeat(labels, counts))
    assert mean_silhouette(distances, counts.astype(float), labels) == pytest.approx(expected)
