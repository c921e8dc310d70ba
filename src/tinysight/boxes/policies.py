"""What becomes of a defective box under each policy.

    defect                                       keep      clip      drop      strict
    lossless: a number or id written as text,
      an id of another type, no id               repaired  repaired  repaired  fault
    harmless: an id used before                  accepted  accepted  accepted  fault
    overhang: reaches over an edge of its image  accepted  repaired  rejected  fault
    outside: no part of it is in its image       accepted  rejected  rejected  fault
    orphan: its image or category is not listed  accepted  rejected  rejected  fault
    unusable: not four finite numbers, or a
      width or height that is not above 0        rejected  rejected  rejected  fault

``clip``, the default, cuts an overhanging box at the edges of its image. ``strict`` accepts a file
without defects and raises for any other. A box with several defects meets the hardest outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tinysight.boxes.box_order import (
    EDGE_TOLERANCE_PX,
    LARGEST_SIDE_PX,
    LEAST_SIDE_PX,
    BoxOrder,
    OrderDecision,
    is_doubtful,
    is_inside,
    to_xywh_px,
)
from tinysight.boxes.findings import Action, FindingGroup, Findings, whole_file_finding
from tinysight.boxes.records import Mark, RawBoxes, Severity
from tinysight.errors import DataError
from tinysight.numerals import counted, percent

Policy = Literal["keep", "clip", "drop", "strict"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

_LEAST_PIXEL = 1.5  # boxes whose numbers are all smaller are hardly in pixels
_LARGEST_FRACTION = 2.0  # boxes of a detector reach over the edges

_ACCEPTED, _REPAIRED, _REJECTED = range(3)

# The table above. Strict reads as keep does and raises afterwards.
_OUTCOMES: dict[Severity, tuple[Action, Action, Action]] = {
    "lossless": ("repaired", "repaired", "repaired"),
    "harmless": ("accepted", "accepted", "accepted"),
    "overhang": ("accepted", "repaired", "rejected"),
    "outside": ("accepted", "rejected", "rejected"),
    "orphan": ("accepted", "rejected", "rejected"),
    "unusable": ("rejected", "rejected", "rejected"),
}
_RANK: dict[Action, int] = {"accepted": _ACCEPTED, "repaired": _REPAIRED, "rejected": _REJECTED}
_DONE: dict[Action, str] = {
    "accepted": "Kept as it is.",
    "repaired": "Repaired.",
    "rejected": "Left out.",
}
_DONE_FOR_ANOTHER: dict[Action, str] = {
    "repaired": "Repaired for another defect.",
    "rejected": "Left out for another defect.",
}


@dataclass(frozen=True)
class Judgement:
    """What became of each record of one source."""

    xywh_px: NDArray[np.float64]
    """(n, 4); meaningless where rejected."""
    is_kept: NDArray[np.bool_]
    is_repaired: NDArray[np.bool_]
    """(n,) kept after a change."""
    findings: Findings


def outcome_of(severity: Severity, policy: Policy) -> Action:
    """Return what becomes of a box with a defect; ``strict`` reads as ``keep`` does."""
    column = {"keep": 0, "clip": 1, "drop": 2, "strict": 0}[policy]
    return _OUTCOMES[severity][column]


def judge_boxes(raw: RawBoxes, decision: OrderDecision, policy: Policy) -> Judgement:
    """Decide for every record whether it is accepted, repaired or rejected, and say why.

    Raises:
        DataError: The policy is strict and there is a finding.
    """
    num_records = len(raw.numbers)
    outcome = np.zeros(num_records, np.int8)
    groups = list(raw.notes)
    wh_px = raw.image_wh_px[raw.image_index]
    xywh_px = to_xywh_px(raw.numbers, decision.order, wh_px)
    last_pixel_mark = _last_pixel_mark(raw, decision)
    if last_pixel_mark is not None:
        groups.append(last_pixel_mark)
    order_mark = _order_mark(raw, decision)
    if order_mark is not None:
        groups.append(order_mark)
        if order_mark.action == "repaired":
            outcome[:] = _REPAIRED
    else:
        groups += _unit_mark(raw, decision)
    marks = [*raw.marks, *_geometry_marks(raw, decision, xywh_px, wh_px)]
    for mark in marks:
        action = outcome_of(mark.severity, policy)
        # The rows of a mark are distinct.
        outcome[mark.rows] = np.maximum(outcome[mark.rows], _RANK[action])
    for mark in marks:
        own = outcome_of(mark.severity, policy)
        for final, rank in _RANK.items():
            places = np.flatnonzero(outcome[mark.rows] == rank)
            if len(places):
                groups.append(_group_of(mark.at(places), raw, own, final))
    findings = Findings(tuple(group for group in groups if len(group)))
    if policy == "strict" and len(findings):
        raise DataError(_strict_message(raw, findings))
    if policy == "clip":
        for mark in marks:
            if mark.severity == "overhang":
                xywh_px = _cut(xywh_px, wh_px, mark.rows)
    return Judgement(xywh_px, outcome != _REJECTED, outcome == _REPAIRED, findings)


def _geometry_marks(
    raw: RawBoxes,
    decision: OrderDecision,
    xywh_px: NDArray[np.float64],
    wh_px: NDArray[np.float64],
) -> list[Mark]:
    """Find the boxes without size, outside or partly outside their images."""
    is_sound = _is_sound(xywh_px, wh_px)
    is_sound |= np.isnan(raw.numbers[:, 0])
    for mark in raw.marks:
        if mark.severity == "unusable":
            is_sound[mark.rows] = True
    suspects = np.flatnonzero(~is_sound)
    box, image = xywh_px[suspects], wh_px[suspects]
    is_open = np.ones(len(suspects), np.bool_)
    marks = []

    def take(selected: NDArray[np.bool_], kind: str, severity: Severity, message: str) -> None:
        """Mark the selected suspects, each of which has one defect only."""
        found = np.flatnonzero(selected & is_open)
        if len(found):
            is_open[found] = False
            values = (*box[found].T, *image[found].T)
            marks.append(Mark(kind, severity, message, suspects[found], values))

    has_wh = np.isfinite(image[:, 0]) & np.isfinite(image[:, 1])
    if decision.order.unit == "rel":
        take(
            ~has_wh,
            "no_image_size",
            "unusable",
            "a box in fractions needs the size of its image, which is not known; "
            "pass --images DIR or --image-size WxH.",
        )
    with np.errstate(invalid="ignore", over="ignore"):
        side = box[:, 2:].min(axis=1)
        seen_wh = np.minimum(box[:, :2] + box[:, 2:], image) - np.maximum(box[:, :2], 0)
        # Written so that NaN, which numbers near the largest become, counts as too large.
        is_huge = ~(np.abs(box).max(axis=1) <= LARGEST_SIDE_PX)
        is_unseen = has_wh & (seen_wh.min(axis=1) < LEAST_SIDE_PX)
        is_over_edge = has_wh & ~is_inside(box, image, EDGE_TOLERANCE_PX)
    size = "width and height must be > 0 pixels, got {2} x {3}."
    least = f"width and height must be at least {LEAST_SIDE_PX:g} pixels, got {{2}} x {{3}}."
    place = "left {0}, top {1}, width {2}, height {3}"
    take(
        is_huge,
        "number_too_large",
        "unusable",
        f"numbers must be at most {LARGEST_SIDE_PX:,.0f} pixels, got {place}.",
    )
    take(side <= -LEAST_SIDE_PX, "negative_size", "unusable", size)
    take(side <= 0, "zero_size", "unusable", size)
    take(side < LEAST_SIDE_PX, "zero_size", "unusable", least)
    place += " in an image of {4} x {5} pixels"
    take(
        is_unseen,
        "outside_image",
        "outside",
        f"a box must lie in its image, but no part of it does: {place}.",
    )
    take(
        is_over_edge,
        "over_edge",
        "overhang",
        f"a box must lie in its image, but it reaches over an edge: {place}.",
    )
    return marks


def _is_sound(xywh_px: NDArray[np.float64], wh_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) whether a box has a size and lies in its image, which nearly all do; False for NaN."""
    left, top, width, height = np.ascontiguousarray(xywh_px.T)
    image_width, image_height = np.ascontiguousarray(wh_px.T)
    with np.errstate(invalid="ignore", over="ignore"):
        is_sound = (width >= LEAST_SIDE_PX) & (height >= LEAST_SIDE_PX)
        is_sound &= (left >= -EDGE_TOLERANCE_PX) & (top >= -EDGE_TOLERANCE_PX)
        is_sound &= left + width <= image_width + EDGE_TOLERANCE_PX
        is_sound &= top + height <= image_height + EDGE_TOLERANCE_PX
    return np.asarray(is_sound)


def _cut(
    xywh_px: NDArray[np.float64], wh_px: NDArray[np.float64], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the boxes with the given ones cut at the edges of their images."""
    cut = xywh_px.copy()
    begin = np.maximum(xywh_px[rows, :2], 0)
    end = np.minimum(xywh_px[rows, :2] + xywh_px[rows, 2:], wh_px[rows])
    cut[rows, :2] = begin
    cut[rows, 2:] = end - begin
    return cut


def _order_mark(raw: RawBoxes, decision: OrderDecision) -> FindingGroup | None:
    """Say it where the order of the numbers is not what the format declares."""
    if decision.declared is None or not decision.shares_inside:
        return None
    shares = dict(decision.shares_inside)
    declared_share = shares.get(decision.declared, 0.0)
    best, best_share = decision.shares_inside[0]
    measured = (
        f"of {counted(decision.boxes_tested, 'box', 'boxes')} {percent(declared_share)} lie inside "
        f"their images as {decision.declared}, which {raw.format} declares, and "
        f"{percent(best_share)} as {best}"
    )
    if decision.basis == "overruled":
        message = (
            f"the numbers of a box must be in the declared order, but {measured}. Read as "
            f"{decision.order}; pass --box-order {decision.declared} if that is wrong."
        )
        return whole_file_finding("box_order", "repaired", raw.where, message)
    if decision.share_if_turned is not None:
        message = (
            f"width and height of an image must be those of the picture as its boxes have it, but "
            f"of {counted(decision.boxes_tested, 'box', 'boxes')} {percent(declared_share)} lie "
            f"inside their images, and {percent(decision.share_if_turned)} if width and height are "
            f"swapped, as where they were stated before a picture was turned upright. Used as "
            f"stated; swap them in the file, or pass --policy keep so that no box is cut."
        )
        return whole_file_finding("image_sizes_swapped", "accepted", raw.where, message)
    if is_doubtful(decision):
        message = (
            f"the numbers of a box must be in the declared order, but {measured}. Read as "
            f"declared; pass --box-order {best} if that is wrong."
        )
        return whole_file_finding("box_order_doubtful", "accepted", raw.where, message)
    return None


def _unit_mark(raw: RawBoxes, decision: OrderDecision) -> list[FindingGroup]:
    """Say it where the numbers of few boxes are in another unit than the format declares."""
    order = decision.order
    numbers = raw.numbers[np.isfinite(raw.numbers).all(axis=1)]
    if decision.declared is None or decision.basis == "asked" or len(numbers) == 0:
        return []
    largest = np.abs(numbers).max(axis=1)
    boxes = counted(len(numbers), "box", "boxes")
    num_large = int((largest > _LARGEST_FRACTION).sum())
    if order.unit == "rel" and 2 * num_large > len(numbers):
        has = "has" if num_large == 1 else "have"
        must = "fractions of the image"
        found = f"of {boxes} {num_large:,} {has} one above {_LARGEST_FRACTION:g}"
        other = BoxOrder(order.layout)
    elif order.unit == "px" and _are_small_fractions(numbers):
        must = "in pixels"
        found = f"of {boxes} none has one from {_LEAST_PIXEL:g} up, and not all are whole"
        other = BoxOrder(order.layout, "rel")
    else:
        return []
    message = (
        f"the numbers of a box must be {must}, but {found}. Read as declared; pass --box-order "
        f"{other} if that is wrong."
    )
    return [whole_file_finding("box_unit_doubtful", "accepted", raw.where, message)]


def _are_small_fractions(numbers: NDArray[np.float64]) -> bool:
    is_small = bool((np.abs(numbers) < _LEAST_PIXEL).all())
    return is_small and not bool((numbers == np.round(numbers)).all())


def _last_pixel_mark(raw: RawBoxes, decision: OrderDecision) -> FindingGroup | None:
    """Say it where boxes without size may be a pixel wide, as right and bottom may name a pixel."""
    if not decision.is_last_pixel_open:
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        sides = raw.numbers[:, 2:] - raw.numbers[:, :2]
        num_flat = int((sides.min(axis=1) == 0).sum())
    if num_flat == 0:
        return None
    message = (
        f"right and bottom must be edges, but they may name the last pixel: "
        f"{counted(num_flat, 'box', 'boxes')} of {len(sides):,} would then be a pixel wide or high "
        f"and not without size, and no box is known to reach an edge, which would tell. Read as "
        f"edges; pass --box-order {decision.order}:last if that is wrong, or --images DIR or "
        f"--image-size WxH to find out."
    )
    return whole_file_finding("last_pixel_doubtful", "accepted", raw.where, message)


def _group_of(mark: Mark, raw: RawBoxes, own: Action, final: Action) -> FindingGroup:
    """Return the findings of a mark which asks for one outcome, of records that had another."""
    if own != final:
        done = _DONE_FOR_ANOTHER[final]
    elif mark.severity == "overhang" and own == "repaired":
        done = "Cut at the edge."
    else:
        done = _DONE[own]
    return FindingGroup(
        kind=mark.kind,
        action=final,
        message=f"{mark.message} {done}",
        files=raw.files,
        file_index=raw.file_index[mark.rows],
        record_format=raw.record_format,
        positions=raw.positions[mark.rows],
        ids=None if raw.ids is None else raw.ids[mark.rows],
        values=mark.values,
    )


def _strict_message(raw: RawBoxes, findings: Findings) -> str:
    kinds = ", ".join(f"{count.count:,} {count.kind}" for count in findings.by_kind())
    return (
        f"{raw.where}: with the policy strict there must be no finding, got {len(findings):,} "
        f"({kinds}). The first: {findings[0]} See them all with `tinysight boxes check`, or "
        f"choose the policy keep, clip or drop."
    )
