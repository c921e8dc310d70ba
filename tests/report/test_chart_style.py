from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.report.chart_style import ANCHOR_COLOURS, spread_apart


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


def oklab(colour: str) -> tuple[float, ...]:
    """Ottosson 2020: distances between such triples are those that people see."""
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    )
    long = (0.4122214708 * red + 0.5363325363 * green + 0.0514459929 * blue) ** (1 / 3)
    middle = (0.2119034982 * red + 0.6806995451 * green + 0.1073969566 * blue) ** (1 / 3)
    short = (0.0883024619 * red + 0.2817188376 * green + 0.6299787005 * blue) ** (1 / 3)
    return (
        0.2104542553 * long + 0.793617785 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.428592205 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.808675766 * short,
    )


def test_twelve_anchors_have_colours_that_can_be_told_apart() -> None:
    assert len(ANCHOR_COLOURS) == 12
    for one, other in itertools.combinations(ANCHOR_COLOURS, 2):
        assert math.dist(oklab(one), oklab(other)) > 0.1, (one, other)
