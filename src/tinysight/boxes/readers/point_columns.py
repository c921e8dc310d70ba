"""Boxes around points of which a table has a column for each x and y."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.readers.box_numbers import as_number_of_table, is_blank
from tinysight.boxes.readers.outlines import ShapeFault, around_points, read_points
from tinysight.boxes.records import Mark

if TYPE_CHECKING:
    import pyarrow


def boxes_around_columns(
    columns: Sequence[pyarrow.ChunkedArray],
) -> tuple[NDArray[np.float64], list[Mark], NDArray[np.bool_]]:
    """Return the boxes around the points of each row.

    Args:
        columns: x and y of each point, by turns, of length n.

    Returns:
        (n, 4) left, top, right, bottom, NaN where a point is none; the marks of rows with such a
        point; and (n,) which rows have no number at all.
    """
    import pyarrow

    try:
        table = np.stack([column.cast(pyarrow.float64()).to_numpy() for column in columns], axis=1)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        table = np.full((1, 1), np.nan)
    if np.isfinite(table).all():
        xs, ys = table[:, ::2], table[:, 1::2]
        corners = [xs.min(axis=1), ys.min(axis=1), xs.max(axis=1), ys.max(axis=1)]
        return np.stack(corners, axis=1), [], np.zeros(len(table), np.bool_)
    rows = list(zip(*(map(_number_or_none, column.to_pylist()) for column in columns), strict=True))
    numbers = np.full((len(rows), 4), np.nan)
    is_empty = np.array([all(map(is_blank, row)) for row in rows], np.bool_)
    faults: dict[str, list[tuple[int, ShapeFault]]] = {}
    for row, values in enumerate(rows):
        if is_empty[row]:
            continue
        points = read_points([list(pair) for pair in zip(values[::2], values[1::2], strict=True)])
        if points.xy:
            numbers[row] = around_points(points.xy)
        elif points.fault is not None:
            faults.setdefault(points.fault.kind, []).append((row, points.fault))
    marks = [
        Mark(
            kind,
            found[0][1].severity,
            found[0][1].message,
            np.array([row for row, _ in found], np.int64),
            ([fault.found for _, fault in found],),
        )
        for kind, found in faults.items()
    ]
    return numbers, marks, is_empty


def _number_or_none(value: Any) -> Any:
    """Return the number of a field, its text where it has none, and None where it is blank."""
    number = as_number_of_table(value)
    if number is None and isinstance(value, str):
        return value.strip() or None
    return value if number is None else number
