"""The learning-rate range test: how far can the learning rate go up?

A copy of the network is trained for a hundred steps or so while the learning rate grows from very
small to far too large. The test works on a network, an optimizer and draws of its own, so the run
that follows is the same to the bit as one without it.

Source:
    Smith 2017, Cyclical Learning Rates, section 3.3 (arXiv:1506.01186).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tinysight.classify.batches import Batch, steps_per_epoch
from tinysight.classify.compiling import compile_network
from tinysight.classify.models import build_model
from tinysight.classify.optimizers import build_optimizer, set_schedule
from tinysight.classify.placement import number_format, place_model
from tinysight.classify.processes import Processes
from tinysight.classify.schedule import require_sizes_fit
from tinysight.classify.settings import Recipe, TrainSettings
from tinysight.classify.stopping import StopRequest
from tinysight.classify.training import Network, epoch_batches, forward_backward
from tinysight.classify.training_images import TrainingData
from tinysight.errors import TrainingError

DIVERGED_AT = 4.0
"""The test ends when the smoothed loss is this many times the lowest one."""
MIN_POINTS = 10
WEAK_BELOW = 6.0
"""A fall of the smoothed loss that is less than this many times its noise shows nothing: of 200
drawn tests of 100 steps in which only noise moved the loss, 19 of 20 fell less."""
NOT_CLEAR_WITHIN = 3.0
"""A smoothed loss is not clearly below another while it is less than this many times its noise
away, about as far as the lowest of a hundred values of pure noise lies below their mean."""

Weakness = Literal["", "noise", "guessing"]


@dataclass(frozen=True)
class LrRangePoint:
    """One step of the test.

    Attributes:
        lr: Learning rate.
        loss: Training loss of the step's batch, before the step.
        smoothed_loss: Exponential moving average of the losses, corrected for its start.
    """

    lr: float
    loss: float
    smoothed_loss: float


@dataclass(frozen=True)
class LrRangeResult:
    """What the test found.

    Attributes:
        points: One a step, in the order of the steps.
        suggestion_steepest: Learning rate where the smoothed loss falls fastest.
        suggestion_valley: Learning rate at which the smoothed loss has fallen half way.
        diverged: Whether the test ended because the loss grew or was not finite.
        fall: How far the smoothed loss fell.
        noise: Standard deviation of the smoothed loss that comes from the batches.
        guessing_loss: Lowest loss of a network that sees no image.
        weakness: Why neither suggestion is worth following: the fall is no more than ``noise``
            alone could give, or the network only learned to be as good as ``guessing``. Empty
            where they are.
    """

    points: tuple[LrRangePoint, ...]
    suggestion_steepest: float
    suggestion_valley: float
    diverged: bool
    fall: float
    noise: float
    guessing_loss: float
    weakness: Weakness


def lr_range_test(
    data: TrainingData,
    recipe: Recipe,
    num_classes: int,
    *,
    device: torch.device,
    min_lr: float = 1e-6,
    max_lr: float = 10.0,
    num_steps: int = 100,
    smoothing: float = 0.9,
    on_step: Callable[[int, int], None] | None = None,
) -> LrRangeResult:
    """Train with a growing learning rate and watch the loss.

    The learning rate grows by the same factor each step. Batches, precision, accumulation and
    compilation are those of the recipe. Images that grow from epoch to epoch have their first size
    throughout: the loss is to show what the learning rate does, and nothing else.

    Args:
        data: Images and the rows to train on.
        recipe: Settings of the run that is planned.
        num_classes: Length of the logits.
        device: Where to train.
        min_lr: Learning rate of the first step.
        max_lr: Learning rate of the last step.
        num_steps: Steps, at least 10.
        smoothing: Weight of the past in the moving average of the loss, in [0, 1).
        on_step: Called with the number of steps done and of all.

    Returns:
        The curve and two suggestions.

    Raises:
        TrainingError: The learning rates do not grow or the steps are too few for a test; or the
            loss diverged before there were enough points for a suggestion.
    """
    _require_rising_steps(min_lr, max_lr, num_steps)
    lrs = np.geomspace(min_lr, max_lr, num_steps)
    points, diverged = _watch_loss(
        data, recipe, num_classes, lrs, device=device, smoothing=smoothing, on_step=on_step
    )
    if len(points) < MIN_POINTS:
        raise TrainingError(
            f"lr-find: the loss must stay finite for at least {MIN_POINTS} steps, but it diverged "
            f"after {len(points)} at learning rate {lrs[len(points)]:.3g}. Take more steps with "
            f"--steps (={num_steps}), or start lower with --min-lr (={min_lr:g})."
        )
    curve = np.array([point.smoothed_loss for point in points])
    fall = depth_of_fall(curve)
    noise = smoothed_noise(np.array([point.loss for point in points]), smoothing)
    guessing = loss_of_guessing(data.images.targets[data.train_rows], num_classes, recipe.train)
    return LrRangeResult(
        points=tuple(points),
        suggestion_steepest=float(lrs[steepest_index(curve)]),
        suggestion_valley=float(lrs[halfway_index(curve)]),
        diverged=diverged,
        fall=fall,
        noise=noise,
        guessing_loss=guessing,
        weakness=judge_fall(fall, float(curve[lowest_index(curve)]), noise, guessing),
    )


def _require_rising_steps(min_lr: float, max_lr: float, num_steps: int) -> None:
    if not 0.0 < min_lr < max_lr < math.inf:
        raise TrainingError(
            f"lr-find: --min-lr (={min_lr:g}) must be above 0 and below --max-lr (={max_lr:g}), "
            f"which must be finite. Change one of the two."
        )
    if num_steps < MIN_POINTS:
        raise TrainingError(
            f"lr-find: --steps (={num_steps}) must be at least {MIN_POINTS}, or there is no curve "
            f"to read. Leave it out for 100."
        )


def _watch_loss(
    data: TrainingData,
    recipe: Recipe,
    num_classes: int,
    lrs: NDArray[np.float64],
    *,
    device: torch.device,
    smoothing: float,
    on_step: Callable[[int, int], None] | None,
) -> tuple[list[LrRangePoint], bool]:
    """Train a network of its own, a step a learning rate, until the last or until it diverges.

    Returns:
        A point for each step whose loss was sound, and whether one was not.
    """
    settings, momentum = recipe.train, recipe.schedule.max_momentum
    model = build_model(recipe.model, num_classes, seed=settings.seed)
    model = place_model(model, settings, device)
    network: Network = model
    if settings.compile:
        network = compile_network(model, settings, device, num_processes=1)
    optimizer = build_optimizer(
        model,
        recipe.optimizer,
        lr=float(lrs[0]),
        momentum=momentum,
        muon_dtype=number_format(settings, device),
    )
    never = StopRequest()
    points: list[LrRangePoint] = []
    average = 0.0
    for step, batch in enumerate(_endless_batches(data, recipe, device, len(lrs))):
        lr = float(lrs[step])
        set_schedule(optimizer, lr=lr, momentum=momentum)
        loss_tensor, _ = forward_backward(network, batch, recipe, stop=never)
        loss = float(loss_tensor)
        average = smoothing * average + (1 - smoothing) * loss
        # Without this the average starts near 0 and the curve seems to rise.
        smoothed = average / (1 - smoothing ** (step + 1))
        best = min((point.smoothed_loss for point in points), default=smoothed)
        # Written so that NaN, which is greater than nothing, counts as diverged.
        if not (math.isfinite(loss) and smoothed <= DIVERGED_AT * best):
            return points, True
        points.append(LrRangePoint(lr=lr, loss=loss, smoothed_loss=smoothed))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if on_step:
            on_step(step + 1, len(lrs))
    return points, False


def lowest_index(losses: NDArray[np.float64]) -> int:
    """Return where a curve is lowest, its first tenth left out.

    What comes behind is no longer the fall that the test looks for: a loss that has diverged can
    fall again for a long time.

    Args:
        losses: (n,) smoothed losses, n at least 1.
    """
    first = len(losses) // 10
    return first + int(losses[first:].argmin())


def steepest_index(losses: NDArray[np.float64]) -> int:
    """Return where a curve falls fastest, before its lowest point.

    The slope at a point is taken over a twentieth of the curve to either side, so that it is that
    of the curve and not of one batch. The first tenth is left out: there the average holds few
    batches yet.

    Args:
        losses: (n,) smoothed losses at learning rates that grow by one factor, n at least 2.
    """
    count = len(losses)
    first, reach = count // 10, max(count // 20, 1)
    here = np.arange(first, max(lowest_index(losses), first + 1))
    ahead, behind = np.minimum(here + reach, count - 1), np.maximum(here - reach, 0)
    slopes = (losses[ahead] - losses[behind]) / (ahead - behind)
    return int(here[slopes.argmin()])


def halfway_index(losses: NDArray[np.float64]) -> int:
    """Return where a curve goes below the middle of its fall for the last time.

    The height decides, not the number of steps: the longest falling stretch, which fastai calls the
    valley, begins in the plateau before the fall, and so moves with the learning rate that the test
    begins at.

    Args:
        losses: (n,) smoothed losses, n at least 1.

    Source:
        Smith 2017, section 3.3, for the two ends of the fall as bounds of the learning rate.
    """
    lowest = lowest_index(losses)
    middle = losses[lowest] + depth_of_fall(losses) / 2
    above = np.flatnonzero(losses[:lowest] > middle)
    return int(above[-1]) if len(above) else lowest


def depth_of_fall(losses: NDArray[np.float64]) -> float:
    """Return how far a curve falls to its lowest point, its first tenth left out."""
    lowest = lowest_index(losses)
    return float(losses[len(losses) // 10 : lowest + 1].max() - losses[lowest])


def judge_fall(fall: float, lowest: float, noise: float, guessing_loss: float) -> Weakness:
    """Return what speaks against reading anything into a fall of the smoothed loss.

    A new network is sure of something, and so worse than guessing. Any learning rate mends that.

    Args:
        fall: How far the smoothed loss fell.
        lowest: Where to.
        noise: Standard deviation of the smoothed loss that comes from the batches.
        guessing_loss: As :func:`loss_of_guessing` returns it.
    """
    if fall <= WEAK_BELOW * noise:
        return "noise"
    return "guessing" if lowest >= guessing_loss - NOT_CLEAR_WITHIN * noise else ""


def loss_of_guessing(
    targets: NDArray[np.int64], num_classes: int, settings: TrainSettings
) -> float:
    """Return the lowest loss that a network can have which sees no image, in nats.

    It answers with the shares of the classes, and its loss is their entropy.

    Args:
        targets: (n,) class index of each training image, n at least 1.
        num_classes: Length of the logits.
        settings: For the smoothing of the labels.
    """
    shares = np.bincount(targets, minlength=num_classes) / len(targets)
    smoothing = settings.label_smoothing
    shares = (1 - smoothing) * shares + smoothing / num_classes
    return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())


def smoothed_noise(losses: NDArray[np.float64], smoothing: float) -> float:
    """Return the standard deviation that the batches leave in a moving average of their losses.

    That of a batch is estimated from the differences of neighbours, which a slow fall hardly
    changes, and by their median, which a loss that diverges does not.

    Args:
        losses: (n,) loss of each batch, n at least 2.
        smoothing: Weight of the past in the moving average, in [0, 1).
    """
    normal_median = 0.6745  # of |x|, x with a standard deviation of 1
    of_a_batch = np.median(np.abs(np.diff(losses))) / normal_median / math.sqrt(2)
    return float(of_a_batch * math.sqrt((1 - smoothing) / (1 + smoothing)))


def _endless_batches(
    data: TrainingData, recipe: Recipe, device: torch.device, num_steps: int
) -> Iterator[Batch]:
    """Yield batches, epoch after epoch, with images of the size of the first one."""
    schedule = recipe.schedule
    require_sizes_fit(schedule, own_px=data.own_px)
    if schedule.first_image_px:
        one_size = {"first_image_px": 0, "last_image_px": schedule.first_image_px}
        recipe = recipe.model_copy(update={"schedule": schedule.model_copy(update=one_size)})
    steps = steps_per_epoch(len(data.train_rows), recipe.train.batch_size)
    for epoch in range(-(-num_steps // steps)):
        batches = epoch_batches(data, recipe, epoch, device, Processes())
        yield from itertools.islice(batches, num_steps - epoch * steps)
