"""Sizes of images that a table states again in every row of a box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import LARGEST_SIDE_PX, Unit
from tinysight.boxes.findings import Action, FindingGroup
from tinysight.boxes.readers.box_numbers import as_number_of_table, is_blank

if TYPE_CHECKING:
    import pyarrow

_SLACK: dict[Unit, float] = {"px": 1.0, "rel": 0.01}
_LEAST_SHARE_OF_OWN = 0.9
_LEAST_SHARE_OUTSIDE = 0.5


def image_sizes_of_rows(
    columns: Sequence[pyarrow.ChunkedArray],
    image_index: NDArray[np.int32],
    num_images: int,
    path: Path,
    positions: NDArray[np.int64],
) -> tuple[NDArray[np.float64], list[FindingGroup]]:
    """Return the size of each image, that of its first row with one, and what was wrong.

    Args:
        columns: Width and height, of length n.
        image_index: (n,) the image of each row.
        num_images: m, how many images there are.
        path: The file, for findings.
        positions: (n,) the place of each row in the file.

    Returns:
        (m, 2) width, height in pixels, NaN where no row says; and the findings.
    """
    sides = np.stack([_floats(column) for column in columns], axis=1)
    is_size = ((sides > 0) & (sides < LARGEST_SIDE_PX)).all(axis=1)
    wh_px = np.full((num_images, 2), np.nan)
    stated = np.flatnonzero(is_size)
    # Of repeated rows the last assignment stays: the first row of an image counts.
    wh_px[image_index[stated][::-1]] = sides[stated][::-1]

    def finding(
        kind: str, action: Action, message: str, rows: NDArray[np.int64], *values: list[str]
    ) -> FindingGroup:
        return FindingGroup(
            kind=kind,
            action=action,
            message=message,
            files=(str(path),),
            file_index=np.zeros(len(rows), np.int32),
            record_format="row {position}",
            positions=positions[rows],
            values=values,
        )

    findings = []
    unclear = np.flatnonzero(~is_size)
    pairs = list(zip(*(column.take(unclear).to_pylist() for column in columns), strict=True))
    wrong = [at for at, pair in enumerate(pairs) if not all(map(is_blank, pair))]
    if wrong:
        message = "an image must have a width and a height > 0 pixels, got {0}. Left out."
        shown = [" x ".join(map(_shown, pairs[at])) for at in wrong]
        findings.append(finding("no_image_size", "accepted", message, unclear[wrong], shown))
    first_wh = wh_px[image_index[stated]]
    differs = np.flatnonzero((sides[stated] != first_wh).any(axis=1))
    if len(differs):
        message = (
            "the rows of an image must have one size, but it is {0} here and {1} before. The first "
            "is used."
        )
        both = (
            [f"{width:.10g} x {height:.10g}" for width, height in size_wh[differs].tolist()]
            for size_wh in (sides[stated], first_wh)
        )
        findings.append(
            finding("conflicting_image_size", "repaired", message, stated[differs], *both)
        )
    return wh_px, findings


def are_sizes_of_boxes(
    columns: Sequence[pyarrow.ChunkedArray], corners: NDArray[np.float64], unit: Unit
) -> bool:
    """Return whether columns called as a size may be repeat the sides of the boxes beside them.

    They do where they are right - left and bottom - top of nearly all boxes, and an image of that
    size would not hold most of them. A box that is its image whole leaves it to the name.

    Args:
        columns: Width and height, of length n.
        corners: (n, 4) left, top, right, bottom, NaN where there is no box.
        unit: That of the corners.
    """
    slack = _SLACK[unit]
    sides = np.stack([_floats(column) for column in columns], axis=1)
    is_known = np.isfinite(corners).all(axis=1) & np.isfinite(sides).all(axis=1)
    sides, begin, end = sides[is_known], corners[is_known, :2], corners[is_known, 2:]
    if len(sides) == 0:
        return False
    with np.errstate(over="ignore"):
        is_own = (np.abs(end - begin - sides) <= slack).all(axis=1)
        is_outside = (end > sides + slack).any(axis=1)
    return bool(
        is_own.mean() >= _LEAST_SHARE_OF_OWN
        and (is_own & is_outside).mean() >= _LEAST_SHARE_OUTSIDE
    )


def _floats(column: pyarrow.ChunkedArray) -> NDArray[np.float64]:
    """Return a column as numbers, NaN where it has none."""
    import pyarrow

    try:
        numbers: NDArray[np.float64] = column.cast(pyarrow.float64()).to_numpy()
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        values = [as_number_of_table(value) for value in column.to_pylist()]
        numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    return numbers


def _shown(value: Any) -> str:
    return "none" if is_blank(value) else repr(value)[:30]
