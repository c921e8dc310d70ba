from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.real_data import real_file
from tinysight.boxes.box_order import (
    LAYOUTS,
    BoxOrder,
    OrderDecision,
    decide_box_order,
    is_doubtful,
    is_inside,
    parse_box_order,
    to_xywh_px,
)
from tinysight.boxes.reading import read_boxes
from tinysight.errors import DataError

Boxes = NDArray[np.float64]


def drawn(count: int, seed: int = 0) -> tuple[Boxes, Boxes]:
    """Random xywh boxes within random images, and the sizes of those."""
    rng = np.random.default_rng(seed)
    wh = rng.integers(200, 900, (count, 2)).astype(np.float64)
    left_top = np.floor(rng.random((count, 2)) * wh * 0.8)
    size = np.floor((wh - left_top) * rng.uniform(0.3, 1, (count, 2))).clip(1)
    return np.concatenate([left_top, size], axis=1), wh


def written(xywh: Boxes, order: BoxOrder, wh: Boxes) -> Boxes:
    """Write boxes in an order, box by box: the inverse of to_xywh_px in plain Python."""
    rows = []
    for (x, y, w, h), (image_w, image_h) in zip(xywh.tolist(), wh.tolist(), strict=True):
        if order.unit == "rel":
            x, w, y, h = x / image_w, w / image_w, y / image_h, h / image_h
        first = order.first_pixel
        last = 1 if order.includes_last else 0
        rows.append(
            {
                "xywh": (x + first, y + first, w, h),
                "yxwh": (y + first, x + first, w, h),
                "xyxy": (x + first, y + first, x + first + w - last, y + first + h - last),
                "yxyx": (y + first, x + first, y + first + h - last, x + first + w - last),
                "cxcywh": (x + w / 2 + first, y + h / 2 + first, w, h),
            }[order.layout]
        )
    return np.array(rows, np.float64).reshape(-1, 4)


def decide(numbers: Boxes, wh: Boxes, declared: str | None = None, **over: object) -> OrderDecision:
    return decide_box_order(
        numbers,
        wh,
        declared=None if declared is None else parse_box_order(declared),
        asked=None,
        is_first_pixel_open=bool(over.get("is_open", False)),
        are_axes_named=bool(over.get("are_axes_named", False)),
        where="boxes.txt",
    )


ORDERS = [
    "xywh", "yxwh", "xyxy", "yxyx", "cxcywh", "xywh:rel", "xyxy:rel", "cxcywh:rel",
    "xywh:1", "xyxy:1", "yxyx:1", "xyxy:last",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDERS)
def test_every_order_is_converted_back_to_the_box_that_was_written(text: str) -> None:
    xywh, wh = drawn(50)
    order = parse_box_order(text)
    assert str(order) == text
    np.testing.assert_allclose(to_xywh_px(written(xywh, order, wh), order, wh), xywh, atol=1e-9)


@pytest.mark.parametrize("text", [*LAYOUTS, "xywh:rel", "cxcywh:rel"])
def test_undeclared_order_is_measured(text: str) -> None:
    xywh, wh = drawn(300, seed=3)
    order = parse_box_order(text)
    decision = decide(written(xywh, order, wh), wh)
    assert decision.order == order
    assert decision.basis == "measured"
    assert decision.shares_inside[0] == (order, 1.0)


def test_plain_rows_of_sample_coco_are_y_x_w_h() -> None:
    reading = read_boxes(real_file("sample_coco.txt"))
    (decision,) = reading.decisions
    assert (str(decision.order), decision.basis) == ("yxwh", "measured")
    outside = {
        str(order): round((1 - share) * decision.boxes_tested)
        for order, share in decision.shares_inside
    }
    assert (outside["yxwh"], outside["xywh"]) == (0, 3564)
    assert (reading.boxes_read, reading.accepted, len(reading.findings)) == (10_105, 10_105, 0)
    assert reading.table.num_classes == 80


def test_doubtful_order_is_asked_for() -> None:
    # Small boxes in the middle of square images: top and left may be swapped unseen.
    numbers = np.tile([40.0, 45.0, 10.0, 12.0], (30, 1))
    wh = np.full((30, 2), 100.0)
    text = (
        "boxes.txt: the order of the four numbers of a box must be clear, but of 30 boxes 100.0 %"
    )
    with pytest.raises(DataError, match=re.escape(text)) as fault:
        decide(numbers, wh)
    assert str(fault.value).endswith("Pass --box-order with the one that is meant.")


def test_one_box_is_spoken_of_as_such() -> None:
    with pytest.raises(DataError, match=r"but of 1 box 100\.0 % as xywh, "):
        decide(np.array([[40.0, 45.0, 10.0, 12.0]]), np.full((1, 2), 100.0))


def test_corners_in_fractions_are_asked_for_as_nothing_tells_x_from_y() -> None:
    xywh, wh = drawn(300)
    with pytest.raises(DataError, match=r"100\.0 % as xyxy:rel, 100\.0 % as yxyx:rel"):
        decide(written(xywh, parse_box_order("xyxy:rel"), wh), wh)


def test_undeclared_order_without_image_sizes_is_asked_for() -> None:
    text = "without image sizes it cannot be tested. Pass --box-order (xywh, yxwh, xyxy, yxyx,"
    with pytest.raises(DataError, match=re.escape(text)):
        decide(np.array([[10.0, 20, 30, 40]]), np.full((1, 2), np.nan))


def test_declared_order_is_kept_where_others_fit_too() -> None:
    numbers = np.tile([40.0, 45.0, 10.0, 12.0], (30, 1))
    decision = decide(numbers, np.full((30, 2), 100.0), "xywh")
    assert (str(decision.order), decision.basis) == ("xywh", "declared")


@pytest.mark.parametrize("wrong", ["xyxy", "yxwh", "cxcywh:rel"])
def test_declared_order_that_is_clearly_wrong_is_overruled(wrong: str) -> None:
    xywh, wh = drawn(200, seed=5)
    decision = decide(written(xywh, parse_box_order(wrong), wh), wh, "xywh")
    assert (str(decision.order), decision.basis) == (wrong, "overruled")


def turned(count: int = 60) -> tuple[Boxes, Boxes]:
    """Boxes of upright pictures, with sizes as of pictures that lie on their sides."""
    rng = np.random.default_rng(1)
    left_top = rng.integers(0, (300, 400), (count, 2))
    size = rng.integers(100, (180, 240), (count, 2))
    xywh = np.concatenate([left_top, size], axis=1).astype(np.float64)
    return xywh, np.tile([640.0, 480.0], (count, 1))


def test_sizes_that_are_swapped_turn_no_box_whose_numbers_have_names() -> None:
    xywh, wh = turned()
    numbers = written(xywh, parse_box_order("xyxy"), wh)
    blind = decide(numbers, wh, "xyxy")
    assert (str(blind.order), blind.basis) == ("yxyx", "overruled")
    decision = decide(numbers, wh, "xyxy", are_axes_named=True)
    assert (str(decision.order), decision.basis) == ("xyxy", "declared")
    assert decision.share_if_turned == 1
    assert not is_doubtful(decision)
    assert "yxyx" not in {str(order) for order, _ in decision.shares_inside}
    upright = decide(numbers, wh[:, ::-1], "xyxy", are_axes_named=True)
    assert (str(upright.order), upright.share_if_turned) == ("xyxy", None)
    few = decide(numbers[:19], wh[:19], "xyxy", are_axes_named=True)
    assert few.share_if_turned is None


def test_names_do_not_hide_another_layout() -> None:
    xywh, wh = drawn(200, seed=5)
    numbers = written(xywh, parse_box_order("xyxy"), wh)
    decision = decide(numbers, wh, "xywh", are_axes_named=True)
    assert (str(decision.order), decision.basis) == ("xyxy", "overruled")


def test_too_few_boxes_overrule_nothing() -> None:
    xywh, wh = drawn(10, seed=5)
    decision = decide(written(xywh, parse_box_order("xyxy"), wh), wh, "xywh")
    assert (str(decision.order), decision.basis) == ("xywh", "declared")


def test_pixels_in_a_format_of_fractions_are_recognised() -> None:
    xywh, wh = drawn(100, seed=6)
    decision = decide(written(xywh, parse_box_order("cxcywh"), wh), wh, "cxcywh:rel")
    assert (str(decision.order), decision.basis) == ("cxcywh", "overruled")


@pytest.mark.parametrize("layout", ["xyxy", "yxyx"])
def test_layout_stays_where_only_the_unit_is_wrong(layout: str) -> None:
    # Fractions in the order x, y are as well inside in the order y, x: no order is a clear winner.
    xywh, wh = drawn(200, seed=6)
    numbers = written(xywh, parse_box_order(f"{layout}:rel"), wh)
    numbers[7, 2] = 625  # for 0.625
    decision = decide(numbers, wh, layout)
    assert (str(decision.order), decision.basis) == (f"{layout}:rel", "overruled")
    numbers[:20] = 300, 200, 400, 300  # pixels
    assert str(decide(numbers, wh, layout).order) == layout


def test_layout_of_few_boxes_inside_is_not_taken_in_another_unit() -> None:
    # Of all boxes 85 % are inside as corners in fractions, which is no more than by chance.
    xywh, wh = drawn(200, seed=6)
    numbers = written(xywh, parse_box_order("xyxy:rel"), wh)
    numbers[:30, :2], numbers[:30, 2:] = 0.9, 0.5
    assert str(decide(numbers, wh, "xyxy").order) == "xyxy"


@pytest.mark.parametrize(
    ("written_as", "declared", "found"),
    [
        ("xyxy:1", "xyxy:1", "xyxy:1"),
        ("xyxy", "xyxy:1", "xyxy"),
        ("xyxy:1", "xyxy", "xyxy:1"),
        ("xyxy:last", "xyxy", "xyxy:last"),
        ("xyxy", "xyxy", "xyxy"),
    ],
)
def test_first_pixel_is_found_by_boxes_at_the_edges(
    written_as: str, declared: str, found: str
) -> None:
    xywh, wh = drawn(200, seed=7)
    xywh[:20, :2] = 0  # at the left and top edge
    xywh[20:40, 2:] = wh[20:40] - xywh[20:40, :2]  # at the right and bottom edge
    decision = decide(written(xywh, parse_box_order(written_as), wh), wh, declared, is_open=True)
    assert str(decision.order) == found


def test_edges_are_needed_to_change_how_pixels_are_counted() -> None:
    # Corners rounded down reach 0 and never the far edge, but no more end a pixel before it than
    # two pixels before.
    rng = np.random.default_rng(1)
    wh = np.full((100_000, 2), (640.0, 480.0))
    size = rng.integers(2, 300, wh.shape)
    left_top = np.floor(rng.random(wh.shape) * (wh - size))
    numbers = np.concatenate([left_top, left_top + size], axis=1)
    assert numbers[:, 2].max() == 639
    decision = decide(numbers, wh, "xyxy", is_open=True)
    assert (str(decision.order), decision.are_pixels_measured) == ("xyxy", False)
    assert decision.reason() == "as the file declares"
    decision = decide(numbers + 1, wh + 1, "xyxy", is_open=True)
    assert str(decision.order) == "xyxy"
    numbers[:2000, 2] = 639  # objects that the edge cuts off
    assert str(decide(numbers, wh, "xyxy", is_open=True).order) == "xyxy:last"
    numbers[0, 2] = 639.5
    assert str(decide(numbers, wh, "xyxy", is_open=True).order) == "xyxy"


@pytest.mark.parametrize(
    ("odd", "count", "found"),
    [
        ((-2, 30, 60, 90), 10, "xyxy:1"),  # outside however pixels are counted
        ((0, 30, 60, 90), 25, "xyxy:1"),  # half as many as begin at 1, and those end at the edge
        ((0, 30, 60, 90), 26, "xyxy"),
    ],
)
def test_boxes_that_begin_at_pixel_1_are_heard_against_strays(
    odd: tuple[float, ...], count: int, found: str
) -> None:
    numbers = np.array([(1, 1, 500, 400), (10, 20, 60, 80)] * 50 + [odd] * count, np.float64)
    wh = np.tile([500.0, 400.0], (len(numbers), 1))
    assert str(decide(numbers, wh, "xyxy:1", is_open=True).order) == found
    assert str(decide(numbers, wh, "xyxy", is_open=True).order) == (
        "xyxy:1" if odd[0] < 0 else "xyxy"
    )


@pytest.mark.parametrize("known", [0, 1])
def test_boxes_that_begin_at_pixel_0_need_no_image_size_to_tell_it(known: int) -> None:
    numbers = np.array([(1.0, 1, 9, 9)] + [(0.0, 0, 50, 40)] * 4)
    wh = np.full((5, 2), np.nan)
    wh[:known] = 100
    decision = decide(numbers, wh, "xyxy:1", is_open=True)
    assert (str(decision.order), decision.boxes_tested) == ("xyxy", known)
    assert (decision.basis, decision.are_pixels_measured) == (
        "declared" if known else "untested",
        True,
    )
    assert decision.reason() == (
        "the layout as the file declares, the count of pixels measured by boxes at the edges "
        "(--box-order xyxy:1 if that is wrong)"
    )


def test_reason_says_that_the_count_of_pixels_was_measured() -> None:
    xywh, wh = drawn(200, seed=7)
    xywh[:20, :2] = 0
    xywh[20:40, 2:] = wh[20:40] - xywh[20:40, :2]
    numbers = written(xywh, parse_box_order("xyxy:last"), wh)
    decision = decide(numbers, wh, "xyxy", is_open=True)
    assert (decision.basis, decision.are_pixels_measured) == ("declared", True)
    assert decision.reason() == (
        "the layout as the file declares, the count of pixels measured by boxes at the edges "
        "(--box-order xyxy if that is wrong)"
    )


def test_reason_says_that_whole_corners_without_image_sizes_may_name_the_last_pixel() -> None:
    unknown = np.full((1, 2), np.nan)
    numbers = np.array([[3.0, 4.0, 63.0, 63.0]])
    decision = decide(numbers, unknown, "xyxy", is_open=True)
    assert (decision.basis, decision.is_last_pixel_open) == ("untested", True)
    assert decision.reason() == (
        "not tested, no image size is known, so that right and bottom may be edges or name the "
        "last pixel (--box-order xyxy:last if they do; --images DIR or --image-size WxH to find "
        "out)"
    )
    for known in (
        decide(numbers + 0.5, unknown, "xyxy", is_open=True),
        decide(numbers, unknown, "xywh", is_open=True),
        decide(numbers, unknown, "xyxy:1", is_open=True),
        decide(numbers, unknown, "xyxy"),
    ):
        assert not known.is_last_pixel_open
        assert known.reason() == "not tested, no image size is known"
    assert decide(numbers, np.array([[64.0, 64.0]]), "xyxy", is_open=True).is_last_pixel_open
    assert not decide(numbers, np.array([[63.0, 99.0]]), "xyxy", is_open=True).is_last_pixel_open


def test_asked_order_is_never_overruled() -> None:
    xywh, wh = drawn(100)
    asked = parse_box_order("yxyx")
    decision = decide_box_order(
        xywh, wh, declared=None, asked=asked, is_first_pixel_open=True, where="x"
    )
    assert (decision.order, decision.basis) == (asked, "asked")


@pytest.mark.parametrize("text", ["", "xyhw", "xywh:2", "cxcywh:1", "xywh:last", "xywh:rel:1"])
def test_unknown_order_is_refused(text: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_box_order(text)
    assert str(caught.value) == (
        "--box-order: must be one of xywh, yxwh, xyxy, yxyx, cxcywh, with :rel for fractions of "
        "the image, :1 for pixels counted from 1 (not for cxcywh) or, after corners, :last for "
        f"corners that name the last pixel of the box; got {text!r}. Examples: xywh, xyxy:1, "
        "cxcywh:rel."
    )


def test_order_is_described_in_words() -> None:
    assert BoxOrder("yxwh").describe() == "top, left, width, height in pixels"
    assert parse_box_order("xyxy:1").describe() == (
        "left, top, right, bottom in pixels, counted from 1, the last pixel included"
    )


@given(
    st.lists(
        st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 4), min_size=1, max_size=20
    ),
    st.sampled_from(ORDERS),
)
def test_no_number_makes_the_test_of_orders_fail(
    rows: list[tuple[float, ...]], declared: str
) -> None:
    numbers = np.array(rows, np.float64)
    decision = decide(numbers, np.full((len(rows), 2), 50.0), declared, is_open=True)
    xywh = to_xywh_px(numbers, decision.order, np.full((len(rows), 2), 50.0))
    assert is_inside(xywh, np.full((len(rows), 2), 50.0), 0.0).shape == (len(rows),)
