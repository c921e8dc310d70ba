"""What training hands out on its way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysight.classify.evaluate import Score


@dataclass(frozen=True)
class StepRecord:
    """One look at the loop.

    Attributes:
        step: Optimizer steps done.
        num_steps: Steps of the whole run.
        epoch: Epoch of this step, from 0.
        loss: Mean training loss of the step.
        accuracy: Training accuracy so far in this epoch.
        lr: Learning rate of the step.
        images_per_s: Training speed of this epoch so far.
        time_left_s: For the steps that remain, evaluation not counted.
    """

    step: int
    num_steps: int
    epoch: int
    loss: float
    accuracy: float
    lr: float
    images_per_s: float
    time_left_s: float


@dataclass(frozen=True)
class EpochRecord:
    """One finished epoch.

    Attributes:
        epoch: From 0.
        steps: Optimizer steps done since the start of the run.
        train_loss: Mean over the augmented images of the epoch, as they were seen.
        train_accuracy: Likewise.
        lr: Learning rate of the last step.
        momentum: Momentum of the last step.
        images_per_s: Training speed.
        image_px: Side of the training images.
        held_out_px: Side of the images that were looked at.
        seconds: Training time since the start of the run, evaluation not counted.
        score: Of the raw weights, or None in an epoch without evaluation.
        ema_score: Of the averaged weights, where there are any.
        step_losses: (steps in the epoch,) mean loss of each step.
    """

    epoch: int
    steps: int
    train_loss: float
    train_accuracy: float
    lr: float
    momentum: float
    images_per_s: float
    image_px: int
    held_out_px: int
    seconds: float
    score: Score | None
    ema_score: Score | None
    step_losses: NDArray[np.float64]
