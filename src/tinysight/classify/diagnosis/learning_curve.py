"""The evaluations of a run as arrays, and the chance that is in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysight.classify.settings import Recipe
from tinysight.run_facts import read_training_parts
from tinysight.standard_errors import (
    CHANCE_STANDARD_ERRORS,
    estimated_standard_error,
    highest_share,
    standard_error,
)

LITTLE_LEARNED = 0.1
"""Who has come less than so far from guessing to perfection has learned next to nothing."""
MUCH_LEARNED = 0.5
"""Few images must at least rule out that so much of that way was made, or they tell nothing."""


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
        image_px: (E,) side of the images at each evaluation: small ones while training images grow.
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
    image_px: NDArray[np.int64]
    is_averaged: bool

    @property
    def noise(self) -> float:
        """Standard error of the last accuracy."""
        return estimated_standard_error(float(self.accuracy[-1]), self.images)

    @property
    def falls(self) -> NDArray[np.float64]:
        """(E - 1,) fall of ``raw_accuracy`` since the evaluation before; 0 between two sizes."""
        is_same_size = self.image_px[1:] == self.image_px[:-1]
        return np.where(is_same_size, -np.diff(self.raw_accuracy), 0.0)

    def since_last_size(self) -> LearningCurve:
        """Return the evaluations on images of the size of the last one."""
        first = len(self.image_px) - int((self.image_px[::-1] == self.image_px[-1]).cumprod().sum())
        return replace(
            self,
            epochs_done=self.epochs_done[first:],
            accuracy=self.accuracy[first:],
            loss=self.loss[first:],
            raw_accuracy=self.raw_accuracy[first:],
            train_loss=self.train_loss[first:],
            lr=self.lr[first:],
            image_px=self.image_px[first:],
        )


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
    used = read_training_parts(about, recipe.model_dump())
    rows = [row for row in history if row.get(f"{part}_accuracy") is not None]
    if not rows:
        return None
    is_averaged = all(row.get(f"ema_{part}_accuracy") is not None for row in rows)
    delivered = f"ema_{part}" if is_averaged else part

    def column(key: str) -> NDArray[np.float64]:
        return np.array([row[key] for row in rows], dtype=np.float64)

    return LearningCurve(
        part=part,
        images=used.held_back if part == "tuning" else int(about["test_images"]),
        train_images=used.learned_from,
        epochs_done=np.array([row["epoch"] + 1 for row in rows]),
        accuracy=column(f"{delivered}_accuracy"),
        loss=column(f"{delivered}_loss"),
        raw_accuracy=column(f"{part}_accuracy"),
        train_loss=column("train_loss"),
        lr=column("lr"),
        # Runs of an older version looked at images as they are, whatever they learned from.
        image_px=np.array([row.get(f"{part}_image_px", about["size_px"]) for row in rows]),
        is_averaged=is_averaged,
    )


def has_learned(accuracy: float, images: int, guessing: float) -> bool:
    """Return whether an accuracy is above what guessing would reach by chance.

    Args:
        accuracy: Share of right answers.
        images: How many were asked for.
        guessing: Share of right answers that is expected of guessing.
    """
    return accuracy > guessing + CHANCE_STANDARD_ERRORS * standard_error(guessing, images)


def looks_like_guessing(accuracy: float, images: int, guessing: float) -> bool:
    """Return whether an accuracy is what guessing usually reaches, or cannot be much above it.

    There must be images enough to tell it from the accuracy of a network that learned. Where
    neither this nor :func:`has_learned` holds, they are too few to tell. Arguments are the same.
    """
    is_usual = accuracy <= guessing + standard_error(guessing, images)
    learned = MUCH_LEARNED if is_usual else LITTLE_LEARNED
    is_ruled_out = highest_share(accuracy, images) <= guessing + learned * (1 - guessing)
    return not has_learned(accuracy, images, guessing) and is_ruled_out


def is_below_guessing(accuracy: float, images: int, num_classes: int) -> bool:
    """Return whether an accuracy is lower than guessing among all classes would be by chance.

    Args:
        accuracy: Share of right answers.
        images: How many were asked for.
        num_classes: Classes to guess among.
    """
    guessing = 1 / num_classes
    return accuracy < guessing - CHANCE_STANDARD_ERRORS * standard_error(guessing, images)
