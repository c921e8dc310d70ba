from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysight.classify.split import (
    official_split,
    parse_split_rule,
    split_digest,
    stratified_split,
)
from tinysight.errors import DataError

WNIDS = ("n01", "n02", "n03")


def ids_and_targets(sizes: list[int]) -> tuple[list[str], np.ndarray]:
    ids = [f"train/{WNIDS[c]}/{n}.JPEG" for c, size in enumerate(sizes) for n in range(size)]
    return ids, np.repeat(np.arange(len(sizes)), sizes)


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("70/30", Fraction(7, 10)), ("80/20", Fraction(4, 5)), ("1/2", Fraction(1, 3))],
)
def test_two_numbers_are_read_as_shares(text: str, fraction: Fraction) -> None:
    rule = parse_split_rule(text)
    assert (rule.name, rule.train_fraction) == (text, fraction)


def test_official_has_no_fraction() -> None:
    assert parse_split_rule("official").train_fraction is None


@pytest.mark.parametrize("text", ["", "70", "0/100", "70/0", "-1/2", "0.7/0.3", "70/30/10", "all"])
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"--split \(='.*'\) must be 'official' or two whole num"):
        parse_split_rule(text)


def test_550_images_of_a_class_give_385_and_165() -> None:
    ids, targets = ids_and_targets([550, 550])
    is_train = stratified_split(ids, targets, WNIDS[:2], train_fraction=Fraction(7, 10), seed=0)
    assert np.bincount(targets[is_train]).tolist() == [385, 385]
    assert np.bincount(targets[~is_train]).tolist() == [165, 165]


def test_the_split_is_the_one_the_documentation_describes() -> None:
    ids, targets = ids_and_targets([10])
    is_train = stratified_split(ids, targets, WNIDS[:1], train_fraction=Fraction(7, 10), seed=5)
    ordered = sorted(ids, key=lambda name: hashlib.sha256(f"5:{name}".encode()).hexdigest())
    assert {name for name, trains in zip(ids, is_train, strict=True) if trains} == set(ordered[:7])


def test_the_split_stays_as_it_was_when_it_was_first_published() -> None:
    ids, targets = ids_and_targets([20, 20, 20])
    is_train = stratified_split(ids, targets, WNIDS, train_fraction=Fraction(7, 10), seed=0)
    assert split_digest(ids, is_train) == (
        "9445c5ecdb99228fea9bb2465df64b90d3e78c9ec9104d9eed1ccc185523b833"
    )


@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=3),
    numerator=st.integers(1, 9),
    seed=st.integers(-5, 10**9),
    order_seed=st.integers(0, 100),
)
def test_the_split_is_stratified_and_does_not_depend_on_the_order(
    sizes: list[int], numerator: int, seed: int, order_seed: int
) -> None:
    ids, targets = ids_and_targets(sizes)
    wnids, fraction = WNIDS[: len(sizes)], Fraction(numerator, 10)
    order = np.random.default_rng(order_seed).permutation(len(ids))
    shuffled = [ids[place] for place in order]
    if any(not 0 < round(fraction * size) < size for size in sizes):
        with pytest.raises(DataError, match="must have enough images for both parts"):
            stratified_split(ids, targets, wnids, train_fraction=fraction, seed=seed)
        return
    is_train = stratified_split(ids, targets, wnids, train_fraction=fraction, seed=seed)
    assert np.bincount(targets[is_train]).tolist() == [round(fraction * size) for size in sizes]
    other = stratified_split(shuffled, targets[order], wnids, train_fraction=fraction, seed=seed)
    np.testing.assert_array_equal(other, is_train[order])
    assert split_digest(shuffled, other) == split_digest(ids, is_train)


def test_another_seed_gives_another_split() -> None:
    ids, targets = ids_and_targets([100])
    splits = [
        stratified_split(ids, targets, WNIDS[:1], train_fraction=Fraction(1, 2), seed=seed)
        for seed in (0, 1)
    ]
    assert 25 < (splits[0] & splits[1]).sum() < 75
    assert split_digest(ids, splits[0]) != split_digest(ids, splits[1])


def test_a_class_too_small_for_the_split_is_named() -> None:
    ids, targets = ids_and_targets([10, 1])
    with pytest.raises(
        DataError,
        match=r"class 'n02': must have enough images for both parts of the split \(70% train\), "
        r"has 1: 1 to train and 0 to test. Add images or choose another --split.",
    ):
        stratified_split(ids, targets, WNIDS[:2], train_fraction=Fraction(7, 10), seed=0)


@pytest.mark.parametrize(
    ("counts", "others"),
    [
        ([10, 1, 1], "1 other class has too few as well"),
        ([1, 1, 1], "2 other classes have too few"),
    ],
)
def test_all_classes_too_small_for_the_split_are_counted(counts: list[int], others: str) -> None:
    ids, targets = ids_and_targets(counts)
    with pytest.raises(DataError, match=rf"and 0 to test\. {others}.*\. Add images or choose"):
        stratified_split(ids, targets, WNIDS[:3], train_fraction=Fraction(7, 10), seed=0)
    with pytest.raises(DataError, match=r"none to test\. 1 other class has too few as well\. Add"):
        official_split(["train", "val", "train", "train"], np.array([0, 0, 1, 2]), WNIDS[:3])


def test_official_split_tests_on_val_where_test_has_no_labels() -> None:
    is_train = official_split(["train", "val", "train", "val"], np.array([0, 0, 1, 1]), WNIDS[:2])
    assert is_train.tolist() == [True, False, True, False]


def test_official_split_tests_on_a_labelled_test_and_trains_on_val() -> None:
    is_train = official_split(["train", "val", "test"], np.array([0, 0, 0]), WNIDS[:1])
    assert is_train.tolist() == [True, True, False]


@pytest.mark.parametrize("parts", [["all", "all"], ["train", "train"], ["val", "test"]])
def test_official_split_needs_a_divided_source(parts: list[str]) -> None:
    with pytest.raises(DataError, match="--split official: the source must come with a train part"):
        official_split(parts, np.array([0, 0]), WNIDS[:1])


def test_official_split_knows_the_usual_names_of_parts() -> None:
    is_train = official_split(["Train", "validation"], np.array([0, 0]), WNIDS[:1])
    assert is_train.tolist() == [True, False]


def test_official_split_trains_on_no_part_of_another_name() -> None:
    with pytest.raises(DataError, match=r"usual names \(train, .*\), found holdout, test, train\."):
        official_split(["train", "test", "holdout"], np.array([0, 0, 0]), WNIDS[:1])


def test_official_split_names_a_class_that_one_part_lacks() -> None:
    with pytest.raises(
        DataError, match=r"class 'n02': must have images in both .* has none to test"
    ):
        official_split(["train", "train", "val"], np.array([0, 1, 0]), WNIDS[:2])


def test_digest_is_that_of_the_documented_text() -> None:
    text = "test\tb\ntrain\ta\ntrain\tc\n"
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert split_digest(["c", "b", "a"], np.array([True, False, True])) == expected
