from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from tinysight.rounding import rounded_up


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


def test_what_is_printed_is_never_below_the_value_and_by_less_than_a_step_above() -> None:
    for value in np.random.default_rng(0).random(500).tolist():
        for times in (1, 100):
            excess = Fraction(rounded_up(value, 3, times=times)) - Fraction(value) * times
            assert 0 <= excess < Fraction(1, 1000)
