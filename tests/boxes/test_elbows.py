from __future__ import annotations

import warnings

import numpy as np
import pytest
from kneed import KneeLocator

from tinysight.boxes.elbows import chord_elbow, kneedle_elbow, last_gain

KS = list(range(1, 11))
DOGS = [10.66, 4.66, 1.98, 1.43, 1.09, 0.84, 0.64, 0.49, 0.42, 0.33]
SAMPLE = [5466, 3602, 2167, 1782, 1470, 1207, 1062, 945, 843, 774]


def kneed(ks: list[int], values: list[float], sensitivity: float) -> int | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        knee = KneeLocator(ks, values, S=sensitivity, curve="convex", direction="decreasing").knee
    return None if knee is None else int(knee)


@pytest.mark.parametrize("curve", [DOGS, SAMPLE])
def test_both_elbows_of_the_known_curves_are_at_3(curve: list[float]) -> None:
    assert kneedle_elbow(KS, curve) == 3
    assert chord_elbow(KS, curve) == 3


@pytest.mark.parametrize("is_convex", [True, False])
@pytest.mark.parametrize("sensitivity", [0.5, 1.0, 2.0, 5.0])
def test_kneedle_agrees_with_the_package_kneed(sensitivity: float, is_convex: bool) -> None:
    # Drawn, not searched: at ties either may be right, depending on the rounding.
    rng = np.random.default_rng(0)
    answers = []
    for length in [*range(3, 20)] * 6:
        falls = rng.gamma(0.5, size=length)
        falls = np.sort(falls)[::-1] if is_convex else falls
        values = (100 - np.cumsum([0.0, *falls])).tolist()
        ks = list(range(1, len(values) + 1))
        answers.append(kneedle_elbow(ks, values, sensitivity))
        assert answers[-1] == kneed(ks, values, sensitivity)
    assert len(set(answers)) > 3


def test_the_chord_elbow_is_farthest_from_the_line() -> None:
    assert chord_elbow([1, 2, 3, 4], [10, 4, 1, 0]) == 2
    assert chord_elbow([2, 4, 6, 8, 10], [9, 8, 1, 0.5, 0]) == 6


@pytest.mark.parametrize("values", [[3, 2, 1, 0], [5, 5, 5, 5]])
def test_a_line_has_no_elbow(values: list[float]) -> None:
    assert kneedle_elbow([1, 2, 3, 4], values) is None
    assert chord_elbow([1, 2, 3, 4], values) is None


def test_two_points_have_no_elbow() -> None:
    assert kneedle_elbow([1, 2], [2, 1]) is None
    assert chord_elbow([1, 2], [2, 1]) is None


def test_gains_end_before_the_first_small_one() -> None:
    assert last_gain([1, 2, 3, 4], [0.5, 0.6, 0.61, 0.7], 0.02) == 2
    assert last_gain([1, 2, 3], [0.5, 0.51, 0.9], 0.02) == 1
    assert last_gain([1, 2, 3], [0.5, 0.6, 0.7], 0.02) is None
    assert last_gain([1], [0.5], 0.02) is None
