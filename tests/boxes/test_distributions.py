from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.boxes.distributions import (
    ASPECT_BINS,
    ASPECT_EDGES,
    GRID_CELLS,
    REL_BINS,
    SIDE_BINS,
    SIDE_EDGES_PX,
    aspect_bin,
    count_centres,
    count_covered,
    rel_bin,
    side_bin,
    size_class,
)


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_size_classes_have_the_limits_of_coco() -> None:
    areas = column(1, 32**2 - 1e-6, 32**2, 96**2 - 1e-6, 96**2, 1e9)
    assert size_class(areas).tolist() == [0, 0, 1, 1, 2, 2]


def test_the_outermost_bins_take_what_lies_beyond() -> None:
    assert side_bin(column(1e-9, 1e9)).tolist() == [0, SIDE_BINS - 1]
    assert aspect_bin(column(1e-9, 1e9)).tolist() == [0, ASPECT_BINS - 1]
    assert rel_bin(column(-0.1, 0.0, 0.999, 1.0, 7.0)).tolist() == [0, 0, 49, 49, 49]


def test_an_edge_belongs_to_the_bin_above_it() -> None:
    powers = np.flatnonzero(SIDE_EDGES_PX[:-1] % 1 == 0)
    assert len(powers) >= 13
    assert side_bin(SIDE_EDGES_PX[powers]).tolist() == powers.tolist()
    below = np.nextafter(SIDE_EDGES_PX[powers], 0)
    assert side_bin(below).tolist() == (powers - 1).clip(0).tolist()


@given(st.floats(2**-2, 2**14 * 0.999))
def test_a_side_is_between_the_edges_of_its_bin(side_px: float) -> None:
    place = int(side_bin(column(side_px))[0])
    slack = 1 + 1e-12  # the edges that are no powers of two are rounded
    assert SIDE_EDGES_PX[place] / slack <= side_px <= SIDE_EDGES_PX[place + 1] * slack


@given(st.floats(1 / 16, 15.99))
def test_an_aspect_is_between_the_edges_of_its_bin(aspect: float) -> None:
    place = int(aspect_bin(column(aspect))[0])
    assert ASPECT_EDGES[place] / (1 + 1e-12) <= aspect <= ASPECT_EDGES[place + 1] * (1 + 1e-12)


def test_fractions_fill_fifty_equal_bins() -> None:
    assert rel_bin((np.arange(REL_BINS) + 0.5) / REL_BINS).tolist() == list(range(REL_BINS))


def test_centres_are_counted_where_they_lie() -> None:
    found = count_centres((column(0.0, 0.9), column(0.5, -0.4)), (column(0.5, 0.4), column(0, 0.2)))
    assert found.sum() == 2
    assert found[16, 8] == 1  # centre (0.25, 0.5)
    assert found[0, 31] == 1  # centre (1.1, -0.3) is outside: the nearest cell


@given(
    st.lists(
        st.tuples(*[st.floats(-0.2, 1.2)] * 2, *[st.floats(0.001, 1.3)] * 2),
        min_size=1,
        max_size=8,
    )
)
def test_covered_cells_are_those_whose_centre_is_in_the_box(
    boxes: list[tuple[float, float, float, float]],
) -> None:
    left, top, width, height = np.array(boxes).T
    centre = (np.arange(GRID_CELLS) + 0.5) / GRID_CELLS

    def inside(start: float, side: float) -> np.ndarray:
        # As the package rounds: the first cell whose centre is not before an edge.
        cells = np.arange(GRID_CELLS)
        first = np.ceil(start * GRID_CELLS - 0.5)
        last = np.ceil((start + side) * GRID_CELLS - 0.5)
        within = (cells >= first) & (cells < last)
        clear = (np.abs(centre - start) > 1e-9) & (np.abs(centre - start - side) > 1e-9)
        assert (within == ((centre >= start) & (centre < start + side)))[clear].all()
        return within

    expected = sum(
        np.outer(inside(t, h), inside(x, w)).astype(int)
        for x, t, w, h in zip(left, top, width, height, strict=True)
    )
    assert (count_covered((left, top), (width, height)) == expected).all()


def test_no_box_covers_nothing() -> None:
    none = column()
    assert not count_covered((none, none), (none, none)).any()
    assert not count_centres((none, none), (none, none)).any()


@pytest.mark.parametrize("side_px", [3e-9, 0.2, 1, 7.9, 16384, 1e8])
def test_every_side_has_a_bin(side_px: float) -> None:
    assert 0 <= int(side_bin(column(side_px))[0]) < SIDE_BINS
