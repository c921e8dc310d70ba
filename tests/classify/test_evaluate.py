import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from tests.classify.conftest import make_store
from tinysight.classify import evaluate
from tinysight.classify.batches import LabelledImages
from tinysight.classify.evaluate import (
    evaluation_mode,
    look_at_batches,
    predict,
    rank_targets,
    score_model,
)
from tinysight.classify.metrics import compute_metrics, top_classes
from tinysight.classify.settings import TrainSettings
from tinysight.classify.stopping import StepGivenUpError, StopRequest
from tinysight.classify.store import Store

CPU = torch.device("cpu")


class MeanColour(nn.Module):
    """The mean of each channel as logits; in training mode it says something else."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        means = images.mean(dim=(2, 3))
        return -means if self.training else means


def arguments(store: Store) -> dict[str, object]:
    return {
        "device": CPU,
        "settings": TrainSettings(precision="fp32"),
    }


def images_of(store: Store, targets: NDArray[np.int64] | None = None) -> LabelledImages:
    known = store.targets if targets is None else targets
    return LabelledImages(store.images_u8, known, store.mean, store.std)


def test_a_score_equals_the_metrics_of_the_predictions(store: Store) -> None:
    rows = np.flatnonzero(~store.is_train)
    shifted = store.targets.copy()
    shifted[rows[0]] = (shifted[rows[0]] + 1) % 3  # one wrong label
    inputs = (MeanColour(), images_of(store, shifted), rows)
    score = score_model(*inputs, **arguments(store))  # type: ignore[arg-type]
    predictions = predict(*inputs, **arguments(store))  # type: ignore[arg-type]
    metrics = compute_metrics(predictions.logits, predictions.targets)
    assert score.accuracy == metrics.accuracy == 11 / 12
    assert score.top5 == metrics.top5 == 1.0
    assert score.loss == pytest.approx(metrics.loss, rel=1e-6)


def test_the_score_does_not_depend_on_the_batches(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.flatnonzero(~store.is_train)
    inputs = (MeanColour(), images_of(store), rows)
    whole = score_model(*inputs, **arguments(store))  # type: ignore[arg-type]
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 5)
    parts = score_model(*inputs, **arguments(store))  # type: ignore[arg-type]
    assert parts.accuracy == whole.accuracy
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)


class Corner(nn.Module):
    """The first pixel as logits, which depends on the size of an image as a mean does not."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert images.shape[2:] == (3, 3)
        return images[:, :, 0, 0]


def test_images_can_be_looked_at_smaller_than_they_are(store: Store) -> None:
    images, rows = images_of(store), np.flatnonzero(~store.is_train)
    score = score_model(Corner(), images, rows, image_px=3, **arguments(store))  # type: ignore[arg-type]
    hits = []
    for pixels, target in zip(store.images_u8[rows], store.targets[rows], strict=True):
        small = np.asarray(
            Image.fromarray(pixels).resize((3, 3), Image.Resampling.BILINEAR), dtype=np.float64
        )
        logits = (small[0, 0] / 255 - store.mean) / store.std
        hits.append(logits.argmax() == target)
    assert score.accuracy == pytest.approx(np.mean(hits))


def test_the_mode_is_put_back_also_after_an_error() -> None:
    network = nn.Dropout()

    def fail() -> None:
        assert not network.training
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), evaluation_mode(network):
        fail()
    assert network.training
    network.eval()
    with evaluation_mode(network):
        pass
    assert not network.training


def test_a_stop_ends_the_evaluation(store: Store) -> None:
    stop = StopRequest()
    stop.make()
    with pytest.raises(StepGivenUpError):
        score_model(
            MeanColour(),
            images_of(store),
            np.flatnonzero(~store.is_train),
            stop=stop,
            **arguments(store),  # type: ignore[arg-type]
        )


def test_progress_counts_images(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    store = make_store(tmp_path)
    monkeypatch.setattr(evaluate, "BATCH_SIZE", 5)
    heard: list[tuple[int, int]] = []
    rows = np.flatnonzero(~store.is_train)
    predict(
        MeanColour(),
        images_of(store),
        rows,
        on_progress=lambda done, total: heard.append((done, total)),
        **arguments(store),  # type: ignore[arg-type]
    )
    assert heard == [(5, 12), (10, 12), (12, 12)]


def test_each_module_gets_its_own_mode_back() -> None:
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3))
    network[1].eval()  # frozen by the user
    with evaluation_mode(network):
        assert not network[0].training
    assert [module.training for module in network.modules()] == [True, True, False]


def test_batches_are_looked_at_in_the_order_of_the_rows(store: Store) -> None:
    rows = np.flatnonzero(~store.is_train)[::-1].copy()
    known = np.stack([store.targets, np.arange(len(store.targets))], axis=1)
    seen = list(
        look_at_batches(
            lambda images, known: (len(images), known.tolist()),
            images_of(store, known),
            rows,
            device=CPU,
            batch_size=5,
        )
    )
    assert [size for size, _ in seen] == [5, 5, 2]
    assert [pair for _, pairs in seen for pair in pairs] == known[rows].tolist()


def test_ties_are_broken_as_the_metrics_break_them() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 4, (300, 9), generator=generator).float()  # ties everywhere
    targets = torch.randint(0, 9, (300,), generator=generator)
    order = top_classes(logits.numpy(), 9)
    expected = [row.tolist().index(target) for row, target in zip(order, targets, strict=True)]
    assert rank_targets(logits, targets).tolist() == expected


def test_logits_that_are_no_numbers_are_no_hits() -> None:
    logits = torch.full((2, 3), torch.nan)
    assert rank_targets(logits, torch.tensor([0, 2])).tolist() == [3, 3]
