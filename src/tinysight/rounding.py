"""Bounds as text that still is one: what is printed is never below what was proved."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal


def rounded_up(value: float, digits: int, *, times: int = 1) -> str:
    """Return a bound from above with so many digits after the point, not below its exact value.

    Args:
        value: Finite.
        digits: Digits after the point, at least 1.
        times: 100 for percent; multiplied exactly, as a float product may round down.
    """
    exact = Decimal(value) * times
    return f"{exact.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_CEILING):,f}"
