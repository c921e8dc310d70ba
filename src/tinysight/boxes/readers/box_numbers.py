"""Four numbers out of whatever a file has in the place of a box."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import LARGEST_SIDE_PX
from tinysight.boxes.readers.json_text import NOT_A_NUMBER, shown_number
from tinysight.boxes.records import Mark, Severity

_MESSAGES: dict[str, tuple[Severity, str]] = {
    "box_missing": ("unusable", "must have a box of four numbers, got none."),
    "box_not_a_list": ("unusable", "a box must be a list of four numbers, got {0}."),
    "box_wrong_length": ("unusable", "a box must have four numbers, got {0}."),
    "box_not_numbers": ("unusable", "a box must have four numbers, got {0}."),
    "box_not_finite": ("unusable", "the numbers of a box must be finite, got {0}."),
    "number_as_text": ("lossless", "the numbers of a box must be numbers, got the text {0}."),
}

# 1,920 is meant as a thousand and more, 0,125 is not.
_COMMA_OF_THOUSANDS = re.compile(r"[-+]?(?!0*,)\d+,\d{3}")


def box_columns(boxes: Sequence[Any]) -> tuple[NDArray[np.float64], list[Mark]]:
    """Return boxes as columns, with a mark for each kind of box that is not four numbers.

    Args:
        boxes: What stands in the place of each box, of any JSON type.

    Returns:
        (n, 4) float64, NaN where a box has not four finite numbers; and the marks.
    """
    fast = _all_sound(boxes)
    if fast is not None:
        return fast, []
    numbers = np.full((len(boxes), 4), np.nan)
    rows: dict[str, list[int]] = {}
    shown: dict[str, list[str]] = {}
    for row, box in enumerate(boxes):
        values, kind = _four_numbers(box)
        if values is not None:
            numbers[row] = values
        if kind:
            rows.setdefault(kind, []).append(row)
            shown.setdefault(kind, []).append(shown_number(box))
    marks = [
        Mark(kind, *_MESSAGES[kind], np.array(found, np.int64), (shown[kind],))
        for kind, found in rows.items()
    ]
    return numbers, marks


def _all_sound(boxes: Sequence[Any]) -> NDArray[np.float64] | None:
    """Return the columns where every box is a list of four finite numbers, which is the rule."""
    if not set(map(type, boxes)) <= {list} or not set(map(len, boxes)) <= {4}:
        return None
    if not set(map(type, chain.from_iterable(boxes))) <= {int, float}:
        return None
    try:
        flat = np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes))
    except OverflowError:
        return None
    return flat.reshape(-1, 4) if bool(np.isfinite(flat).all()) else None


def _four_numbers(box: Any) -> tuple[list[float] | None, str]:
    """Return the four numbers of a box and the name of its defect; no numbers where unusable."""
    if box is None:
        return None, "box_missing"
    is_text = isinstance(box, str)
    if is_text:
        box = box.strip().strip("[]()").replace(",", " ").split()
    if not isinstance(box, list):
        return None, "box_not_a_list"
    if len(box) != 4:
        return None, "box_not_numbers" if is_text else "box_wrong_length"
    values = []
    for item in box:
        is_text = is_text or isinstance(item, str)
        number = as_number(item)
        if number is None:
            return None, "box_not_numbers"
        values.append(number)
    if not all(map(math.isfinite, values)):
        return None, "box_not_finite"
    return values, "number_as_text" if is_text else ""


def as_number(value: Any) -> float | None:
    """Return a number, or the number a text spells; NaN and infinity included; None otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and value.startswith(NOT_A_NUMBER):
        return math.nan
    if isinstance(value, str) and "_" in value:  # float() would take 1_000
        return None
    try:
        return float(value)
    except ValueError:
        return None
    except OverflowError:
        return math.inf


def size_wh_px(width: Any, height: Any) -> tuple[float, float]:
    """Return the width and height that a file states for an image, NaN where they are no size."""
    sides = as_number(width), as_number(height)
    if sides[0] is None or sides[1] is None:
        return math.nan, math.nan
    if not all(0 < side < LARGEST_SIDE_PX for side in (sides[0], sides[1])):
        return math.nan, math.nan
    return sides[0], sides[1]


def is_blank(value: Any) -> bool:
    """Whether a field of a table is empty; tables of pandas have NaN for nothing."""
    if isinstance(value, str) and not value.strip():
        return True
    number = as_number(value)
    return value is None or (number is not None and math.isnan(number))


def as_number_of_table(value: Any) -> float | None:
    """Return a number as :func:`as_number`, or the one that a text with a decimal comma spells."""
    number = as_number(value)
    if number is not None or not isinstance(value, str):
        return number
    text = value.strip()
    return None if _COMMA_OF_THOUSANDS.fullmatch(text) else as_number(text.replace(",", "."))
