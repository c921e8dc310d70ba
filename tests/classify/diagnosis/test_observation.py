import numpy as np
import pytest

from tinysight.classify.diagnosis.observation import (
    counted,
    in_points,
    percent,
    standard_error,
)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.0, "0.0 %"),
        (1.0, "100.0 %"),
        (0.0004, "below 0.1 %"),
        (0.9996, "over 99.9 %"),
        (0.0005001, "0.1 %"),
        (0.4868, "48.7 %"),
    ],
)
def test_only_a_true_0_or_100_percent_reads_so(share: float, text: str) -> None:
    assert percent(share) == text


def test_the_standard_error_is_the_spread_of_many_draws() -> None:
    shares = np.random.default_rng(0).binomial(400, 0.3, 20_000) / 400
    assert standard_error(0.3, 400) == pytest.approx(shares.std(), rel=0.02)


def test_points_and_counts_read_as_people_write_them() -> None:
    assert in_points(-0.0672) == "6.7 points"
    assert counted(1, "class", "classes") == "1 class"
    assert counted(1200, "class", "classes") == "1,200 classes"
    assert counted(0, "pair") == "0 pairs"
