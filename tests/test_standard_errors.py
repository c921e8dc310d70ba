from __future__ import annotations

import numpy as np
import pytest

from tinysight.standard_errors import standard_error


def test_the_standard_error_is_the_spread_of_many_draws() -> None:
    shares = np.random.default_rng(0).binomial(400, 0.3, 20_000) / 400
    assert standard_error(0.3, 400) == pytest.approx(shares.std(), rel=0.02)
