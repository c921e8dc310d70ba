"""The evaluations of a run as arrays, and the chance that is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysight.classify.diagnosis.observation import standard_error
from tinysight.classify.settings import Recipe

CHANCE_STANDARD_ERRORS = 3.0
"""What is at most so many standard errors from chance, or from another value, may be chance: with
three, one comparison in several hundred is called wrongly."""


@dataclass(frozen=True)
class LearningCurve:
    """The evaluations of a run, as arrays.

    Attributes:
        part: ``test``, or ``tuning`` where images were held back to choose by.
        images: Images of that part.
        train_images: Images that were trained on.
        epochs_done: (E,) epochs done at each evaluation.
        accuracy: (E,) of the weights that the run delivers: the averaged ones where there are any.
        loss: (E,) likewise.
        raw_accuracy: (E,) of the weights that the optimizer moves.
        train_loss: (E,) of the epoch before each evaluation.
        lr: (E,) at the end of that epoch.
        is_averaged: Whether the run delivers averaged weights.
    """

    part: str
    images: int
    train_images: int
    epochs_done: NDArray[np.int64]
    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    raw_accuracy: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    lr: NDArray[np.float64]
    is_averaged: bool

    @property
    def noise(self) -> float:
        """Standard error of the last accuracy."""
        return standard_error(float(self.accuracy[-1]), self.images)


def read_curve(
    history: Sequence[Mapping[str, Any]], about: Mapping[str, Any], recipe: Recipe
) -> LearningCurve | None:
    """Return the evaluations in a history, None when there are none.

    Args:
        history: Rows of ``history.jsonl``.
        about: Content of ``run.json``.
        recipe: Settings of the run.
    """
    part = "tuning" if recipe.train.tuning_fraction > 0 else "test"
    images, train_images = int(about["test_images"]), int(about["train_images"])
    if part == "tuning":
        images = max(1, round(train_images * recipe.train.tuning_fraction))
        train_images -= images
    rows = [row for row in history if row.get(f"{part}_accuracy") is not None]
    if not rows:
        return None
    is_averaged = all(row.get(f"ema_{part}_accuracy") is not None for row in rows)
    delivered = f"ema_{part}" if is_averaged else part

    def column(key: str) -> NDArray[np.float64]:
        return np.array([row[key] for row in rows], dtype=np.float64)

    return LearningCurve(
        part=part,
        images=images,
        train_images=train_images,
        epochs_done=np.array([row["epoch"] + 1 for row in rows]),
        accuracy=column(f"{delivered}_accuracy"),
        loss=column(f"{delivered}_loss"),
        raw_accuracy=column(f"{part}_accuracy"),
        train_loss=column("train_loss"),
        lr=column("lr"),
        is_averaged=is_averaged,
    )


def has_learned(accuracy: float, images: int, num_classes: int) -> bool:
    """Return whether an accuracy is above what guessing would reach by chance."""
    chance = 1 / num_classes
    return accuracy > chance + CHANCE_STANDARD_ERRORS * standard_error(chance, images)
