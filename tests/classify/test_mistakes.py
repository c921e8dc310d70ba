from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from tinysight.classify.mistakes import (
    FEWEST_SHOWN_A_CLASS,
    ConfusedPair,
    choose_gallery,
    confident_mistakes,
    count_confusions,
    most_confused_pairs,
    order_by_confusion,
    rank_classes,
    unsure_hits,
)


def guesses_for(seed: int, images: int, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, classes, images)
    guesses = np.where(rng.random(images) < 0.5, targets, rng.integers(0, classes, images))
    return targets, guesses, rng.uniform(0.3, 1, images).astype(np.float32)


def test_confusions_are_counted_as_scikit_learn_does() -> None:
    targets, guesses, _ = guesses_for(0, 500, 7)
    expected = confusion_matrix(targets, guesses, labels=range(9))
    np.testing.assert_array_equal(count_confusions(targets, guesses, 9), expected)


def test_confused_pairs_are_counted_and_sorted() -> None:
    counts = np.array([[5, 3, 0], [3, 1, 6], [0, 0, 0]])
    assert most_confused_pairs(counts) == (
        ConfusedPair(target=1, predicted=2, images=6, share=0.6),
        ConfusedPair(target=0, predicted=1, images=3, share=0.375),
        ConfusedPair(target=1, predicted=0, images=3, share=0.3),
    )
    assert len(most_confused_pairs(counts, most=1)) == 1


@pytest.mark.parametrize("counts", [np.zeros((3, 3), np.int64), 4 * np.eye(3, dtype=np.int64)])
def test_without_mistakes_there_is_no_pair_and_the_order_stays(counts: np.ndarray) -> None:
    assert most_confused_pairs(counts) == ()
    assert order_by_confusion(counts) == (0, 1, 2)


def test_groups_of_confused_classes_stand_together() -> None:
    rng = np.random.default_rng(0)
    group_of = rng.permutation(np.repeat(np.arange(5), 4))
    rates = np.where(group_of[:, None] == group_of, 8, 0) + 90 * np.eye(20, dtype=np.int64)
    counts = rates + rng.integers(0, 2, (20, 20))
    ordered = group_of[list(order_by_confusion(counts))]
    assert len(list(itertools.groupby(ordered))) == 5


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12))
def test_the_order_holds_every_class_once_and_is_always_the_same(seed: int, classes: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 5, (classes, classes))
    order = order_by_confusion(counts)
    assert sorted(order) == list(range(classes))
    assert order == order_by_confusion(counts.copy())


def test_the_order_brings_confusions_nearer_to_the_diagonal() -> None:
    targets, guesses, _ = guesses_for(1, 4000, 30)
    scramble = np.random.default_rng(2).permutation(30)
    # Classes are taken for the next one, but their indices are scrambled.
    guesses = np.where(guesses == targets, targets, (targets + 1) % 30)
    counts = count_confusions(scramble[targets], scramble[guesses], 30)

    def distance(order: tuple[int, ...]) -> float:
        ordered = counts[np.ix_(order, order)]
        rows, columns = np.indices(ordered.shape)
        return float((ordered * abs(rows - columns)).sum())

    assert distance(order_by_confusion(counts)) < 0.3 * distance(tuple(range(30)))


def test_classes_are_ranked_by_recall_and_those_without_images_left_out() -> None:
    counts = np.array([[1, 1, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0], [0, 3, 0, 3]])
    assert rank_classes(counts) == (1, 0, 3)


def test_confident_mistakes_and_unsure_hits_by_hand() -> None:
    targets = np.array([0, 0, 1, 1, 2, 2])
    guesses = np.array([1, 0, 1, 0, 0, 2])
    confidence = np.array([0.5, 0.9, 0.4, 0.8, 0.8, 0.4], np.float32)
    assert confident_mistakes(targets, guesses, confidence).tolist() == [3, 4, 0]
    assert confident_mistakes(targets, guesses, confidence, most=1).tolist() == [3]
    assert unsure_hits(targets, guesses, confidence).tolist() == [2, 5, 1]


def test_the_gallery_shows_the_most_confident_mistakes_of_every_class() -> None:
    targets, guesses, confidence = guesses_for(3, 2000, 10)
    gallery = choose_gallery(targets, guesses, confidence, 10, others={}, most_mistakes=200)
    shown = {row for row, why in zip(gallery.rows, gallery.reasons, strict=True)
             if "mistake" in why}  # fmt: skip
    for class_index in range(10):
        rows = np.flatnonzero((targets == class_index) & (guesses != targets))
        best = rows[np.argsort(-confidence[rows], kind="stable")][:20]
        assert shown.issuperset(best.tolist())
    assert gallery.mistakes_of == (targets != guesses).sum()
    assert gallery.mistakes_shown == len(shown)
    assert 200 <= len(shown) <= 225


def test_every_image_of_the_gallery_says_why_it_is_there() -> None:
    targets, guesses, confidence = guesses_for(4, 300, 5)
    others = {"label issue": np.array([1, 2]), "duplicate": np.array([2, 299])}
    gallery = choose_gallery(targets, guesses, confidence, 5, others=others, most_mistakes=50)
    why = dict(zip(gallery.rows.tolist(), gallery.reasons, strict=True))
    assert list(why) == sorted(why)
    assert all(why.values())
    assert why[2][-2:] == ("label issue", "duplicate")
    assert "duplicate" in why[299]
    for row, reasons in why.items():
        assert ("mistake" in reasons) == (targets[row] != guesses[row])
    assert sum("confident mistake" in reasons for reasons in why.values()) == 25
    assert sum("unsure hit" in reasons for reasons in why.values()) == 25


def test_many_classes_show_at_least_a_few_mistakes_each() -> None:
    targets, guesses, confidence = guesses_for(5, 3000, 100)
    gallery = choose_gallery(targets, guesses, confidence, 100, others={}, most_mistakes=100)
    shown = targets[gallery.rows[(guesses != targets)[gallery.rows]]]
    wrong = np.bincount(targets[guesses != targets], minlength=100)
    assert (np.bincount(shown, minlength=100) >= np.minimum(wrong, FEWEST_SHOWN_A_CLASS)).all()


def test_a_gallery_without_mistakes_shows_the_unsure_hits() -> None:
    targets = np.zeros(30, np.int64)
    confidence = np.linspace(0.5, 1, 30, dtype=np.float32)
    gallery = choose_gallery(targets, targets, confidence, 2, others={})
    assert gallery.rows.tolist() == list(range(25))
    assert set(gallery.reasons) == {("unsure hit",)}
    assert gallery.mistakes_shown == gallery.mistakes_of == 0
