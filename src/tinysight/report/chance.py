"""What chance alone would change in an accuracy, and in the difference of two.

Test images are a draw from all images of their kind: that draw is the only chance meant here.
Networks that were tested on the same images share it. So what tells them apart are the images that
only one of them recognises, and a difference is surer than two separate intervals make believe.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_Z = 1.959963984540054  # 95 % of a normal distribution lie within so many deviations

Interval = tuple[float, float]


def accuracy_interval(accuracy: float, images: int) -> Interval:
    """Return the interval that covers the accuracy on all images of the kind in 95 % of draws.

    Unlike plus and minus two standard errors it also holds near 0 and 1 and for few images.

    Args:
        accuracy: Share that was recognised, in [0, 1].
        images: Test images, at least 1.

    Returns:
        Lower and upper limit, in [0, 1].

    Source:
        Wilson 1927, Probable Inference, the Law of Succession, and Statistical Inference.
    """
    spread = _Z * math.sqrt(accuracy * (1 - accuracy) / images + (_Z / (2 * images)) ** 2)
    middle, scale = accuracy + _Z**2 / (2 * images), 1 + _Z**2 / images
    # Where none or all are right the limit is exact, which the arithmetic just misses.
    low = 0.0 if accuracy == 0 else (middle - spread) / scale
    return low, 1.0 if accuracy == 1 else (middle + spread) / scale


@dataclass(frozen=True)
class PairedHits:
    """Two networks on the same test images.

    Attributes:
        images: Test images, at least 1.
        only_first: Those that only the first one recognises.
        only_second: Those that only the second one recognises.
    """

    images: int
    only_first: int
    only_second: int

    @property
    def lead(self) -> float:
        """Accuracy of the second one less that of the first."""
        return (self.only_second - self.only_first) / self.images

    @property
    def lead_interval(self) -> Interval:
        """The interval that covers the lead on all images of the kind in 95 % of draws.

        Source:
            Agresti & Min 2005, Simple improved confidence intervals for comparing matched
            proportions: as the normal interval of half an image more of each kind, recognised by
            both, by none, by either one alone.
        """
        images, uneven = self.images + 2, self.only_first + self.only_second + 1
        difference = self.only_second - self.only_first
        middle = difference / images
        spread = _Z * math.sqrt(uneven - difference**2 / images) / images
        return max(-1.0, middle - spread), min(1.0, middle + spread)

    @property
    def chance(self) -> float:
        """How often two equally good networks are at least so uneven, in (0, 1].

        Source:
            McNemar 1947, Note on the sampling error of the difference between correlated
            proportions; exact and two-sided.
        """
        uneven = self.only_first + self.only_second
        # Whole numbers are exact, where powers of a half of so many images are no floats any more.
        ways = total = 1
        for count in range(min(self.only_first, self.only_second)):
            ways = ways * (uneven - count) // (count + 1)
            total += ways
        # A chance too small for a float is still one, and must not read as none.
        return max(sys.float_info.min, min(1.0, 2 * total / (1 << uneven)))


def pair_hits(first: Mapping[str, bool], second: Mapping[str, bool]) -> PairedHits | None:
    """Count the test images that only one of two networks recognises.

    Args:
        first: Whether the first network recognises an image, by sample id.
        second: The same of the second one.

    Returns:
        The counts, or None where the images are not the same, or there are none.
    """
    if not first or first.keys() != second.keys():
        return None
    return PairedHits(
        images=len(first),
        only_first=sum(hit and not second[name] for name, hit in first.items()),
        only_second=sum(hit and not first[name] for name, hit in second.items()),
    )
