"""Numbers as people read them, none of which says more than is so.

A bound that is printed still is one, and only a share of exactly all reads 100 %.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage; only a share of exactly 0 or 1 reads 0.0 % or 100.0 %.

    Halves are rounded up, as the scripts of a page and its charts do: 5 of 16 read 31.3 % in both.

    Args:
        share: A share in [0, 1].
        digits: Digits after the point.
    """
    # As a float of 64 bits, the only ones that scripts know; 100 * float32 would be rounded to 32.
    exact = Decimal(100 * float(share))
    text = f"{exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_HALF_UP):f}"
    if share not in (0, 1) and float(text) in (0.0, 100.0):
        least = 10.0**-digits
        near_0 = float(text) == 0.0
        return f"{'below' if near_0 else 'over'} {least if near_0 else 100 - least:.{digits}f} %"
    return f"{text} %"


def in_points(difference: float) -> str:
    """Return the size of a difference between two shares in percentage points."""
    return f"{abs(100 * difference):.1f} points"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as ``1 class`` or ``1,200 classes``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def images_in_words(images: int, *, are_named: bool) -> str:
    """Return a number of images in words, where the sources name them and so tell how many."""
    return counted(images, "image") if are_named else "images without a name"


def duration(seconds: float) -> str:
    """Return a time in the unit that fits: ``2.1 s``, ``48 s``, ``34 min`` or ``2.5 h``."""
    if seconds < 60:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def rounded_up(value: float, digits: int, *, times: int = 1) -> str:
    """Return a bound from above with so many digits after the point, not below its exact value.

    Args:
        value: Finite.
        digits: Digits after the point, at least 1.
        times: 100 for percent; multiplied exactly, as a float product may round down.
    """
    exact = Decimal(value) * times
    return f"{exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING):,f}"


GAP_DIGITS = 3
"""Digits after the point of a gap in percent: proofs end within hundredths of one."""


def gap_percent(gap: float) -> str:
    """Return how far something is at most from the best possible, a share, as a percentage."""
    return f"{rounded_up(gap, GAP_DIGITS, times=100)} %"


def rounded_down(value: float, digits: int) -> str:
    """Return a number with so many digits after the point, not above the number as it is written.

    Args:
        value: Finite; a share of all is 1 only if it is everything.
        digits: Digits after the point, at least 1.
    """
    # As written: 19 of 20 are 0.95, though the float for it is a little less.
    written = Decimal(repr(float(value)))
    return f"{written.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR):,f}"
