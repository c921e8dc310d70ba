"""Numbers on the command line, read so that a fault says what must hold and what was found."""

from __future__ import annotations

import argparse
from collections.abc import Callable

_MOST_DIGITS = 18  # what a longer number counts, no machine has


def whole_number(
    least: int = 1, most: int | None = None, *, example: int | None = None
) -> Callable[[str], int]:
    """Return a parser of whole numbers, for ``type=`` of an argument.

    Args:
        least: The smallest, at least 0.
        most: The largest, if there is one.
        example: One that is taken, for the message.
    """
    bounds = f"from {least} up" if most is None else f"from {least} to {most}"
    more = "" if example is None else f" Example: {example}."

    def parse(text: str) -> int:
        if text.isdecimal() and len(text) <= _MOST_DIGITS:
            number = int(text)
            if least <= number and (most is None or number <= most):
                return number
        fault = f"must be a whole number {bounds}, got {text!r}"
        raise argparse.ArgumentTypeError(f"{fault}.{more}" if more else fault)

    return parse


def fraction(text: str) -> float:
    """Parse a number from 0 to 1."""
    value = _number(text)
    if 0 <= value <= 1:
        return value
    raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}. Example: 0.02.")


def not_negative(text: str) -> float:
    """Parse a number from 0 up, which is finite."""
    value = _number(text)
    if 0 <= value < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"must be a number from 0 up, got {text!r}")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")  # which is in no range
