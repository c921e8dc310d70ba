from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.report.chart_style import percent, spread_apart


@pytest.mark.parametrize(
    ("places_px", "expected_px"),
    [
        ([], []),
        ([7.0], [7.0]),
        ([0.0, 100.0], [0.0, 100.0]),
        ([50.0, 50.0], [42.5, 57.5]),
        ([60.0, 50.0], [62.5, 47.5]),
        ([50.0, 50.0, 50.0], [35.0, 50.0, 65.0]),
    ],
)
def test_places_move_only_as_far_as_they_must(
    places_px: list[float], expected_px: list[float]
) -> None:
    assert spread_apart(places_px, 15.0) == pytest.approx(expected_px, abs=0.02)


@given(st.lists(st.floats(-500, 500), max_size=5))
def test_places_are_apart_afterwards_and_in_the_same_order(places_px: list[float]) -> None:
    moved = spread_apart(places_px, 15.0)
    order = sorted(range(len(moved)), key=lambda index: places_px[index])
    for upper, lower in itertools.pairwise(order):
        assert moved[lower] - moved[upper] >= 15.0 - 0.011
    assert sum(moved) == pytest.approx(sum(places_px), abs=1e-6)


def test_percent_is_written_for_people() -> None:
    assert percent(0.5631) == "56.3 %"
    assert percent(1) == "100.0 %"
