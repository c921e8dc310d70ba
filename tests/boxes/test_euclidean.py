from __future__ import annotations

import numpy as np
import pytest

from tests.boxes.sizes_of_boxes import drawn_sizes, real_sizes_rel
from tinysight.boxes.euclidean import fit_kmeans

# What the course exercise on these photographs published.
DOGS_LOG_WCSS = [10.66, 4.66, 1.98, 1.43, 1.09, 0.84, 0.64, 0.49, 0.42, 0.33]
DOGS_CENTERS = [[0.194, 0.507], [0.534, 0.727], [0.851, 0.915]]


def test_the_published_curve_of_the_dogs_is_reproduced() -> None:
    logs = np.log(real_sizes_rel("dogs"))
    wcss = [fit_kmeans(logs, np.ones(len(logs)), k, seed=0).wcss for k in range(1, 11)]
    np.testing.assert_allclose(wcss, DOGS_LOG_WCSS, atol=0.0051)


def test_the_published_centres_of_the_dogs_are_reproduced() -> None:
    logs = np.log(real_sizes_rel("dogs"))
    centers = np.exp(fit_kmeans(logs, np.ones(len(logs)), 3, seed=0).centers)
    np.testing.assert_allclose(centers[centers[:, 0].argsort()], DOGS_CENTERS, atol=6e-4)


def test_wcss_is_the_weighted_sum_of_squared_distances() -> None:
    points, weights = drawn_sizes(50), np.arange(1.0, 51.0)
    clusters = fit_kmeans(points, weights, 4, seed=0)
    distances = ((points[:, None] - clusters.centers) ** 2).sum(axis=2)
    assert clusters.wcss == pytest.approx(weights @ distances.min(axis=1))
    np.testing.assert_array_equal(clusters.labels, distances.argmin(axis=1))


def test_a_weight_is_as_many_equal_points() -> None:
    points = drawn_sizes(12)
    once = fit_kmeans(points, np.full(12, 3.0), 3, seed=0, start_centers=points[:3])
    thrice = fit_kmeans(
        np.repeat(points, 3, axis=0), np.ones(36), 3, seed=0, start_centers=points[:3]
    )
    assert once.wcss == pytest.approx(thrice.wcss)
    np.testing.assert_allclose(once.centers, thrice.centers)


def test_two_runs_give_the_same_bits() -> None:
    points = drawn_sizes(3000)
    one, other = (fit_kmeans(points, np.ones(3000), 6, seed=3) for _ in range(2))
    assert one.centers.tobytes() == other.centers.tobytes()
    assert one.wcss == other.wcss
