from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.boxes.readers.outlines import (
    around_ellipse,
    around_points,
    around_turned,
    read_points,
)

lengths = st.floats(0, 1000)
degrees = st.floats(-720, 720)


def turned(points: np.ndarray[Any, Any], turn_deg: float) -> np.ndarray[Any, Any]:
    """Turn points about the middle of what they span, point by point."""
    turn = math.radians(turn_deg)
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    return np.asarray((points - centre) @ matrix.T + centre)


@given(lengths, lengths, lengths, lengths, degrees)
def test_box_around_a_turned_rectangle_is_that_around_its_turned_corners(
    left: float, top: float, width: float, height: float, turn_deg: float
) -> None:
    right, bottom = left + width, top + height
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    expected = around_points(map(tuple, turned(corners, turn_deg).tolist()))
    found = around_turned([left, top, right, bottom], turn_deg)
    assert found == pytest.approx(expected, abs=1e-6)


@given(lengths, lengths, degrees)
def test_box_around_a_turned_ellipse_touches_the_turned_ellipse(
    rx: float, ry: float, turn_deg: float
) -> None:
    angles = np.linspace(0, 2 * math.pi, 4001)
    rim = turned(np.stack([50 + rx * np.cos(angles), 60 + ry * np.sin(angles)], axis=1), turn_deg)
    expected = [*rim.min(axis=0), *rim.max(axis=0)]
    # A chord between two of the points leaves out no more than this of the rim.
    assert around_ellipse(50, 60, rx, ry, turn_deg) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270, 360, -90])
def test_quarter_turns_are_exact(turn_deg: int) -> None:
    is_on_its_side = turn_deg % 180 != 0
    expected = [25, 5, 35, 55] if is_on_its_side else [5, 25, 55, 35]
    assert around_turned([5, 25, 55, 35], turn_deg) == expected
    assert around_ellipse(30, 30, 25, 5, turn_deg) == expected


def test_rectangle_of_negative_size_stands_as_it_is() -> None:
    assert around_turned([50, 20, 10, 40], 45) == [50, 20, 10, 40]


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        (None, "box_missing", "null"),
        ([], "box_missing", "[]"),
        ({"x": 1}, "box_missing", "{'x': 1}"),
        ([[1, 2], 3], "box_not_numbers", "3"),
        ([[1, 2], [3]], "box_not_numbers", "[3]"),
        ([[1, 2], [3, None]], "box_not_numbers", "[3, null]"),
        ([[1, 2], [3, "x"]], "box_not_numbers", "[3, 'x']"),
        ([[1, 2], [3, "\x7f"]], "box_not_finite", "[3, NaN]"),
    ],
)
def test_points_that_are_none_are_told(values: Any, kind: str, found: str) -> None:
    xy, fault = read_points(values)
    assert xy == []
    assert fault is not None
    assert (fault.kind, fault.severity, fault.found) == (kind, "unusable", found)


def test_points_written_as_text_are_read_and_told() -> None:
    xy, fault = read_points([["1", "2.5"], [3, 4]])
    assert xy == [(1, 2.5), (3, 4)]
    assert fault is not None
    assert (fault.kind, fault.severity) == ("number_as_text", "lossless")
    assert fault.message.format(fault.found) == (
        "the numbers of a point must be numbers, got the text ['1', '2.5']."
    )
    assert read_points([[1, 2.5], [3, 4]]) == ([[1, 2.5], [3, 4]], None)
