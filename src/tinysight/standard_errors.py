"""The chance in a share that is measured on so many images."""

from __future__ import annotations

import math

CHANCE_STANDARD_ERRORS = 3.0
"""What is at most so many standard errors from chance, or from another value, may be chance: with
three, one comparison in several hundred is called wrongly."""


def standard_error(share: float, images: int) -> float:
    """Return the standard deviation of a share that is measured on so many images.

    It is ``sqrt(p (1 - p) / n)`` of the binomial distribution: what another draw of test images
    would change. Two networks on the same images differ by less than two such draws would.

    Args:
        share: A share p in [0, 1].
        images: How many images n it was measured on, at least 1.
    """
    return math.sqrt(share * (1 - share) / images)
