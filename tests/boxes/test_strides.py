from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.boxes.presets import PRESETS
from tinysight.boxes.strides import assign_strides, group_levels, level_by_size
from tinysight.errors import DataError

YOLOV3 = PRESETS["yolov3"].anchors_wh_px
RNG = np.random.default_rng(0)
BOXES = np.exp(RNG.normal(4, 1.2, (2000, 2)))


def test_equal_groups_of_yolov3_are_those_of_its_authors() -> None:
    found = assign_strides(YOLOV3[::-1])
    assert [level.stride_px for level in found.levels] == [8, 16, 32]
    for level, expected in zip(found.levels, PRESETS["yolov3"].levels_wh_px, strict=True):
        assert sorted(map(tuple, level.anchors_wh_px)) == sorted(map(tuple, expected))
    assert found.masks == ((0, 1, 2), (3, 4, 5), (6, 7, 8))
    assert found.warnings == ()


def test_by_size_the_limits_are_thirty_and_sixty_pixels() -> None:
    anchors = [(29, 29), (30, 30), (59, 59), (60, 60), (300, 300)]
    found = assign_strides(anchors, rule="size")
    assert [len(level.anchors_wh_px) for level in found.levels] == [1, 2, 2]
    assert found.masks == ((0,), (1, 2), (3, 4))


@given(
    st.lists(st.tuples(st.floats(1, 900), st.floats(1, 900)), min_size=1, max_size=12),
    st.sampled_from([(8, 16, 32), (16, 32), (8, 16, 32, 64), (32,)]),
)
def test_by_size_every_anchor_is_on_one_level_and_small_ones_on_fine_levels(
    anchors: list[tuple[float, float]], strides: tuple[int, ...]
) -> None:
    found = assign_strides(anchors, strides, rule="size")
    assert sorted(map(tuple, found.anchors_wh_px.tolist())) == sorted(map(tuple, anchors))
    assert sorted(sum(found.masks, ())) == list(range(len(anchors)))
    areas = [level.anchors_wh_px.prod(axis=1) for level in found.levels if len(level.anchors_wh_px)]
    for fine, coarse in pairwise(areas):
        assert fine.max() <= coarse.min()


def test_an_empty_level_is_warned_of() -> None:
    found = assign_strides([(100, 100), (200, 200)], rule="size")
    assert found.warnings == (
        "The level of stride 8 has no anchor and would learn nothing. Use equal groups, other "
        "strides, or a detector with fewer levels.",
        "The level of stride 16 has no anchor and would learn nothing. Use equal groups, other "
        "strides, or a detector with fewer levels.",
    )
    assert found.masks == ((), (), (0, 1))


def test_a_level_that_no_box_prefers_is_warned_of() -> None:
    found = assign_strides([(10, 10), (50, 50), (400, 400)], boxes_wh_px=[(12, 12)] * 5)
    assert [level.coverage.boxes for level in found.levels if level.coverage] == [5, 0, 0]
    assert found.warnings[0] == (
        "No box has its best anchor on the level of stride 16: it would learn nothing. Use fewer "
        "levels or fit the anchors again."
    )
    assert len(found.warnings) == 2


def test_a_level_with_few_boxes_is_warned_of() -> None:
    boxes = [(12, 12)] * 500 + [(50, 50)] * 500 + [(400, 400)]
    found = assign_strides([(10, 10), (50, 50), (400, 400)], boxes_wh_px=boxes)
    assert found.warnings == (
        "Only 1 of 1,001 boxes (0.1 %) has its best anchor on the level of stride 32: it would "
        "learn from few.",
    )


def test_many_boxes_below_one_cell_are_warned_of() -> None:
    found = assign_strides([(10, 10)], (8,), boxes_wh_px=[(4, 4), (12, 12)])
    assert found.warnings == (
        "1 of 2 boxes (50 %) is smaller than one cell of the finest level (8 px) in both sides: "
        "several may fall into one cell. Use a larger input or a finer level.",
    )


def test_an_anchor_too_large_for_its_level_is_warned_of() -> None:
    found = assign_strides([(124, 324), (341, 465), (544, 585)])  # the dogs' three
    assert found.warnings[0] == (
        "On the level of stride 8 an anchor should span at most 12 cells (96 px), got 124 x 324: "
        "so fine a level sees too little of the image for it. Use a smaller input or coarser "
        "strides."
    )
    assert len(found.warnings) == 2  # the coarsest level takes whatever is large
    assert assign_strides([(95, 95), (191, 191), (600, 600)]).warnings == ()
    (only,) = assign_strides([(100, 100), (120, 120), (150, 150), (160, 160)], (8, 16)).warnings
    assert "got 100 x 100, 120 x 120:" in only  # one warning a level


def test_levels_in_reverse_are_warned_of() -> None:
    levels = PRESETS["yolov3"].levels_wh_px[::-1]
    found = group_levels(levels, (8, 16, 32))
    assert found.warnings[0] == (
        "The anchors of stride 8 are larger than those of stride 16: their order is reversed. "
        "Small anchors belong on the finer level."
    )
    assert "stride 16 are larger than those of stride 32" in found.warnings[1]


def test_coverage_counts_the_boxes_whose_best_anchor_is_on_the_level() -> None:
    found = assign_strides(YOLOV3, boxes_wh_px=BOXES)
    both = np.minimum(BOXES[:, None], YOLOV3).prod(axis=2)
    iou = both / (BOXES.prod(axis=1)[:, None] + YOLOV3.prod(axis=1) - both)
    owner = iou.argmax(axis=1) // 3
    for index, level in enumerate(found.levels):
        assert level.coverage is not None
        assert level.coverage.boxes == (owner == index).sum()
        assert level.coverage.share == pytest.approx((owner == index).mean())
        assert level.coverage.mean_best_iou == pytest.approx(iou.max(axis=1)[owner == index].mean())
        assert level.coverage.boxes_by_size == (level_by_size(BOXES, (8, 16, 32)) == index).sum()
    assert sum(level.coverage.boxes for level in found.levels if level.coverage) == len(BOXES)


def test_no_box_gives_a_coverage_of_nought() -> None:
    found = assign_strides(YOLOV3, boxes_wh_px=np.zeros((0, 2)))
    assert [level.coverage.share for level in found.levels if level.coverage] == [0, 0, 0]
    assert found.warnings == ()


def test_anchors_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(DataError, match=r"4 anchors cannot be divided evenly over 3 levels \(stri"):
        assign_strides(YOLOV3[:4])


@pytest.mark.parametrize("strides", [(), (16, 8), (8, 8), (0, 8)])
def test_strides_that_do_not_rise_are_refused(strides: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"`strides` must be whole pixels from 1 up, each larger"):
        assign_strides(YOLOV3, strides)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(DataError, match="`rule` must be one of equal, size, got 'area'"):
        assign_strides(YOLOV3, rule="area")  # type: ignore[arg-type]


def test_each_level_needs_a_stride() -> None:
    with pytest.raises(DataError, match=r"3 levels of anchors must have one stride each, got 2"):
        group_levels(PRESETS["yolov3"].levels_wh_px, (8, 16))
