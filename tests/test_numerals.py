from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tinysight.numerals import (
    counted,
    duration,
    gap_percent,
    in_points,
    percent,
    rounded_down,
    rounded_up,
)


@pytest.mark.parametrize(
    ("value", "digits", "times", "shown"),
    [
        (0.0, 4, 1, "0.0000"),
        (1.0, 4, 1, "1.0000"),
        (0.61164, 4, 1, "0.6117"),
        (0.61161, 4, 1, "0.6117"),
        (0.5, 4, 1, "0.5000"),
        (0.00121, 2, 100, "0.13"),
        (1e-12, 3, 100, "0.001"),
        (1234.5, 1, 1, "1,234.5"),
    ],
)
def test_bounds_are_rounded_up(value: float, digits: int, times: int, shown: str) -> None:
    assert rounded_up(value, digits, times=times) == shown


def test_a_gap_has_the_digits_of_a_proof() -> None:
    assert gap_percent(0.00121) == "0.121 %"
    assert gap_percent(0.0012101) == "0.122 %"


def test_what_is_printed_is_never_below_the_value_and_by_less_than_a_step_above() -> None:
    for value in np.random.default_rng(0).random(500).tolist():
        for times in (1, 100):
            excess = Fraction(rounded_up(value, 3, times=times)) - Fraction(value) * times
            assert 0 <= excess < Fraction(1, 1000)


def test_a_share_of_all_is_1_only_if_it_is_everything() -> None:
    assert rounded_down(1.0, 4) == "1.0000"
    assert rounded_down(9_999.9 / 10_000, 4) == "0.9999"
    assert rounded_down(0.61169, 4) == "0.6116"


def test_a_share_that_needs_no_more_digits_is_shown_as_it_is() -> None:
    assert rounded_down(19 / 20, 4) == "0.9500"  # the float is 0.9499999999999999556
    for whole in (20, 50, 125, 10_000):
        for part in range(whole + 1):
            assert Fraction(rounded_down(part / whole, 4)) == Fraction(part, whole)


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.0, 1, "0.0 %"),
        (1.0, 1, "100.0 %"),
        (1, 1, "100.0 %"),
        (0.0004, 1, "below 0.1 %"),
        (0.9996, 1, "over 99.9 %"),
        (32_990 / 33_000, 2, "99.97 %"),
        (0.999_999, 2, "over 99.99 %"),
        (0.001, 0, "below 1 %"),
        (0.0005001, 1, "0.1 %"),
        (0.4868, 1, "48.7 %"),
    ],
)
def test_only_a_true_0_or_100_percent_reads_so(share: float, digits: int, text: str) -> None:
    assert percent(share, digits) == text


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [(1 / 16, 1, "6.3 %"), (5 / 16, 1, "31.3 %"), (3 / 16, 1, "18.8 %"), (1 / 8, 0, "13 %")],
)
def test_halves_of_a_last_digit_are_rounded_up(share: float, digits: int, text: str) -> None:
    assert percent(share, digits) == text


def test_a_share_of_32_bits_is_rounded_once() -> None:
    share = np.float32(0.0245)  # a little less; 100 times that is 2.45 in 32 bits
    assert 100 * float(share) < 2.45
    assert percent(share) == "2.4 %"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"), (2.14, "2.1 s"), (48.2, "48 s"), (61, "1 min"), (2052, "34 min"),
        (7100, "118 min"), (9000, "2.5 h"),
    ],
)  # fmt: skip
def test_times_are_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_points_and_counts_read_as_people_write_them() -> None:
    assert in_points(-0.0672) == "6.7 points"
    assert counted(1, "class", "classes") == "1 class"
    assert counted(1200, "class", "classes") == "1,200 classes"
    assert counted(0, "pair") == "0 pairs"
