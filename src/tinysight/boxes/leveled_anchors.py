"""Anchors on the levels of a detector, ready to be written for a framework."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.geometry import FITS, Fit
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
    assumed: tuple[str, ...] = ()
    """Which of ``size`` and ``fit`` nobody stated."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels, finest first."""
        return self.assignment.levels

    @property
    def about(self) -> str:
        """One line of comment: where these anchors hold."""
        return f"{counted(len(self.assignment.anchors_wh_px), 'anchor')} for {self.input_in_words}"

    @property
    def input_in_words(self) -> str:
        """The input that the anchors are for, and what of it is only assumed."""
        width, height = self.input_size_wh
        text = f"an input of {width}x{height} pixels ({self.fit})"
        return f"{text}, {assumed_in_words(self.assumed)}" if self.assumed else text


def assumed_in_words(assumed: Sequence[str]) -> str:
    """Return the words for what of an input is assumed, at least one of ``size`` and ``fit``."""
    return f"{' and '.join(assumed)} assumed"


def stated_input(text: str) -> tuple[tuple[int, int] | None, Fit | None]:
    """Return the size and fit that a comment of ours states, see :attr:`LeveledAnchors.about`.

    None for what it does not state, or only as an assumption.
    """
    found = re.search(
        r"^#.* anchors? for an input of (\d{1,6})x(\d{1,6}) pixels \(([a-z-]+)\)(.*)", text, re.M
    )
    if found is None:
        return None, None
    assumed = re.match(r", (.*?) assumed", found[4])
    unsure = assumed[1] if assumed else ""
    size = None if "size" in unsure else (int(found[1]), int(found[2]))
    fit = next((fit for fit in FITS if fit == found[3] and "fit" not in unsure), None)
    return size, fit


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
