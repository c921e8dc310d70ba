from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tinysight.classify import explanation_tables
from tinysight.classify.explanation_tables import (
    choose_shown_images,
    count_duplicates,
    duplicate_columns,
    gallery_columns,
    probs_of,
    summarize_mistakes,
)
from tinysight.classify.label_errors import LabelErrors
from tinysight.classify.metrics import softmax
from tinysight.classify.near_duplicates import DuplicatePairs
from tinysight.classify.store import Store
from tinysight.run_tables import SavedPredictions


@pytest.fixture
def predictions(store: Store) -> SavedPredictions:
    """Twelve test images of three classes; the first of each class is mistaken for the next."""
    rows = np.flatnonzero(~store.is_train)
    targets = store.targets[rows]
    top = np.stack([targets, (targets + 1) % 3, (targets + 2) % 3], axis=1)
    top[::4] = np.roll(top[::4], -1, axis=1)
    probs = np.tile(np.array([0.7, 0.2, 0.1], np.float32), (12, 1))
    probs[:, 0] += np.linspace(0, 0.05, 12, dtype=np.float32)
    at_target = np.take_along_axis(probs, (top == targets[:, None]).argmax(1)[:, None], 1)[:, 0]
    logits = np.zeros((12, 3), np.float16)
    np.put_along_axis(logits, top, np.log(probs).astype(np.float16), axis=1)
    return SavedPredictions(
        sample_ids=store.sample_ids[rows],
        targets=targets,
        top_classes=top,
        top_probs=probs,
        losses=-np.log(at_target),
        logits=logits,
    )


def pairs(rows: list[tuple[int, int]], distances: list[float]) -> DuplicatePairs:
    count = len(rows)
    return DuplicatePairs(
        rows=np.array(rows, np.int64).reshape(count, 2),
        is_identical=np.array(distances) == 0,
        is_mirrored=np.zeros(count, np.bool_),
        distances=np.array(distances, np.float32),
        found=count,
    )


def errors(places: list[int]) -> LabelErrors:
    count = len(places)
    return LabelErrors(np.array(places, np.int64), np.zeros(count, np.int64), np.zeros(count))


ALL = np.arange(12)


def test_probabilities_that_were_written_in_full_stay_as_they_are(
    predictions: SavedPredictions,
) -> None:
    two = dataclasses.replace(
        predictions,
        top_classes=predictions.top_classes[:, :2],
        top_probs=predictions.top_probs[:, :2],
    )
    probs = probs_of(two)
    images = np.arange(12)
    assert (probs[images[:, None], two.top_classes] == two.top_probs).all()
    at_target = probs[images, two.targets]
    np.testing.assert_allclose(at_target, np.exp(-two.losses.astype(np.float64)), rtol=1e-6)
    # Class 2 of image 1 is its third guess and not its label: it comes from the logits.
    assert two.top_classes[1].tolist() == [0, 1]
    assert probs[1, 2] == softmax(two.logits.astype(np.float32))[1, 2]


def test_pictures_are_of_the_gallery_the_suspects_and_both_sides_of_duplicates(
    store: Store, predictions: SavedPredictions
) -> None:
    shown = choose_shown_images(store, predictions, ALL[:6], errors([7]), pairs([(0, 5)], [0.0]))
    test_rows = np.flatnonzero(~store.is_train)
    assert shown.places.tolist() == [0, 1, 2, 3, 4, 5]
    assert shown.rows.tolist() == sorted({0, 5, *test_rows[:6].tolist(), int(test_rows[7])})
    assert shown.mistakes_shown == 2


def test_a_test_image_that_is_there_twice_is_in_the_gallery(
    store: Store, predictions: SavedPredictions
) -> None:
    test_row = int(np.flatnonzero(~store.is_train)[6])
    shown = choose_shown_images(
        store, predictions, ALL, errors([6, 2]), pairs([(0, test_row)], [0.1])
    )
    reasons = dict(zip(shown.places.tolist(), shown.reasons, strict=True))
    assert reasons[6] == ("unsure hit", "label issue", "duplicate")
    assert reasons[2] == ("unsure hit", "label issue")
    assert reasons[4] == ("mistake", "confident mistake")


def test_of_many_duplicates_those_that_do_harm_are_shown(
    store: Store, predictions: SavedPredictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explanation_tables, "DUPLICATES_SHOWN", 2)
    # Both in training, the closest; under two labels; across the split.
    found = pairs([(0, 1), (2, 16), (4, 7)], [0.01, 0.05, 0.1])
    shown = choose_shown_images(store, predictions, ALL[:1], errors([]), found)
    assert set(shown.rows.tolist()) >= {2, 16, 4, 7}
    assert not set(shown.rows.tolist()) & {0, 1}


def test_the_gallery_gives_each_image_its_own_maps(
    store: Store, predictions: SavedPredictions
) -> None:
    explained = np.array([1, 4, 6, 11])
    maps = np.arange(4 * 2 * 4, dtype=np.uint8).reshape(4, 2, 2, 2)
    shown = choose_shown_images(store, predictions, explained, errors([]), pairs([], []))
    columns = gallery_columns(shown, predictions, explained, maps, [f"{n}.png" for n in range(12)])
    assert columns["file"] == ["1.png", "4.png", "6.png", "11.png"]
    np.testing.assert_array_equal(columns["predicted_map"], maps[:, 0])
    np.testing.assert_array_equal(columns["target_map"], maps[:, 1])
    place = columns["file"].index("4.png")
    assert columns["predicted"][place] == 2
    assert columns["target"][place] == 1
    assert columns["target_prob"] == pytest.approx(np.exp(-predictions.losses[explained]))


def test_duplicates_say_part_and_label_of_both_sides(store: Store) -> None:
    found = pairs([(0, 3), (2, 16), (5, 6)], [0.0, 0.05, 0.1])
    columns = duplicate_columns(store, found)
    assert columns["kind"] == ["identical", "near", "near"]
    assert columns["part_a"] == ["train"] * 3
    assert columns["part_b"] == ["test", "train", "train"]
    assert columns["target_b"].tolist() == [0, 1, 0]
    assert columns["sample_id_b"] == ["all/003.png", "all/016.png", "all/006.png"]
    counts = {"identical": 1, "near": 2, "across_split": 1, "two_labels": 1}
    assert count_duplicates(store, found) == counts | {"seen_test_images": 1}


def test_a_test_image_that_was_seen_twice_counts_once(store: Store) -> None:
    found = pairs([(0, 3), (1, 3), (3, 7)], [0.0, 0.05, 0.1])
    parts = ["train" if is_train else "test" for is_train in store.is_train[[0, 1, 3, 7]]]
    assert parts == ["train", "train", "test", "test"]
    counts = count_duplicates(store, found)
    assert (counts["across_split"], counts["seen_test_images"]) == (2, 1)


def test_the_summary_of_mistakes_by_hand(predictions: SavedPredictions) -> None:
    summary = summarize_mistakes(predictions, ALL[4:], 3)
    assert summary["mistakes"] == 3
    assert summary["confusion"]["counts"] == [
        [0, 0, 3], [0, 1, 1], [1, 1, 3], [1, 2, 1], [2, 0, 1], [2, 2, 3],
    ]  # fmt: skip
    assert summary["confused_pairs"][0] == {
        "target": 0,
        "predicted": 1,
        "images": 1,
        "share": 0.25,
    }
    # Of the images that have maps.
    assert summary["confident_mistakes"] == predictions.sample_ids[[8, 4]].tolist()
    assert summary["unsure_hits"][0] == predictions.sample_ids[5]
    assert (summary["best_classes"], summary["worst_classes"]) == ((0,), (2,))
