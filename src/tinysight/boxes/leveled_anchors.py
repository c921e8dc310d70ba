"""Anchors on the levels of a detector, ready to be written for a framework."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.strides import Level, StrideAssignment
from tinysight.errors import DataError
from tinysight.numerals import counted

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class LeveledAnchors:
    """Anchors on the levels of a detector, and what a framework wants to know beside them."""

    assignment: StrideAssignment
    input_size_wh: tuple[int, int]
    fit: str
    num_classes: int | None = None
    """Needed by darknet for ``filters=``."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels, finest first."""
        return self.assignment.levels

    @property
    def about(self) -> str:
        """One line of comment: where these anchors hold."""
        width, height = self.input_size_wh
        anchors = counted(len(self.assignment.anchors_wh_px), "anchor")
        return f"{anchors} for an input of {width}x{height} pixels ({self.fit})"


def factor_level(
    anchors_wh_px: NDArray[np.float64],
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return sizes and ratios (height / width) whose products are the anchors, if there are any.

    Args:
        anchors_wh_px: (a, 2), the anchors of one level, a >= 1.

    Returns:
        Sizes (square root of the area, pixels) and ratios, ascending; None when the anchors are not
        all products of some sizes and some ratios.
    """
    sizes = _distinct(np.sqrt(anchors_wh_px.prod(axis=1)))
    ratios = _distinct(anchors_wh_px[:, 1] / anchors_wh_px[:, 0])
    if len(sizes) * len(ratios) != len(anchors_wh_px):
        return None
    products = {
        (_nearest(sizes, math.sqrt(width * height)), _nearest(ratios, height / width))
        for width, height in anchors_wh_px.tolist()
    }
    return (sizes, ratios) if len(products) == len(anchors_wh_px) else None


def number_text(value: float, digits: int = 4) -> str:
    """Write a number with so many digits, at least two decimals, and no zeros at its end."""
    decimals = max(2, digits - 1 - math.floor(math.log10(value)))
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def even_levels(leveled: LeveledAnchors, framework: str) -> tuple[Level, ...]:
    """Return the levels where all hold the same number of anchors.

    Raises:
        DataError: They do not.
    """
    counts = [len(level.anchors_wh_px) for level in leveled.levels]
    if len(set(counts)) > 1 or not counts[0]:
        shown = ", ".join(
            f"{count} at stride {level.stride_px}"
            for level, count in zip(leveled.levels, counts, strict=True)
        )
        raise DataError(
            f"{framework} needs the same number of anchors on every level, got {shown}. "
            f"Divide them equally, or fit another number."
        )
    return leveled.levels


def _distinct(values: NDArray[np.float64]) -> tuple[float, ...]:
    kept: list[float] = []
    for value in np.sort(values).tolist():
        if not kept or value > kept[-1] * (1 + _TOLERANCE):
            kept.append(value)
    return tuple(kept)


def _nearest(values: Sequence[float], value: float) -> int:
    return int(np.abs(np.log(np.asarray(values) / value)).argmin())
