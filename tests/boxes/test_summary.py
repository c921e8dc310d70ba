from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tests.boxes.tables import (
    COCO_VAL,
    VOC_TEST,
    VOC_TRAINVAL,
    assert_same_bits,
    draw_table,
    make_table,
    real_table,
    rename_classes,
    take_images,
)
from tinysight.boxes import summary as module
from tinysight.boxes.summary import ClassCount, merge_summaries, summarize_boxes
from tinysight.boxes.table import BoxTable


@pytest.fixture
def two_images() -> BoxTable:
    """Three dogs and a cat on two images, a third image empty, a class without boxes."""
    return make_table(
        [
            (0, 1, 0, 0, 10, 20),
            (0, 1, 50, 50, 50, 50),
            (0, 0, 0, 0, 100, 100),
            (1, 1, 0, 0, 200, 100),
        ],
        image_wh=[(100, 100), (200, 100), (64, 64)],
        classes=("cat", "dog", "fish"),
    )


def test_nothing_at_all_can_be_summed_up() -> None:
    found = summarize_boxes(make_table(image_wh=(), classes=()))
    assert (found.images, found.boxes, found.images_without_boxes) == (0, 0, 0)
    assert found.sizes == {"small": 0, "medium": 0, "large": 0}
    assert (found.classes, found.imbalance, found.evenness) == ((), None, None)
    assert (found.boxes_per_image, found.median_boxes_per_image()) == (0.0, 0)
    assert found.cooccurrence().shape == (0, 0)


def test_images_without_boxes_are_counted() -> None:
    found = summarize_boxes(make_table(image_wh=[(9, 9)] * 3))
    assert (found.images, found.images_without_boxes) == (3, 3)
    assert found.images_by_num_boxes.tolist() == [3]
    assert found.imbalance is None


def test_classes_are_sorted_by_their_boxes(two_images: BoxTable) -> None:
    found = summarize_boxes(two_images)
    assert found.classes == (
        ClassCount("dog", 3, 2, {"small": 1, "medium": 1, "large": 1}),
        ClassCount("cat", 1, 1, {"small": 0, "medium": 0, "large": 1}),
        ClassCount("fish", 0, 0, {"small": 0, "medium": 0, "large": 0}),
    )
    assert found.imbalance == 3.0


def test_evenness_is_one_for_equal_classes_and_nought_for_a_single_one() -> None:
    boxes = [(0, owner, 0, 0, 5, 5) for owner in (0, 1, 0, 1)]
    assert summarize_boxes(make_table(boxes)).evenness == pytest.approx(1.0)
    assert summarize_boxes(make_table(boxes[::2])).evenness == pytest.approx(0.0)


def test_boxes_of_an_image_are_counted(two_images: BoxTable) -> None:
    found = summarize_boxes(two_images)
    assert found.images_by_num_boxes.tolist() == [1, 1, 0, 1]
    assert found.images_without_boxes == 1
    assert found.boxes_per_image == pytest.approx(4 / 3)
    assert found.median_boxes_per_image() == 1


def test_classes_that_share_an_image_meet_once_an_image(two_images: BoxTable) -> None:
    found = summarize_boxes(two_images)
    assert found.cooccurrence().tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert found.images_by_class.tolist() == [1, 2, 0]


def test_meetings_of_chosen_classes_are_in_their_order(two_images: BoxTable) -> None:
    found = summarize_boxes(two_images)
    assert found.cooccurrence(np.array([1, 0])).tolist() == [[2, 1], [1, 1]]
    assert found.cooccurrence(np.array([2, 1])).tolist() == [[0, 0], [0, 2]]
    assert found.cooccurrence(np.array([], dtype=int)).shape == (0, 0)


def test_extremes_are_exact(two_images: BoxTable) -> None:
    found = summarize_boxes(two_images)
    assert found.least_wh_px.tolist() == [10, 20]
    assert found.greatest_wh_px.tolist() == [200, 100]


def test_an_image_of_unknown_size_is_left_out_of_positions_only() -> None:
    boxes = [(0, 0, 0, 0, 10, 10), (1, 0, 0, 0, 10, 10)]
    found = summarize_boxes(make_table(boxes, image_wh=[(20, 20), (np.nan, np.nan)]))
    assert found.images_of_unknown_size == 1
    assert (found.boxes, found.wh_px.sum(), found.size_by_class.sum()) == (2, 2, 2)
    assert (found.centres.sum(), found.wh_rel.sum(), found.width_rel_by_class.sum()) == (1, 1, 1)


@pytest.mark.parametrize("seed", range(4))
def test_every_distribution_holds_every_box(seed: int) -> None:
    table = draw_table(seed)
    found = summarize_boxes(table)
    counts = np.bincount(table.class_index, minlength=5)
    for name in ("size", "aspect", "width", "height", "width_rel", "height_rel"):
        assert getattr(found, f"{name}_by_class").sum(axis=1).tolist() == counts.tolist(), name
    assert found.boxes_by_class.tolist() == counts.tolist()
    for grid in (found.wh_px, found.wh_rel, found.centres):
        assert grid.sum() == table.num_boxes
    assert (found.images_by_num_boxes * np.arange(len(found.images_by_num_boxes))).sum() == 400
    assert found.crowd_boxes == 11
    assert found.repeated_boxes >= 30


@pytest.mark.parametrize("seed", range(3))
def test_pairs_of_classes_are_those_of_a_plain_count(seed: int) -> None:
    table = draw_table(seed)
    expected = np.zeros((5, 5), dtype=int)
    for image in range(table.num_images):
        for a, b in itertools.product(set(table.class_index[table.image_index == image]), repeat=2):
            expected[a, b] += 1
    assert summarize_boxes(table).cooccurrence().tolist() == expected.tolist()


def test_the_commonest_pairs_come_first() -> None:
    boxes = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 0), (2, 2), (3, 1), (3, 2)]
    rows = [(*who, 1.0, 1.0, 5.0, 5.0) for who in boxes]
    found = summarize_boxes(make_table(rows, image_wh=[(9, 9)] * 4, classes="abc"))
    pairs = found.pair_classes[found.commonest_pairs(2)].tolist()
    assert (pairs, found.num_meetings) == ([[1, 2], [0, 2]], 3)


def test_of_an_image_of_very_many_classes_no_pairs_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = draw_table(1)
    whole = summarize_boxes(table)
    assert (whole.images_of_many_classes, whole.note_on_pairs) == (0, "")
    monkeypatch.setattr(module, "MOST_MEETING", 4)
    found = summarize_boxes(table)
    classes_of = [set(table.class_index[table.image_index == image]) for image in range(60)]
    wide = [image for image in range(60) if len(classes_of[image]) > 4]
    assert found.images_of_many_classes == len(wide) > 2
    assert found.note_on_pairs == (
        f"{len(wide)} images of more than 4 classes are left out of the pairs of classes."
    )
    rest = summarize_boxes(take_images(table, sorted({*range(60)} - {*wide})))
    rows, rest_rows = found.commonest_pairs(99), rest.commonest_pairs(99)
    assert found.pair_classes[rows].tolist() == rest.pair_classes[rest_rows].tolist()
    assert found.pair_images[rows].tolist() == rest.pair_images[rest_rows].tolist()
    assert found.images_by_class.tolist() == whole.images_by_class.tolist()


def test_pairs_are_the_same_when_counted_in_small_parts_and_by_sorting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = draw_table(1)
    whole = summarize_boxes(table)
    monkeypatch.setattr(module, "_MOST_PAIRS", 3)
    monkeypatch.setattr(module, "_MOST_DENSE", 1)
    assert_same_bits(summarize_boxes(table), whole)


@pytest.mark.parametrize("seed", range(5))
def test_parts_add_up_to_the_whole_in_any_order_and_grouping(seed: int) -> None:
    table = draw_table(seed)
    shuffled = random.Random(seed).sample(range(60), 60)
    cuts = [0, 1, 13, 14, 40, 60]
    parts = [
        summarize_boxes(take_images(table, shuffled[start:stop]))
        for start, stop in itertools.pairwise(cuts)
    ]
    whole = summarize_boxes(table)
    for order in itertools.islice(itertools.permutations(parts), 0, 120, 17):
        assert_same_bits(merge_summaries(*order), whole)
        left = merge_summaries(*order[:2])
        right = merge_summaries(*order[2:])
        assert_same_bits(merge_summaries(right, left), whole)


def test_classes_listed_in_another_order_are_matched_by_name() -> None:
    table = draw_table(3)
    parts = [take_images(table, range(start, start + 20)) for start in (0, 20, 40)]
    orders = [(4, 0, 3, 1, 2), (0, 1, 2, 3, 4), (3, 4, 0, 1, 2)]
    mixed = [
        summarize_boxes(rename_classes(part, order))
        for part, order in zip(parts, orders, strict=True)
    ]
    for order in itertools.permutations(mixed):
        assert_same_bits(merge_summaries(*order), summarize_boxes(table))


def test_a_class_that_one_part_lacks_is_added() -> None:
    one = summarize_boxes(make_table([(0, 0, 0, 0, 5, 5)], classes=["zebra"]))
    other = summarize_boxes(make_table([(0, 0, 0, 0, 5, 5)] * 2, classes=["ape"]))
    merged = merge_summaries(one, other)
    assert merged.class_names == ("ape", "zebra")
    assert merged.boxes_by_class.tolist() == [2, 1]
    assert merged.cooccurrence().tolist() == [[1, 0], [0, 1]]
    assert_same_bits(merge_summaries(other, one), merged)


def test_one_order_of_classes_in_all_parts_is_kept() -> None:
    table = make_table([(0, 0, 0, 0, 5, 5)], classes=["zebra", "ape"])
    merged = merge_summaries(summarize_boxes(table), summarize_boxes(table))
    assert merged.class_names == ("zebra", "ape")


def test_two_classes_of_one_name_stay_two() -> None:
    table = make_table([(0, 0, 0, 0, 5, 5), (0, 1, 9, 9, 5, 5)], classes=["ape", "ape"])
    other = make_table([(0, 0, 0, 0, 5, 5)], classes=["zebra"])
    merged = merge_summaries(summarize_boxes(table), summarize_boxes(other))
    assert merged.class_names == ("ape", "ape", "zebra")
    assert merged.boxes_by_class.tolist() == [1, 1, 1]
    assert merged.cooccurrence().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_an_empty_part_changes_nothing() -> None:
    table = draw_table(2)
    empty = summarize_boxes(take_images(table, []))
    assert_same_bits(merge_summaries(empty, summarize_boxes(table)), summarize_boxes(table))


def test_the_real_coco_val_has_its_official_counts() -> None:
    found = summarize_boxes(real_table(COCO_VAL))
    assert (found.images, found.boxes, found.images_without_boxes) == (5000, 36781, 48)
    assert found.sizes == {"small": 11473, "medium": 24298 - 11473, "large": 36781 - 24298}
    first = found.classes[:3]
    assert [(entry.name, entry.boxes) for entry in first] == [
        ("person", 11004),
        ("car", 1932),
        ("chair", 1791),
    ]
    assert first[0].images == 2693


def test_the_real_voc_parts_add_up() -> None:
    parts = [summarize_boxes(real_table(name)) for name in (VOC_TRAINVAL, VOC_TEST)]
    merged = merge_summaries(*parts)
    assert (merged.images, merged.boxes, merged.images_without_boxes) == (9963, 30638, 0)
    assert merged.classes[0].name == "person"
    assert merged.classes[0].boxes == 10674
