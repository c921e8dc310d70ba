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
