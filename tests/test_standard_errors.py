from __future__ import annotations

import numpy as np
import pytest

from tinysight.standard_errors import estimated_standard_error, highest_share, standard_error


def test_the_standard_error_is_the_spread_of_many_draws() -> None:
    shares = np.random.default_rng(0).binomial(400, 0.3, 20_000) / 400
    assert standard_error(0.3, 400) == pytest.approx(shares.std(), rel=0.02)


def test_a_share_of_nothing_or_all_is_not_certain() -> None:
    for share in (0.0, 1.0):
        assert estimated_standard_error(share, 8) == pytest.approx(standard_error(0.9, 8))
    assert estimated_standard_error(0.4, 33_000) == pytest.approx(standard_error(0.4, 33_000), 1e-4)


@pytest.mark.parametrize(("right", "images"), [(0, 1), (0, 20), (3, 4), (12, 24), (100, 1_000)])
def test_a_measured_share_is_three_standard_errors_below_its_highest_true_one(
    right: int, images: int
) -> None:
    highest = highest_share(right / images, images)
    assert right / images == pytest.approx(highest - 3 * standard_error(highest, images))


def test_nothing_is_above_a_share_of_all() -> None:
    assert highest_share(1.0, 7) == pytest.approx(1.0)
