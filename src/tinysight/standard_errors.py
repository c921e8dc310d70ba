"""The chance in a share that is measured on so many images."""

from __future__ import annotations

import math

CHANCE_STANDARD_ERRORS = 3.0
"""What is at most so many standard errors from chance, or from another value, may be chance: with
three, one comparison in several hundred is called wrongly."""
IMAGE_LOSS_SPREAD = 1.0
"""About the standard deviation of the loss among images; the mean over n of them, which an epoch
reports, has the n-th part of its variance."""


def standard_error(share: float, images: int) -> float:
    """Return the standard deviation of a share that is measured on so many images.

    It is ``sqrt(p (1 - p) / n)`` of the binomial distribution: what another draw of test images
    would change. Two networks on the same images differ by less than two such draws would.

    Args:
        share: A share p in [0, 1].
        images: How many images n it was measured on, at least 1.
    """
    return math.sqrt(share * (1 - share) / images)


def estimated_standard_error(share: float, images: int) -> float:
    """Return the standard error of a share that is known from these images alone.

    One right and one wrong answer are counted in addition: without them a share of 0 or 1 would
    pass for certain, however few images it was measured on.

    Args:
        share: Share of right answers, in [0, 1].
        images: How many images it was measured on, at least 1.
    """
    return standard_error((share * images + 1) / (images + 2), images)


def highest_share(share: float, images: int) -> float:
    """Return the highest true share that a measured one leaves possible.

    Args:
        share: The measured share, in [0, 1].
        images: How many images it was measured on, at least 1.

    Source:
        Upper limit of the score interval of Wilson 1927, Probable Inference, the Law of
        Succession, and Statistical Inference (doi:10.1080/01621459.1927.10502953).
    """
    squared = CHANCE_STANDARD_ERRORS**2
    spread = math.sqrt(share * (1 - share) / images + squared / (4 * images**2))
    middle = share + squared / (2 * images)
    return (middle + CHANCE_STANDARD_ERRORS * spread) / (1 + squared / images)
