"""The box around a shape: points, ellipses, turned rectangles.

A shape that is no rectangle gives the smallest upright box that holds it. One without area, such as
a line, gives none.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from tinysight.boxes.readers.box_numbers import as_number
from tinysight.boxes.readers.collector import Collector
from tinysight.boxes.readers.json_text import shown_number
from tinysight.boxes.records import Severity

Point = Sequence[float]
"""x, y."""


class ShapeFault(NamedTuple):
    """Why a shape gives no box, or what is odd about it."""

    kind: str
    severity: Severity
    message: str
    """``{0}`` is ``found``."""
    found: str = ""

    def mark(self, collector: Collector, row: int) -> None:
        """Mark the record of the shape."""
        collector.mark(self.kind, self.severity, self.message, row, self.found)


class Points(NamedTuple):
    """The points of a shape, or why there are none."""

    xy: list[Point]
    fault: ShapeFault | None = None
    """With points: that their numbers are written as text."""


def read_points(values: Any) -> Points:
    """Return points out of whatever a file has in the place of a list of pairs."""
    if not isinstance(values, list) or not values:
        message = "a shape must have points, got {0}."
        return Points([], ShapeFault("box_missing", "unusable", message, shown_number(values)))
    if _are_all_sound(values):
        return Points(values)
    xy: list[Point] = []
    is_text = False
    for pair in values:
        if not isinstance(pair, list) or len(pair) != 2:
            return Points([], _not_numbers(pair))
        x, y = as_number(pair[0]), as_number(pair[1])
        if x is None or y is None:
            return Points([], _not_numbers(pair))
        if not (math.isfinite(x) and math.isfinite(y)):
            message = "the numbers of a point must be finite, got {0}."
            fault = ShapeFault("box_not_finite", "unusable", message, shown_number(pair))
            return Points([], fault)
        is_text = is_text or isinstance(pair[0], str) or isinstance(pair[1], str)
        xy.append((x, y))
    if is_text:
        message = "the numbers of a point must be numbers, got the text {0}."
        return Points(
            xy, ShapeFault("number_as_text", "lossless", message, shown_number(values[0]))
        )
    return Points(xy)


def _are_all_sound(values: list[Any]) -> bool:
    """Whether all points are lists of two finite numbers, which is the rule."""
    if set(map(type, values)) != {list} or set(map(len, values)) != {2}:
        return False
    numbers = list(chain.from_iterable(values))
    if not set(map(type, numbers)) <= {int, float}:
        return False
    try:
        return all(map(math.isfinite, numbers))
    except OverflowError:  # a whole number of more than 300 digits
        return False


def _not_numbers(pair: Any) -> ShapeFault:
    message = "a point must be two numbers, got {0}."
    return ShapeFault("box_not_numbers", "unusable", message, shown_number(pair))


def no_area(what: str, *, of: str = "a shape") -> ShapeFault:
    """Return the fault of a shape that has no area, such as ``a line``."""
    return ShapeFault("zero_size", "unusable", f"{of} must have an area, got {{0}}.", what)


def around_points(xy: Iterable[Point]) -> list[float]:
    """Return left, top, right, bottom of points, of which there is at least one."""
    xs, ys = zip(*xy, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def around_ellipse(cx: float, cy: float, rx: float, ry: float, turn_deg: float = 0) -> list[float]:
    """Return left, top, right, bottom of an ellipse that is turned about its centre.

    Its radii are along x and y before it is turned; a circle has two equal ones.
    """
    if turn_deg % 180 != 0 and rx != ry:
        cos, sin = _cos_sin(turn_deg)
        rx, ry = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return [cx - rx, cy - ry, cx + rx, cy + ry]


def around_turned(corners: Sequence[float], turn_deg: float) -> list[float]:
    """Return left, top, right, bottom of a rectangle that is turned about its centre.

    Args:
        corners: Its left, top, right, bottom before it is turned.
        turn_deg: Clockwise or not gives the same box.
    """
    left, top, right, bottom = corners
    cos, sin = (abs(part) for part in _cos_sin(turn_deg))
    width, height = right - left, bottom - top
    if width < 0 or height < 0:  # no rectangle; told as it stands
        return list(corners)
    half_width = (width * cos + height * sin) / 2
    half_height = (width * sin + height * cos) / 2
    cx, cy = (left + right) / 2, (top + bottom) / 2
    return [cx - half_width, cy - half_height, cx + half_width, cy + half_height]


def _cos_sin(turn_deg: float) -> tuple[float, float]:
    """Return cosine and sine, exact for quarter turns."""
    quarters = turn_deg / 90
    if quarters.is_integer():
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters % 4)]
    turn = math.radians(turn_deg)
    return math.cos(turn), math.sin(turn)


class Groups:
    """Outlines that one group joins: annotators draw the parts of a hidden object like that."""

    def __init__(self) -> None:
        self._rows: dict[Hashable, list[int]] = {}

    def add(self, group: Hashable, row: int) -> None:
        """Add the record of an outline; ``group`` says the image and class as well."""
        self._rows.setdefault(group, []).append(row)

    def mark(self, collector: Collector) -> None:
        """Mark the records that share a group with another one."""
        for rows in self._rows.values():
            if len(rows) > 1:
                for row in rows:
                    message = (
                        "outlines of one label in one group may be parts of one object, and {0} "
                        "are in this one; each gives a box of its own."
                    )
                    collector.mark("parts_of_a_group", "harmless", message, row, str(len(rows)))
