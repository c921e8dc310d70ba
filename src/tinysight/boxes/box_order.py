"""What the four numbers of a box mean: their order, their unit and the first pixel.

Files disagree, and some say nothing. The test is geometric: read in the right order, boxes lie
inside their images; in a wrong one many leave them or have no size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tinysight.errors import DataError
from tinysight.numerals import counted, percent

Layout = Literal["xywh", "yxwh", "xyxy", "yxyx", "cxcywh"]
Unit = Literal["px", "rel"]

LAYOUTS: tuple[Layout, ...] = get_args(Layout)

EDGE_TOLERANCE_PX = 0.05
"""A box may reach this far over an edge: rounding of files that keep few digits."""
LEAST_SIDE_PX = 1e-3
"""A box with a shorter side has no size."""
LARGEST_SIDE_PX = 1e9
"""No image has so many pixels a side; larger numbers would only overflow later."""

_LARGEST_FRACTION = 1.001
_FEWEST_BOXES_TO_OVERRULE = 20
_LARGEST_SHARE_TO_OVERRULE = 0.8
_LEAST_LEAD_BOXES = 5
_LEAST_SHARE_OF_WINNER = 0.9
_LEAST_ODDS_OF_WINNER = 4
_FEWEST_BOXES_AT_EDGE = 5
_LEAST_ODDS_OF_EDGE = 2
_MOST_BOXES_TESTED = 100_000
_BOXES_PER_STRAY = 1000


@dataclass(frozen=True)
class BoxOrder:
    """How four numbers name a box."""

    layout: Layout
    """x, y: left and top corner; second x, y: right and bottom corner; cx, cy: centre; w, h: size.
    """
    unit: Unit = "px"
    """Pixels, or fractions of the width and height of the image."""
    first_pixel: Literal[0, 1] = 0
    """The number of the left and top pixel of an image."""
    includes_last: bool = False
    """Whether right and bottom name the last pixel within the box, so that its width is right -
    left + 1 (Pascal VOC), and not the edge."""

    def __str__(self) -> str:
        marks = [":rel"] if self.unit == "rel" else []
        marks += [":1"] if self.first_pixel else [":last"] if self.includes_last else []
        return self.layout + "".join(marks)

    def describe(self) -> str:
        """Return the order in words."""
        words = {
            "xywh": "left, top, width, height",
            "yxwh": "top, left, width, height",
            "xyxy": "left, top, right, bottom",
            "yxyx": "top, left, bottom, right",
            "cxcywh": "centre x, centre y, width, height",
        }[self.layout]
        unit = "fractions of the image" if self.unit == "rel" else "pixels"
        first = ", counted from 1" if self.first_pixel else ""
        last = ", the last pixel included" if self.includes_last else ""
        return f"{words} in {unit}{first}{last}"


@dataclass(frozen=True)
class OrderDecision:
    """The order that is used and why."""

    order: BoxOrder
    basis: Literal["asked", "declared", "measured", "overruled", "untested"]
    """Asked for by the caller; declared by the format and not contradicted; measured, because the
    format says nothing; overruled, because the declared one is clearly wrong; untested, because no
    box has four numbers and an image of known size."""
    shares_inside: tuple[tuple[BoxOrder, float], ...] = ()
    """Share of the tested boxes that lie inside their images, by order, best first."""
    boxes_tested: int = 0
    declared: BoxOrder | None = None
    is_last_pixel_open: bool = False
    """Whether right and bottom, which are used as edges, may as well name the last pixel: they are
    whole, and no box is known to reach the far edge of its image."""
    is_any_readable: bool = True
    """Whether there is a box with four numbers."""
    share_if_turned: float | None = None
    """Share of the tested boxes that lie inside by the declared order when width and height of
    each image are swapped; None where these do not look swapped."""

    @property
    def are_pixels_measured(self) -> bool:
        """Whether the declared layout is used, but not the declared way to count pixels."""
        is_declared = self.declared is not None and self.basis in ("declared", "untested")
        return is_declared and self.order != self.declared

    def reason(self) -> str:
        """Return in words why the order is used."""
        if self.are_pixels_measured:
            return (
                "the layout as the file declares, the count of pixels measured by boxes at the "
                f"edges (--box-order {self.declared} if that is wrong)"
            )
        if self.basis == "untested" and self.is_last_pixel_open:
            return (
                "not tested, no image size is known, so that right and bottom may be edges or name "
                f"the last pixel (--box-order {self.order}:last if they do; --images DIR or "
                "--image-size WxH to find out)"
            )
        if self.basis == "untested" and not self.is_any_readable:
            return "not tested, as there is no box with four numbers"
        return {
            "asked": "as asked for",
            "declared": "as the file declares",
            "measured": "measured, the file does not say",
            "overruled": "measured, against what the file declares",
            "untested": "not tested, no image size is known",
        }[self.basis]


def parse_box_order(text: str) -> BoxOrder:
    """Return the order that a text such as ``xywh``, ``xyxy:1`` or ``cxcywh:rel`` names.

    ``:1`` counts pixels from 1; right and bottom then name the last pixel of the box, as in Pascal
    VOC. ``:last`` does so with pixels counted from 0.

    Raises:
        DataError: The text names none.
    """
    named = {str(order): order for order in _all_orders()}
    order = named.get(text.strip().lower())
    if order is None:
        raise DataError(
            f"--box-order: must be one of {', '.join(LAYOUTS)}, with :rel for fractions of the "
            f"image, :1 for pixels counted from 1 (not for cxcywh) or, after corners, :last for "
            f"corners that name the last pixel of the box; got {text!r}. Examples: xywh, xyxy:1, "
            f"cxcywh:rel."
        )
    return order


def _all_orders() -> Iterator[BoxOrder]:
    for layout in LAYOUTS:
        has_corners = layout in ("xyxy", "yxyx")
        yield BoxOrder(layout)
        yield BoxOrder(layout, "rel")
        if layout != "cxcywh":
            yield BoxOrder(layout, "px", 1, has_corners)
        if has_corners:
            yield BoxOrder(layout, "px", 0, True)


def to_xywh_px(
    numbers: NDArray[np.float64], order: BoxOrder, wh_px: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Convert boxes to left, top, width, height in pixels.

    Args:
        numbers: (n, 4) boxes in ``order``.
        order: What the numbers mean.
        wh_px: (n, 2) width, height of each box's image; only needed for fractions.

    Returns:
        (n, 4) float64. NaN where a number is, or where a fraction has no known image size.
    """
    # Numbers near the largest overflow to infinity, which no image holds: judged later.
    with np.errstate(over="ignore", invalid="ignore"):
        first, second = numbers[:, :2], numbers[:, 2:]
        if order.layout in ("yxwh", "yxyx"):
            first = first[:, ::-1]
        if order.layout == "yxyx":
            second = second[:, ::-1]
        if order.layout in ("xyxy", "yxyx"):
            second = second - first + order.includes_last
        if order.layout == "cxcywh":
            first = first - second / 2
        xywh = np.concatenate([first - order.first_pixel, second], axis=1)
        if order.unit == "rel":
            xywh *= np.concatenate([wh_px, wh_px], axis=1)
    return xywh


def is_inside(
    xywh_px: NDArray[np.float64], wh_px: NDArray[np.float64], tolerance_px: float
) -> NDArray[np.bool_]:
    """(n,) whether each box has a size and lies in its image; False where a number is NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        begins = (xywh_px[:, :2] >= -tolerance_px).all(axis=1)
        ends = (xywh_px[:, :2] + xywh_px[:, 2:] <= wh_px + tolerance_px).all(axis=1)
        has_size = (xywh_px[:, 2:] >= LEAST_SIDE_PX).all(axis=1)
    return np.asarray(begins & ends & has_size)


def decide_box_order(
    numbers: NDArray[np.float64],
    wh_px: NDArray[np.float64],
    *,
    declared: BoxOrder | None,
    asked: BoxOrder | None,
    is_first_pixel_open: bool,
    are_axes_named: bool = False,
    where: str,
) -> OrderDecision:
    """Find what the four numbers of a file mean.

    Every candidate order is tested by the share of boxes that lie inside their images; of more than
    a hundred thousand boxes, that many evenly spread ones are tested. What the
    format declares is kept unless it is clearly wrong; where the format declares nothing, only a
    clear winner is used. Sizes of images that were stated with width and height swapped, as before
    a picture was turned upright, are told from a wrong order where they can be.

    Args:
        numbers: (n, 4) the numbers as the file has them, NaN where one is missing.
        wh_px: (n, 2) width, height of each box's image in pixels, NaN where unknown.
        declared: The order the format or its column names state; None where they state none.
        asked: The order the caller asks for; nothing overrules it.
        is_first_pixel_open: Whether the format leaves open if pixels count from 0 or from 1.
        are_axes_named: Whether each number has a name that says of which axis it is: x is then
            never taken for y.
        where: Name of the file, for messages.

    Raises:
        DataError: Nothing is declared or asked for, and no order clearly fits.
    """
    if len(numbers) > _MOST_BOXES_TESTED:
        # Evenly spread, so that every part of a file has its say.
        spread = np.linspace(0, len(numbers) - 1, _MOST_BOXES_TESTED).astype(np.int64)
        numbers, wh_px = numbers[spread], wh_px[spread]
    is_readable = np.isfinite(numbers).all(axis=1)
    readable, readable_wh = numbers[is_readable], wh_px[is_readable]
    unit = _unit_of(readable, readable_wh, declared)
    is_tested = is_readable & (np.isfinite(wh_px).all(axis=1) | (unit == "rel"))
    tested, tested_wh = numbers[is_tested], wh_px[is_tested]
    if unit == "rel":
        # Fractions need no size to be tested: every image spans 0 to 1, here a thousand pixels.
        tested_wh = np.full_like(tested_wh, 1000.0)
    # A file counted from another first pixel must not look misread.
    tolerance_px = EDGE_TOLERANCE_PX + (1.0 if is_first_pixel_open else 0.0)
    fixed = declared if are_axes_named else None
    candidates = [order for order in _candidates(unit, declared) if _has_axes_of(order, fixed)]
    shares = _shares_inside(tested, tested_wh, unit, candidates, tolerance_px)
    num_tested = len(tested)

    def decision(
        order: BoxOrder, basis: Literal["declared", "measured", "overruled", "untested"]
    ) -> OrderDecision:
        # Boxes that begin at pixel 0 need no image size to tell that pixels count from it.
        if is_first_pixel_open and order.unit == "px":
            order = _with_first_pixel(readable, order, readable_wh)
        is_open = is_first_pixel_open and _is_last_pixel_open(readable, order, readable_wh)
        return OrderDecision(order, basis, shares, num_tested, declared, is_open, len(readable) > 0)

    if asked is not None:
        return OrderDecision(asked, "asked", shares, num_tested, declared)
    if num_tested == 0:
        if declared is None:
            if len(readable) == 0:
                return OrderDecision(BoxOrder("xywh"), "untested", is_any_readable=False)
            raise DataError(
                f"{where}: the order of the four numbers of a box must be known, and without "
                f"image sizes it cannot be tested. Pass --box-order ({', '.join(LAYOUTS)}), or "
                f"--images DIR or --image-size WxH."
            )
        return decision(declared, "untested")
    best, best_share = shares[0]
    is_clear = _is_clear_winner(shares, num_tested)
    if declared is None:
        if not is_clear:
            raise DataError(
                f"{where}: the order of the four numbers of a box must be clear, but of "
                f"{counted(num_tested, 'box', 'boxes')} {_ranking(shares)} lie inside their "
                f"images. Pass --box-order with the one that is meant."
            )
        return decision(best, "measured")
    declared_share = dict(shares).get(declared, 0.0)
    in_unit = BoxOrder(declared.layout, unit)
    is_other_unit = unit != declared.unit and dict(shares)[in_unit] >= _LEAST_SHARE_OF_WINNER
    if is_other_unit and not is_clear:
        # In fractions little tells x from y; where only the unit is wrong, the layout stays.
        best, is_clear = in_unit, True
    is_overruled = (
        num_tested >= _FEWEST_BOXES_TO_OVERRULE
        and declared_share <= _LARGEST_SHARE_TO_OVERRULE
        and is_clear
    )
    if is_overruled:
        return decision(best, "overruled")
    found = decision(declared, "declared")
    if num_tested >= _FEWEST_BOXES_TO_OVERRULE and unit == declared.unit == "px":
        turned_wh = tested_wh[:, ::-1]
        ((_, turned_share),) = _shares_inside(tested, turned_wh, unit, [declared], tolerance_px)
        if (
            declared_share <= _LARGEST_SHARE_TO_OVERRULE
            and turned_share >= max(best_share, _LEAST_SHARE_OF_WINNER)
            and (1 - turned_share) * _LEAST_ODDS_OF_WINNER <= 1 - declared_share
        ):
            return replace(found, share_if_turned=turned_share)
    return found


def is_doubtful(decision: OrderDecision) -> bool:
    """Whether a declared order is used though few boxes fit it and another order fits more."""
    if decision.basis != "declared" or decision.declared is None or not decision.shares_inside:
        return False
    if decision.share_if_turned is not None:
        return False
    share = dict(decision.shares_inside).get(decision.declared, 0.0)
    return share <= _LARGEST_SHARE_TO_OVERRULE and decision.shares_inside[0][1] > share


def _unit_of(
    readable: NDArray[np.float64], wh_px: NDArray[np.float64], declared: BoxOrder | None
) -> Unit:
    """Fractions are at most 1, and not all whole; pixels mostly are above."""
    if len(readable) == 0:
        return declared.unit if declared else "px"
    largest = np.abs(readable).max(axis=1)
    share_of_fractions = float((largest <= _LARGEST_FRACTION).mean())
    if declared is not None and declared.unit == "rel":
        has_enough = len(readable) >= _FEWEST_BOXES_TO_OVERRULE
        return "px" if has_enough and share_of_fractions < 0.5 and largest.max() > 2 else "rel"
    is_whole = bool((readable == np.round(readable)).all())
    if declared is not None and len(readable) < _FEWEST_BOXES_TO_OVERRULE:
        return "px"
    return "rel" if share_of_fractions > 0.98 and not is_whole else "px"


def _candidates(unit: Unit, declared: BoxOrder | None) -> Iterator[BoxOrder]:
    if declared is not None:
        yield declared
    for layout in LAYOUTS:
        if declared is None or (layout, unit) != (declared.layout, declared.unit):
            yield BoxOrder(layout, unit)


def _has_axes_of(order: BoxOrder, fixed: BoxOrder | None) -> bool:
    """Whether x and y come in the order of another one, if there is one."""
    return fixed is None or order.layout.startswith("y") == fixed.layout.startswith("y")


def _shares_inside(
    numbers: NDArray[np.float64],
    wh_px: NDArray[np.float64],
    unit: Unit,
    candidates: Sequence[BoxOrder],
    tolerance_px: float,
) -> tuple[tuple[BoxOrder, float], ...]:
    if len(numbers) == 0:
        return ()
    shares = []
    for order in candidates:
        if order.unit == unit:
            xywh_px = to_xywh_px(numbers, order, wh_px)
            shares.append((order, float(is_inside(xywh_px, wh_px, tolerance_px).mean())))
        else:
            shares.append((order, 0.0))
    return tuple(sorted(shares, key=lambda share: -share[1]))


def _is_clear_winner(shares: tuple[tuple[BoxOrder, float], ...], num_tested: int) -> bool:
    """Whether the best order leaves far fewer boxes outside than any other."""
    best, second = shares[0][1], shares[1][1] if len(shares) > 1 else 0.0
    return (
        best >= _LEAST_SHARE_OF_WINNER
        and (best - second) * num_tested >= _LEAST_LEAD_BOXES
        and (1 - best) * _LEAST_ODDS_OF_WINNER <= 1 - second
    )


def _ranking(shares: tuple[tuple[BoxOrder, float], ...]) -> str:
    return ", ".join(f"{percent(share)} as {order}" for order, share in shares[:3])


def _with_first_pixel(
    numbers: NDArray[np.float64], order: BoxOrder, wh_px: NDArray[np.float64]
) -> BoxOrder:
    """Find by the boxes at the edges of their images how pixels are counted.

    Boxes that reach an edge betray it: their left and top are 0 or 1, their right and bottom the
    size of the image or one less. Objects are cut off there, so that many more boxes end at an edge
    than a pixel before it; where they do not, no edge is seen and nothing is changed. A box that
    begins before pixel 0 is outside however pixels are counted, and says nothing.

    Args:
        numbers: (n, 4) boxes in ``order``.
        order: Their order, in pixels.
        wh_px: (n, 2) width, height of each box's image, NaN where unknown.
    """
    if order.layout not in ("xyxy", "yxyx"):
        return order
    counted_from_one = replace(order, first_pixel=1, includes_last=True)
    corners = to_xywh_px(numbers, replace(order, first_pixel=0, includes_last=False), wh_px)
    begin, end = corners[:, :2], corners[:, :2] + corners[:, 2:]
    num_at_zero = int(((begin > -1) & (begin < 1)).any(axis=1).sum())
    begins = [int((begin == px).any(axis=1).sum()) for px in (1, 2)]
    if order.first_pixel == 1:
        are_few = num_at_zero <= len(numbers) / _BOXES_PER_STRAY or (
            _is_edge(begins[0], num_at_zero) and _is_edge(*begins)
        )
        return order if are_few else replace(order, first_pixel=0, includes_last=False)
    ends = [int((end == wh_px - px).any(axis=1).sum()) for px in (0, 1, 2)]
    if num_at_zero == 0 and _is_edge(*begins) and _is_edge(*ends[:2]):
        return counted_from_one
    num_past = int(((end > wh_px - 1) & (end <= wh_px)).any(axis=1).sum())
    if num_past == 0 and num_at_zero >= _FEWEST_BOXES_AT_EDGE and _is_edge(*ends[1:]):
        return replace(order, includes_last=True)
    return order


def _is_last_pixel_open(
    numbers: NDArray[np.float64], order: BoxOrder, wh_px: NDArray[np.float64]
) -> bool:
    """Whether nothing tells if right and bottom, read as edges, name the last pixel instead."""
    if order.layout not in ("xyxy", "yxyx") or order.unit == "rel" or order.includes_last:
        return False
    xywh_px = to_xywh_px(numbers, order, wh_px)
    with np.errstate(over="ignore", invalid="ignore"):
        reaches_edge = (xywh_px[:, :2] + xywh_px[:, 2:] > wh_px - 1).any()
    return len(numbers) > 0 and not reaches_edge and bool((numbers == np.round(numbers)).all())


def _is_edge(num_here: int, num_within: int) -> bool:
    """Whether so many more boxes end at a pixel than a pixel further in that it is an edge."""
    return num_here >= max(_FEWEST_BOXES_AT_EDGE, _LEAST_ODDS_OF_EDGE * num_within)
