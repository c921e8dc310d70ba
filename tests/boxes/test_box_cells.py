from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.boxes.tables import make_table
from tests.boxes.test_near_duplicates import brute_force
from tinysight.boxes import box_cells
from tinysight.boxes import near_duplicates as module
from tinysight.boxes.near_duplicates import RepeatCounts, count_repeats, find_near_duplicates

SIDES = st.one_of(st.floats(0.001, 40), st.sampled_from([0.001, 1.0, 1.1, 1.9, 2.0, 16.0]))
STARTS = st.one_of(st.floats(-9, 9), st.sampled_from([0.0, 0.1, -1e9, 1e9 + 0.25, 1e9 + 0.3]))
BOXES = st.tuples(st.integers(0, 1), st.integers(0, 2), STARTS, STARTS, SIDES, SIDES)


@st.composite
def crowds(draw: st.DrawFn) -> list[tuple[int, int, float, float, float, float]]:
    """Draw boxes with others that are nearly equal, of any class."""
    boxes = draw(st.lists(BOXES, max_size=6))
    for image, _, x, y, w, h in list(boxes):
        for _ in range(draw(st.integers(0, 4))):
            left, top, wide, high = (draw(st.floats(-0.2, 0.2)) for _ in range(4))
            new = x + left * w, y + top * h, w * (1 + wide), h * (1 + high)
            boxes.append((image, draw(st.integers(0, 2)), *new))
    return draw(st.permutations(boxes))


@settings(deadline=None, max_examples=60)
@given(boxes=crowds(), least=st.sampled_from([0.1, 0.5, 0.8, 0.9, 1.0]))
def test_boxes_in_cells_are_those_that_brute_force_finds(
    boxes: list[tuple[int, int, float, float, float, float]], least: float
) -> None:
    table = make_table(boxes, image_wh=[(9, 9)] * 2, classes="abc")
    expected = brute_force(table, least)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_MANY_BOXES", 1)
        twins = find_near_duplicates(table, least)
        counts = count_repeats(table, least)
    assert list(zip(twins.first.tolist(), twins.second.tolist(), strict=True)) == expected
    classes = table.class_index
    same = {b for a, b in expected if classes[a] == classes[b]}
    # Copies to the bit are repeats even where rounding makes their overlap less than 1.
    same |= {n for n, box in enumerate(boxes) if box in boxes[:n]}
    other = {b for a, b in expected if classes[a] != classes[b]}
    assert counts == RepeatCounts(len(same), len(other))


NEARLY_EQUAL = [(0, n % 2, 5 + n % 7 / 1e3, 5, 90 + n % 11 / 1e3, 50) for n in range(2000)]
ONE_BELOW_ANOTHER = [(0, 0, 5, 30 * n, 20, 20) for n in range(2000)]


@pytest.mark.parametrize(
    ("boxes", "counts"),
    [
        pytest.param(NEARLY_EQUAL, RepeatCounts(1998, 1999), id="nearly equal"),
        pytest.param(ONE_BELOW_ANOTHER, RepeatCounts(0, 0), id="one below another"),
    ],
)
def test_few_pairs_of_many_boxes_are_compared(
    boxes: list[tuple[int, int, float, float, float, float]],
    counts: RepeatCounts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = 0

    def counted(
        xywh_px: NDArray[np.float64], one: NDArray[np.int64], other: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        nonlocal compared
        compared += len(one)
        return shares(xywh_px, one, other)

    shares = box_cells.overlap_shares
    monkeypatch.setattr(box_cells, "overlap_shares", counted)
    table = make_table(boxes, image_wh=[(99, 99_999)], classes="ab")
    assert count_repeats(table) == counts
    assert compared < 4 * len(boxes)
