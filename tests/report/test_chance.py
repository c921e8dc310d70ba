from __future__ import annotations

import itertools
import math

import pytest
from scipy import stats

from tinysight.report.chance import PairedHits, accuracy_interval, pair_hits


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    [
        # Newcombe 1998, Two-sided confidence intervals for the single proportion, table I, 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_intervals_are_those_of_the_textbook(
    right: int, images: int, low: float, high: float
) -> None:
    assert accuracy_interval(right / images, images) == pytest.approx((low, high), abs=5.1e-5)
    limits = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert accuracy_interval(right / images, images) == pytest.approx(tuple(limits), abs=1e-12)


def test_an_interval_stays_a_share_and_is_never_a_point() -> None:
    assert accuracy_interval(1.0, 1)[1] == 1.0
    assert accuracy_interval(0.0, 1)[0] == 0.0
    for images in (1, 10, 33_000):
        low, high = accuracy_interval(1.0, images)
        assert low < high == 1.0


@pytest.mark.parametrize(
    "counts", [(0, 0), (0, 1), (5, 0), (3, 3), (7, 2), (86, 150), (900, 1_000)]
)
def test_chance_is_the_exact_test_of_a_fair_coin(counts: tuple[int, int]) -> None:
    first, second = counts
    found = PairedHits(2_000, first, second).chance
    expected = stats.binomtest(first, first + second).pvalue if any(counts) else 1.0
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == PairedHits(2_000, second, first).chance


def test_chance_is_counted_by_brute_force() -> None:
    tosses = list(itertools.product((0, 1), repeat=9))
    uneven = sum(abs(2 * sum(toss) - 9) >= 7 - 2 for toss in tosses)
    assert PairedHits(20, 7, 2).chance == uneven / len(tosses)


def test_chance_of_very_many_images_is_no_overflow() -> None:
    assert PairedHits(33_000, 8_000, 8_000).chance == 1.0
    assert 0 < PairedHits(33_000, 8_000, 8_400).chance < 0.002


def test_the_interval_of_a_lead_is_that_of_the_textbook() -> None:
    # Agresti, Categorical Data Analysis, 10.1.1: approval of a prime minister, asked twice.
    pair = PairedHits(1_600, 150, 86)
    assert pair.lead == -0.04
    error = math.sqrt(236 - 64**2 / 1_600) / 1_600
    assert error == pytest.approx(0.0095, abs=5e-5)
    # Half an image more in each cell hardly moves it with so many.
    assert pair.lead_interval == pytest.approx(
        (-0.04 - 1.96 * error, -0.04 + 1.96 * error), abs=1e-4
    )
    assert pair.chance < 0.001


def test_the_interval_of_a_lead_covers_95_percent_of_draws() -> None:
    """Every outcome of 40 images by its probability, both recognised or none taken together."""
    images, first, second = 40, 0.10, 0.25
    covered = 0.0
    for only_first in range(images + 1):
        for only_second in range(images + 1 - only_first):
            low, high = PairedHits(images, only_first, only_second).lead_interval
            if low <= second - first <= high:
                rest = images - only_first - only_second
                covered += (
                    math.comb(images, only_first)
                    * math.comb(images - only_first, only_second)
                    * first**only_first
                    * second**only_second
                    * (1 - first - second) ** rest
                )
    assert covered == pytest.approx(0.95, abs=0.01)


def test_a_chance_too_small_for_a_float_is_not_none() -> None:
    assert 0 < PairedHits(33_000, 2_500, 7_000).chance < 1e-300


def test_networks_that_never_differ_may_still_be_a_little_apart() -> None:
    low, high = PairedHits(100, 0, 0).lead_interval
    assert low == -high
    assert 0.01 < high < 0.03
    assert PairedHits(1, 0, 1).lead_interval[1] == 1.0


def test_hits_are_paired_by_image_and_not_by_their_order() -> None:
    first = {"a": True, "b": True, "c": False, "d": True}
    second = {"d": False, "c": True, "b": True, "a": False}
    assert pair_hits(first, second) == PairedHits(images=4, only_first=2, only_second=1)


def test_hits_on_other_images_are_not_paired() -> None:
    assert pair_hits({"a": True}, {"b": True}) is None
    assert pair_hits({"a": True}, {"a": True, "b": True}) is None
    assert pair_hits({}, {}) is None
