from __future__ import annotations

import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tinysight.classify.label_errors import LabelErrors, confident_joint, find_label_errors
from tinysight.classify.metrics import softmax


@pytest.fixture(scope="module")
def cleanlab() -> Iterator[types.SimpleNamespace]:
    """cleanlab, with ties broken by index.

    It sorts with NumPy's default, which is not stable: where two values are equal, the processor
    decides which label is suspected.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own imports warn of changes in other packages
        from cleanlab import count, filter, rank
        from cleanlab.internal import util

    class StableNumPy:
        def __getattr__(self, name: str) -> Any:
            return getattr(np, name)

        @staticmethod
        def argsort(values: np.ndarray, **options: Any) -> np.ndarray:
            return np.argsort(values, kind="stable", **options)

    def find(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        with warnings.catch_warnings():
            # It warns of each class with fewer than two images.
            warnings.filterwarnings("ignore", message="May not flag all label issues")
            return filter.find_label_issues(
                targets,
                probs,
                filter_by="prune_by_noise_rate",
                return_indices_ranked_by="self_confidence",
                n_jobs=1,
            )

    def joint(probs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return count.compute_confident_joint(targets, probs, calibrate=False)

    with pytest.MonkeyPatch.context() as patch:
        for module in (filter, rank, util):
            patch.setattr(module, "np", StableNumPy())
        yield types.SimpleNamespace(find=find, joint=joint)


def noisy_case(
    seed: int, images: int, classes: int, noise: float, spread: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that favour the true class, and labels of which a share is wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) + spread * np.eye(classes)[truth]
    is_wrong = rng.random(images) < noise
    return softmax(logits), np.where(is_wrong, rng.integers(0, classes, images), truth)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("images", "classes"), [(60, 2), (200, 3), (500, 10), (1000, 40)])
def test_label_errors_are_those_of_cleanlab_in_its_order(
    seed: int, images: int, classes: int, cleanlab: types.SimpleNamespace
) -> None:
    probs, targets = noisy_case(seed, images, classes, noise=0.2)
    expected = cleanlab.find(probs, targets)
    assert len(expected) > 0
    np.testing.assert_array_equal(find_label_errors(probs, targets).rows, expected)
    np.testing.assert_array_equal(confident_joint(probs, targets), cleanlab.joint(probs, targets))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(3, 80),
    classes=st.integers(2, 12),
    noise=st.floats(0, 1),
    spread=st.sampled_from([0.0, 1.0, 5.0]),
)
@example(seed=15560, images=32, classes=5, noise=0.15625, spread=1.0)  # 5.33, 1.33, 1.33 to be 8
def test_label_errors_equal_cleanlab_also_for_few_images_and_missing_classes(
    seed: int,
    images: int,
    classes: int,
    noise: float,
    spread: float,
    cleanlab: types.SimpleNamespace,
) -> None:
    probs, targets = noisy_case(seed, images, classes, noise, spread)
    assume(len(np.unique(targets)) > 1)  # cleanlab refuses the others
    found = find_label_errors(probs, targets)
    np.testing.assert_array_equal(found.rows, cleanlab.find(probs, targets))
    assert (found.suggested != targets[found.rows]).all()
    assert (np.diff(found.scores) >= 0).all()


def test_equal_probabilities_are_resolved_by_index(cleanlab: types.SimpleNamespace) -> None:
    probs, targets = noisy_case(0, 30, 4, noise=0.3)
    probs, targets = np.tile(probs.round(2), (8, 1)), np.tile(targets, 8)
    probs /= probs.sum(axis=1, keepdims=True)
    found = find_label_errors(probs, targets)
    np.testing.assert_array_equal(found.rows, cleanlab.find(probs, targets))
    is_tie = np.diff(found.scores) == 0
    assert is_tie.any()
    assert (np.diff(found.rows)[is_tie] > 0).all()


def test_swapped_labels_are_found_and_corrected() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 50)
    probs = softmax(rng.normal(size=(200, 4)) * 0.3 + 5 * np.eye(4)[truth])
    targets = truth.copy()
    targets[[3, 60, 199]] = [2, 0, 1]
    found = find_label_errors(probs, targets)
    assert set(found.rows.tolist()) == {3, 60, 199}
    assert found.suggested.tolist() == truth[found.rows].tolist()
    np.testing.assert_array_equal(found.scores, probs[found.rows, targets[found.rows]])


def test_right_labels_are_not_suspected() -> None:
    targets = np.repeat(np.arange(3), 20)
    found = find_label_errors(softmax(4.0 * np.eye(3)[targets]), targets)
    assert isinstance(found, LabelErrors)
    assert len(found.rows) == len(found.suggested) == len(found.scores) == 0


def test_a_class_with_one_image_is_left_alone() -> None:
    probs, targets = noisy_case(1, 40, 3, noise=0.5)
    targets = np.where(targets == 2, 1, targets)
    targets[7] = 2
    probs[7] = [0.98, 0.01, 0.01]
    assert 7 not in find_label_errors(probs, targets).rows


def test_counting_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.4, 0.6], [0.85, 0.15]])
    targets = np.array([0, 0, 0, 1, 1, 1])
    # Thresholds: class 0 0.6, class 1 0.55. Image 4 is confidently of class 1, 5 of class 0.
    assert confident_joint(probs, targets).tolist() == [[2, 1], [1, 2]]
