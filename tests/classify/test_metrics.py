import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
    multiclass_precision,
)

from tinysight.classify.metrics import (
    calibration_bins,
    compute_metrics,
    cross_entropies,
    expected_calibration_error,
    softmax,
    top_classes,
)


def make_predictions(seed: int, images: int = 400, classes: int = 12) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, images)
    logits = generator.normal(0, 2, (images, classes)).astype(np.float32)
    logits[np.arange(images), targets] += 2
    return logits, targets


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_those_of_scikit_learn_and_torchmetrics(seed: int) -> None:
    logits, targets = make_predictions(seed)
    metrics = compute_metrics(logits, targets)
    labels = np.arange(logits.shape[1])
    assert metrics.images == len(targets)
    assert metrics.accuracy == pytest.approx(
        top_k_accuracy_score(targets, logits, k=1, labels=labels)
    )
    assert metrics.top5 == pytest.approx(top_k_accuracy_score(targets, logits, k=5, labels=labels))
    assert metrics.loss == pytest.approx(log_loss(targets, softmax(logits), labels=labels))
    tensors = torch.from_numpy(logits).softmax(1), torch.from_numpy(targets)
    classes = logits.shape[1]
    recall = multiclass_accuracy(*tensors, num_classes=classes, average="none").numpy()
    precision = multiclass_precision(*tensors, num_classes=classes, average="none").numpy()
    assert [row.accuracy for row in metrics.classes] == pytest.approx(recall)
    assert [row.precision for row in metrics.classes] == pytest.approx(precision)
    error = multiclass_calibration_error(*tensors, num_classes=classes, n_bins=15, norm="l1")
    assert metrics.calibration_error == pytest.approx(float(error), abs=1e-6)


def test_each_loss_equals_that_of_torch() -> None:
    logits, targets = make_predictions(1)
    expected = torch.nn.functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(targets), reduction="none"
    )
    assert cross_entropies(logits, targets) == pytest.approx(expected.numpy(), rel=1e-5)


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[3e38, -3e38], [-3e38, 3e38]], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert softmax(logits).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_of_equal_logits_the_lower_class_comes_first() -> None:
    logits = np.zeros((1, 4), dtype=np.float32)
    assert top_classes(logits, 5).tolist() == [[0, 1, 2, 3]]


def test_a_class_that_is_never_seen_or_guessed_has_no_share() -> None:
    logits = np.array([[5, 0, 0], [5, 0, 0]], dtype=np.float32)
    metrics = compute_metrics(logits, np.array([0, 1]))
    assert np.isnan(metrics.classes[2].accuracy)
    assert np.isnan(metrics.classes[1].precision)
    assert metrics.classes[0].precision == 0.5
    assert metrics.classes[1].accuracy == 0.0


def test_a_bin_holds_its_upper_edge() -> None:
    bins = calibration_bins(np.array([0.0, 0.5, 0.5000001, 1.0]), np.array([True] * 4), num_bins=2)
    assert [bin.images for bin in bins] == [2, 2]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_calibration_counts_every_image_and_stays_in_range(
    images: list[tuple[float, bool]],
) -> None:
    confidence = np.array([image[0] for image in images])
    bins = calibration_bins(confidence, np.array([image[1] for image in images]))
    assert sum(bin.images for bin in bins) == len(images)
    assert 0 <= expected_calibration_error(bins) <= 1
    for bin in bins:
        if bin.images:
            assert bin.low - 1e-9 <= bin.confidence <= bin.high + 1e-9
