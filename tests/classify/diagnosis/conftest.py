"""Histories, metrics and recipes of runs that went one way or the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinysight.classify.diagnosis import Observation
from tinysight.classify.settings import Recipe

Row = dict[str, Any]

ABOUT: Row = {
    "train_images": 77_000,
    "test_images": 33_000,
    "size_px": 64,
    "classes": [
        {"index": index, "wnid": f"n{index}", "name": f"class {index}"} for index in range(200)
    ],
}


def make_about(*, test_images: int = 33_000, classes: int = 200) -> Row:
    return ABOUT | {"test_images": test_images, "classes": ABOUT["classes"][:classes]}


def make_recipe(epochs: int, **tables: dict[str, object]) -> Recipe:
    """A recipe with every regularisation in use, peak learning rate 0.1, annealed to nearly 0."""
    values: dict[str, dict[str, object]] = {
        "augment": {"dropout_probability": 0.5},
        "schedule": {"max_lr": 0.1, "peak_epoch": 0.0},
        "train": {"epochs": epochs, "label_smoothing": 0.1},
    }
    for table, changes in tables.items():
        values[table] = values.get(table, {}) | changes
    return Recipe.model_validate(values)


def make_history(
    test_accuracy: Sequence[float | None],
    *,
    train_accuracy: Sequence[float] | None = None,
    test_loss: Sequence[float] | None = None,
    train_loss: Sequence[float] | None = None,
    lr: Sequence[float] | None = None,
    ema_accuracy: Sequence[float] | None = None,
    image_px: Sequence[int] | None = None,
    part: str = "test",
) -> list[Row]:
    """The history of a run; what is not given is that of a healthy one."""
    count = len(test_accuracy)
    rows = []
    for epoch, accuracy in enumerate(test_accuracy):
        row: Row = {
            "epoch": epoch,
            "steps": 300 * (epoch + 1),
            "seconds": 60.0 * (epoch + 1),
            "images_per_s": 500.0,
            "train_loss": train_loss[epoch] if train_loss else 4.0 * 0.9**epoch,
            "train_accuracy": train_accuracy[epoch] if train_accuracy else (accuracy or 0) + 0.05,
            "lr": lr[epoch] if lr else 0.1 * (1 - epoch / (count - 1)) if count > 1 else 0.0,
            "momentum": 0.9,
        }
        if accuracy is not None:
            row[f"{part}_accuracy"] = accuracy
            row[f"{part}_loss"] = test_loss[epoch] if test_loss else 4.0 * 0.9**epoch
        if image_px:
            row["image_px"] = row[f"{part}_image_px"] = image_px[epoch]
        if ema_accuracy:
            row[f"ema_{part}_accuracy"] = ema_accuracy[epoch]
            row[f"ema_{part}_loss"] = test_loss[epoch] if test_loss else 4.0 * 0.9**epoch
        rows.append(row)
    return rows


def make_metrics(
    accuracies: Sequence[float | None],
    *,
    images: int = 165,
    confidence: float | None = None,
) -> Row:
    """Metrics of classes with so many images each, in one bin of calibration."""
    known = [accuracy or 0.0 for accuracy in accuracies]
    accuracy = sum(known) / len(known)
    confidence = accuracy if confidence is None else confidence
    total = images * len(known)
    return {
        "images": total,
        "accuracy": accuracy,
        "top5": 1.0,
        "loss": 1.0,
        "weights": "raw",
        "calibration_error": abs(confidence - accuracy),
        "calibration": [
            {"low": 0.0, "high": 0.5, "images": 0, "confidence": None, "accuracy": None},
            {
                "low": 0.5,
                "high": 1.0,
                "images": total,
                "confidence": confidence,
                "accuracy": accuracy,
            },
        ],
        "classes": [
            {
                "index": index,
                "wnid": f"n{index}",
                "name": f"class {index}, another name",
                "images": images,
                "accuracy": accuracy,
                "guesses": images,
                "precision": accuracy,
            }
            for index, accuracy in enumerate(accuracies)
        ],
    }


def found(observations: Sequence[Observation], kind: str) -> Observation:
    """The one observation of a kind."""
    (observation,) = [each for each in observations if each.kind == kind]
    return observation


def kinds(observations: Sequence[Observation]) -> set[str]:
    names = [observation.kind for observation in observations]
    assert len(names) == len(set(names)), "a finding is said once"
    return set(names)
