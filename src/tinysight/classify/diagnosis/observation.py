"""One finding about a run in words, and the arithmetic of chance that findings rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Severity = Literal["warning", "note", "good"]


@dataclass(frozen=True)
class Observation:
    """Something that the files of a run show.

    Attributes:
        kind: What was looked at and found, a short name that stays the same over versions.
        severity: ``warning``: accuracy is being lost; ``note``: worth knowing; ``good``: as it
            should be.
        sentence: What was found, with the figures behind it; plain text.
        advice: What to try next, naming settings of the recipe (``table.key=value``, as ``--set``
            takes them) or commands; empty where there is nothing to do.
    """

    kind: str
    severity: Severity
    sentence: str
    advice: str = ""


def standard_error(share: float, images: int) -> float:
    """Return the standard deviation of a share that is measured on so many images.

    It is ``sqrt(p (1 - p) / n)`` of the binomial distribution: what another draw of test images
    would change. Two networks on the same images differ by less than two such draws would.

    Args:
        share: A share p in [0, 1].
        images: How many images n it was measured on, at least 1.
    """
    return math.sqrt(share * (1 - share) / images)


def percent(share: float) -> str:
    """Return a share as a percentage; only a share of exactly 0 or 1 reads 0.0 % or 100.0 %."""
    rounded = round(100 * share, 1)
    if share != round(share) and rounded in (0.0, 100.0):
        return "below 0.1 %" if rounded == 0.0 else "over 99.9 %"
    return f"{rounded:.1f} %"


def in_points(difference: float) -> str:
    """Return the size of a difference between two shares in percentage points."""
    return f"{abs(100 * difference):.1f} points"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as ``1 class`` or ``1,200 classes``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
