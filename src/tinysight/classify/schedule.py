"""Learning rate and momentum as pure functions of the step.

A schedule object carries state that has to be saved, restored and stepped at the right moment; a
function of the step has none, so a resumed run is right by construction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinysight.classify.settings import ScheduleSettings
from tinysight.errors import RecipeError


@dataclass(frozen=True)
class StepSchedule:
    """What the optimizer uses for one step."""

    lr: float
    """Learning rate."""
    momentum: float
    """Momentum of SGD, beta 1 of AdamW."""


def schedule_at(
    step: int, settings: ScheduleSettings, *, steps_per_epoch: int, epochs: int
) -> StepSchedule:
    """Return the learning rate and the momentum of one optimizer step.

    With T = ``epochs * steps_per_epoch`` steps in all, P = ``peak_epoch * steps_per_epoch`` and
    t = ``step``:

    * one-cycle goes from ``max_lr / div_factor`` at t = 0 to ``max_lr`` at t = P - 1, the last
      step of the rise, and to ``max_lr / div_factor / final_div_factor`` at t = T - 1; each half
      is linear or half a cosine. Momentum moves the other way, from ``max_momentum`` to
      ``min_momentum`` and back. This is ``torch.optim.lr_scheduler.OneCycleLR`` with
      ``pct_start = P / T``, step for step; ``final_div_factor`` divides the first learning rate,
      not the highest, so 1 ends where it began. P need not be a whole number; a P below 1 leaves
      out the rise.
    * cosine and constant warm up linearly, ``max_lr * (1 / div_factor + (1 - 1 / div_factor) *
      t / P)`` for t < P. From t = P on, constant stays at ``max_lr`` and cosine takes
      ``max_lr * (1 + cos(pi * (t - P) / (T - P))) / 2``, which would be 0 at t = T, one step
      after the last. Momentum stays at ``max_momentum``.

    Args:
        step: Optimizer step, 0 <= step < T.
        settings: Kind and extremes of the schedule.
        steps_per_epoch: Optimizer steps an epoch, at least 1.
        epochs: Epochs of the whole run, at least 1.

    Returns:
        Learning rate and momentum for this step.

    Raises:
        RecipeError: ``peak_epoch`` lies behind the last epoch.
        ValueError: ``step`` is not a step of this run.

    Source:
        Smith & Topin 2017, Super-Convergence (arXiv:1708.07120) for one-cycle;
        Loshchilov & Hutter 2017, SGDR, section 3 (arXiv:1608.03983) for cosine.
    """
    total_steps = epochs * steps_per_epoch
    if not 0 <= step < total_steps:
        raise ValueError(
            f"step must be at least 0 and below epochs x steps_per_epoch (={total_steps}), "
            f"got {step}."
        )
    if settings.peak_epoch > epochs:
        raise RecipeError(
            f"schedule.peak_epoch must be at most train.epochs (={epochs}), "
            f"got {settings.peak_epoch:g}. Lower schedule.peak_epoch or train longer."
        )
    peak_steps = settings.peak_epoch * steps_per_epoch
    if settings.kind == "one-cycle":
        return _one_cycle(step, settings, peak_steps - 1, total_steps - 1)
    if step < peak_steps:
        lr = settings.max_lr * _linear(1 / settings.div_factor, 1.0, step / peak_steps)
    elif settings.kind == "cosine":
        lr = _half_cosine(settings.max_lr, 0.0, (step - peak_steps) / (total_steps - peak_steps))
    else:
        lr = settings.max_lr
    return StepSchedule(lr=lr, momentum=settings.max_momentum)


def ema_decay_at(step: int, decay: float) -> float:
    """Return the decay of the averaged weights after an optimizer step.

    ``min(decay, (1 + step) / (10 + step))``: a long average would hold on to the first weights,
    which know nothing; so it starts short.

    Args:
        step: Optimizer step, from 0.
        decay: Decay per step in the end, below 1.

    Source:
        The ramp of TensorFlow's ``tf.train.ExponentialMovingAverage`` with ``num_updates``.
    """
    return min(decay, (1 + step) / (10 + step))


def image_px_at(epoch: int, settings: ScheduleSettings, *, own_px: int) -> int:
    """Return the side of the training images of an epoch.

    The sizes ``first_image_px``, ``first_image_px + image_px_step`` and so on, as many as are
    below the last one, share the epochs before ``full_size_epoch`` evenly; from then on images
    have ``last_image_px``, or their own size. Small images teach what they can at a fraction of
    the cost; the last epochs are for the size that is used later.

    Args:
        epoch: Epoch, from 0.
        settings: First and last size, step and the epoch of the last size.
        own_px: Side of the images in the store.

    Raises:
        RecipeError: ``first_image_px`` or ``last_image_px`` is larger than ``own_px``.

    Source:
        Howard 2018, "Training Imagenet in 3 hours for USD 25", progressive resizing; Touvron et
        al. 2019 (arXiv:1906.06423) for the last epochs at the size of the test, or at a smaller
        one where crops are enlarged.
    """
    require_sizes_fit(settings, own_px=own_px)
    first_px, last_px = settings.first_image_px, settings.last_image_px or own_px
    if first_px == 0 or epoch >= settings.full_size_epoch:
        return last_px
    sizes = range(first_px, last_px, settings.image_px_step)
    return sizes[epoch * len(sizes) // settings.full_size_epoch] if sizes else last_px


def held_out_px_at(epoch: int, settings: ScheduleSettings, *, own_px: int) -> int:
    """Return the side of the images that are looked at after an epoch.

    While training images grow it is theirs: a network that has seen nothing but small images is
    lost on large ones, which says little of what it has learned. From ``full_size_epoch`` on images
    are looked at as they are. Arguments and errors are those of :func:`image_px_at`.
    """
    is_growing = settings.first_image_px > 0 and epoch < settings.full_size_epoch
    return image_px_at(epoch, settings, own_px=own_px) if is_growing else own_px


def require_sizes_fit(settings: ScheduleSettings, *, own_px: int) -> None:
    """Make sure that no training image would have to be made larger.

    Args:
        settings: First and last size.
        own_px: Side of the images in the store.

    Raises:
        RecipeError: ``first_image_px`` or ``last_image_px`` is larger than ``own_px``.
    """
    for name in ("first_image_px", "last_image_px"):
        if getattr(settings, name) > own_px:
            raise RecipeError(
                f"schedule.{name} (={getattr(settings, name)}) must be at most the side of the "
                f"images (={own_px} px). Make it smaller or leave it out."
            )


def _one_cycle(
    step: int, settings: ScheduleSettings, peak_step: float, last_step: int
) -> StepSchedule:
    first_lr = settings.max_lr / settings.div_factor
    interpolate = _linear if settings.anneal == "linear" else _half_cosine
    if step <= peak_step:
        # A rise of a single step is already the peak; OneCycleLR divides 0 by 0 there.
        risen = step / peak_step if peak_step > 0 else 1.0
        return StepSchedule(
            lr=interpolate(first_lr, settings.max_lr, risen),
            momentum=interpolate(settings.max_momentum, settings.min_momentum, risen),
        )
    fallen = (step - peak_step) / (last_step - peak_step)
    last_lr = first_lr / settings.final_div_factor
    return StepSchedule(
        lr=interpolate(settings.max_lr, last_lr, fallen),
        momentum=interpolate(settings.min_momentum, settings.max_momentum, fallen),
    )


def _linear(start: float, end: float, fraction: float) -> float:
    return (end - start) * fraction + start


def _half_cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * fraction))
