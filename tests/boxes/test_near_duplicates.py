from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.boxes.tables import draw_table, make_table
from tinysight.boxes import near_duplicates as module
from tinysight.boxes.near_duplicates import RepeatCounts, count_repeats, find_near_duplicates
from tinysight.boxes.table import BoxTable


def brute_force(table: BoxTable, least: float) -> list[tuple[int, int]]:
    found = []
    for a in range(table.num_boxes):
        for b in range(a + 1, table.num_boxes):
            if table.image_index[a] != table.image_index[b]:
                continue
            if table.is_crowd[a] or table.is_crowd[b]:
                continue
            (x, y, w, h), (u, v, s, t) = table.xywh_px[a], table.xywh_px[b]
            wide = max(0.0, min(x + w, u + s) - max(x, u))
            high = max(0.0, min(y + h, v + t) - max(y, v))
            if wide * high / (w * h + s * t - wide * high) >= least:
                found.append((a, b))
    return found


def test_no_box_and_one_box_have_no_twin() -> None:
    assert not len(find_near_duplicates(make_table()).first)
    assert not len(find_near_duplicates(make_table([(0, 0, 1, 1, 5, 5)])).first)


def test_a_pair_names_both_rows_its_overlap_and_whether_the_class_is_one() -> None:
    table = make_table(
        [
            (0, 1, 10, 10, 100, 50),
            (0, 0, 0, 0, 9, 9),
            (0, 1, 10, 10, 100, 50),
            (0, 0, 10, 10, 98, 50),
        ]
    )
    twins = find_near_duplicates(table)
    assert list(zip(twins.first.tolist(), twins.second.tolist(), strict=True)) == [
        (0, 2),
        (0, 3),
        (2, 3),
    ]
    assert twins.iou == pytest.approx([1.0, 0.98, 0.98])
    assert twins.is_same_class.tolist() == [True, False, False]
    assert not twins.is_cut
    assert count_repeats(table) == RepeatCounts(repeated=1, relabelled=1)


@pytest.mark.parametrize("many", [1, 10, 500])
@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_pairs(
    seed: int, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MANY_BOXES", many)
    rng = np.random.default_rng(seed)
    sides = rng.integers(1, 3, (200, 2)) * 50
    kinds = zip(*rng.integers(0, 3, (4, 200)).tolist(), *sides.T.tolist(), strict=True)
    table = make_table(list(kinds), image_wh=[(200, 200)] * 3, classes="abc", crowd=[0, 7])
    twins = find_near_duplicates(table)
    repeated, relabelled = (
        len(np.unique(twins.second[chosen]))
        for chosen in (twins.is_same_class, ~twins.is_same_class)
    )
    assert min(repeated, relabelled) > 50
    assert count_repeats(table) == RepeatCounts(repeated, relabelled)


def test_a_list_of_pairs_has_an_end_and_says_so() -> None:
    table = make_table([(0, 0, 5, 5, 20, 20)] * 5)
    whole, cut = (find_near_duplicates(table, most=most) for most in (10, 9))
    assert (len(whole.first), whole.is_cut) == (10, False)
    assert (len(cut.first), cut.is_cut) == (9, True)


def test_thousands_of_equal_boxes_take_little_memory() -> None:
    table = make_table([(0, 0, 5, 5, 20, 20)] * 20_000)
    tracemalloc.start()
    try:
        assert count_repeats(table).repeated == 19_999
        assert find_near_duplicates(table).is_cut
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_equal_boxes_of_two_images_are_no_twins() -> None:
    boxes = [(0, 0, 1, 1, 5, 5), (1, 0, 1, 1, 5, 5)]
    assert not len(find_near_duplicates(make_table(boxes, image_wh=[(9, 9)] * 2)).first)


def test_crowd_boxes_have_no_twins() -> None:
    boxes = [(0, 0, 1, 1, 5, 5), (0, 0, 1, 1, 5, 5)]
    assert not len(find_near_duplicates(make_table(boxes, crowd=[1])).first)


@pytest.mark.parametrize("least", [0.3, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_pairs_are_those_that_brute_force_finds(seed: int, least: float) -> None:
    table = draw_table(seed, boxes=150, images=12)
    twins = find_near_duplicates(table, least)
    found = list(zip(twins.first.tolist(), twins.second.tolist(), strict=True))
    assert found == brute_force(table, least)
    assert len(found) >= 5  # the drawn table has copies


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1), st.just(0), *[st.integers(0, 3)] * 2, *[st.integers(1, 4)] * 2
        ),
        max_size=12,
    )
)
def test_small_whole_boxes_are_compared_exactly(boxes: list[tuple[int, ...]]) -> None:
    table = make_table(boxes, image_wh=[(9, 9)] * 2)  # type: ignore[arg-type]
    twins = find_near_duplicates(table, 0.5)
    assert list(zip(twins.first.tolist(), twins.second.tolist(), strict=True)) == brute_force(
        table, 0.5
    )


def test_far_corners_do_not_blur_the_search() -> None:
    boxes = [(0, 0, 1e9, 0, 10, 10), (0, 0, 1e9 + 0.25, 0, 10, 10), (0, 0, -1e9, 0, 10, 10)]
    twins = find_near_duplicates(make_table(boxes))
    assert (twins.first.tolist(), twins.second.tolist()) == ([0], [1])


def test_many_equal_boxes_in_one_image_are_all_found() -> None:
    table = make_table([(0, 0, 5, 5, 20, 20)] * 60)
    twins = find_near_duplicates(table)
    assert len(twins.first) == 60 * 59 // 2
    assert count_repeats(table).repeated == 59
    assert np.array_equal(twins.iou, np.ones(60 * 59 // 2))
