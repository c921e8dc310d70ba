"""What the curves say about the learning rate, the last epochs and the averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tinysight.classify.diagnosis.fit import fewer_epochs
from tinysight.classify.diagnosis.learning_curve import LearningCurve, has_learned
from tinysight.classify.diagnosis.observation import Observation, Severity
from tinysight.classify.settings import Recipe
from tinysight.numerals import in_points, percent
from tinysight.run_facts import Guessing
from tinysight.standard_errors import (
    IMAGE_LOSS_SPREAD,
    estimated_standard_error,
    standard_error,
)

FALL = 0.02
"""Falls of the test accuracy from one evaluation to the next that are smaller are never counted,
however many test images make them significant: every optimizer with noise in it shows them."""
FALL_STANDARD_ERRORS = 3.0
"""Of a fall that counts; two draws of test images are so far apart once in several dozen times."""
MIN_FALLS = 2
"""One fall may have any cause; a learning rate that is too high makes them again and again."""
HIGH_LR = 0.2
"""Share of the highest learning rate from which on a fall can be laid to the learning rate."""
TRAIN_LOSS_RISE = 0.02
"""Rise of the training loss from one epoch to the next, relative: a sound step size makes it
fall."""
FALLEN_LR = 0.5
"""Share of the learning rate at a fall or rise, up to which a later one counts as lower."""
RECOVERED_STANDARD_ERRORS = 2.0
"""Within these of its best, an accuracy is as good as its best."""
SLOPE_STANDARD_ERRORS = 2.0
"""A rise or fall at the end must be so many standard errors steep. They are those of evaluations
on different images; on the same images there is less noise, so two are enough."""
WORTHWHILE_SLOPE = 0.002
"""Rise of the test accuracy an epoch, below which another epoch is not worth its time."""
END_SHARE = 0.2
MIN_END = 3
"""The end of a run is its last fifth, and at least three evaluations: a slope needs them."""
ANNEALED_LR = 0.05
"""Share of the highest learning rate that should be reached at the end. The last steps down bring
much of the accuracy: 12.8 of 56.3 points in the last 8 of 48 epochs of a public run."""
EARLY_PEAK = 0.2
"""Share of the epochs after which the learning rate may be at its highest; most is left to fall."""
LONG_AVERAGE = 0.1
"""Share of all steps that the average of the weights should look back on at most; beyond, it still
holds weights from when the learning rate was high."""

Rise = tuple[Mapping[str, Any], Mapping[str, Any]]
"""Neighbouring rows of ``history.jsonl``, of which the second has the higher training loss."""


def judge_learning_rate(
    curve: LearningCurve,
    history: Sequence[Mapping[str, Any]],
    recipe: Recipe,
    *,
    guessing: Guessing,
) -> Iterator[Observation]:
    """Look for a test accuracy that fluctuates, or a training loss that rises.

    Args:
        curve: The evaluations.
        history: Rows of ``history.jsonl``, at least one.
        recipe: Settings of the run.
        guessing: What can be had without looking at the images.
    """
    falls = _falls(curve)
    rises = _train_loss_rises(history, curve.train_images)
    if len(falls) < MIN_FALLS and not rises:
        if not falls:
            yield from _steady(curve, recipe)
        return
    raw = curve.raw_accuracy
    best, last = float(raw.max()), float(raw[-1])
    noise = RECOVERED_STANDARD_ERRORS * estimated_standard_error(last, curve.images)
    has_recovered = last >= best - noise
    is_learned = has_learned(float(curve.accuracy[-1]), curve.images, guessing.accuracy)
    is_healed = is_learned and _has_come_down(curve, history, falls, rises)
    at_last = f"{percent(last)}{' with the raw weights' if curve.is_averaged else ''}"
    at_last_and_best = (
        f"{at_last}, its best." if last == best else f"{at_last} (best {percent(best)})."
    )
    if not has_recovered:
        words = "The learning rate is too high"
        end = f" It ended at {at_last}, {in_points(best - last)} below its best."
    elif is_healed:
        words = "The learning rate was high for a while"
        way = f"The {curve.part} accuracy ended at"
        if falls:
            way = "As it fell, the accuracy recovered to"
        end = f" {way} {at_last_and_best}"
    else:
        words = "The learning rate may be too high"
        end = f" The {curve.part} accuracy ended at {at_last_and_best}" if is_learned else ""
    severity: Severity = "note" if has_recovered and is_learned else "warning"
    advice = _lower_learning_rates(recipe)
    if has_recovered and falls and not curve.is_averaged:
        advice += " Averaged weights (`--set train.ema_decay=0.999`) smooth the curve."
    signs = "; ".join(_signs(curve, falls, rises))
    yield Observation("lr-too-high", severity, f"{words}: {signs}.{end}", advice)


def _steady(curve: LearningCurve, recipe: Recipe) -> Iterator[Observation]:
    if len(curve.raw_accuracy) < MIN_END:
        return
    largest = max(float(-np.diff(curve.raw_accuracy).min()), 0.0)
    words = f"fell by at most {in_points(largest)}" if largest else "never fell"
    # The history has the learning rates at the ends of epochs, and the peak may lie between two.
    has_peaked = curve.epochs_done[-1] >= recipe.schedule.peak_epoch
    highest_lr = recipe.schedule.max_lr if has_peaked else float(curve.lr[-1])
    yield Observation(
        "steady",
        "good",
        f"Learning was steady: the {curve.part} accuracy {words} from one evaluation to "
        f"the next, with learning rates up to {highest_lr:.3g}.",
    )


def _signs(curve: LearningCurve, falls: Sequence[int], rises: Sequence[Rise]) -> Iterator[str]:
    """Say what speaks for a learning rate that is too high."""
    raw = curve.raw_accuracy
    if len(falls) >= MIN_FALLS:
        number = max(falls, key=lambda index: float(raw[index - 1] - raw[index]))
        fall = float(raw[number - 1] - raw[number])
        ses = fall / standard_error(float(raw[number - 1 : number + 1].mean()), curve.images)
        yield (
            f"the {curve.part} accuracy fluctuates, it fell {len(falls)} times by more than "
            f"chance, furthest in epoch {curve.epochs_done[number]} from "
            f"{percent(raw[number - 1])} to {percent(raw[number])} ({ses:.0f} standard errors) "
            f"at learning rate {curve.lr[number]:.3g}"
        )
    if rises:
        before, after = rises[0]
        yield (
            f"the training loss rose from {before['train_loss']:.2f} to {after['train_loss']:.2f} "
            f"in epoch {after['epoch'] + 1} at learning rate {after['lr']:.3g}"
        )


def _lower_learning_rates(recipe: Recipe) -> str:
    schedule = recipe.schedule
    warm_up = (
        " or a longer warm-up (schedule.peak_epoch)"
        if schedule.peak_epoch < recipe.train.epochs
        else ""
    )
    return (
        f"Look at learning rates with `tinysight lr-find STORE --recipe RUN/recipe.toml --out "
        f"DIR`, or try `--set schedule.max_lr={schedule.max_lr / 3:.2g}`{warm_up}."
    )


def judge_end(
    curve: LearningCurve, history: Sequence[Mapping[str, Any]], recipe: Recipe
) -> Iterator[Observation]:
    """Look at the last epochs: does the accuracy still rise, has the learning rate come down?

    That of a run whose epochs are all done.

    Args:
        curve: The evaluations.
        history: Rows of ``history.jsonl``, at least one.
        recipe: Settings of the run.
    """
    highest, last_lr = recipe.schedule.max_lr, float(history[-1]["lr"])
    is_annealed = last_lr < ANNEALED_LR * highest
    if not is_annealed:
        yield Observation(
            "lr-ended-high",
            "warning",
            f"The learning rate ended high: at {last_lr:.3g}, {percent(last_lr / highest)} of its "
            f"highest value {highest:.3g}. The last steps down usually bring much of the accuracy.",
            f"Let it fall to nearly 0: `--set {_lower_end(recipe)}`.",
        )
    at_end = curve.since_last_size()
    if len(at_end.accuracy) >= MIN_END:
        yield from _judge_trend(at_end, recipe, is_annealed=is_annealed)


def _judge_trend(
    curve: LearningCurve, recipe: Recipe, *, is_annealed: bool
) -> Iterator[Observation]:
    """Say whether the accuracy still rises at the end, falls, or has settled.

    Source:
        The standard error of a least-squares slope over evaluations of equal noise.
    """
    count = max(MIN_END, math.ceil(END_SHARE * len(curve.accuracy)))
    epochs = curve.epochs_done[-count:].astype(np.float64)
    accuracy = curve.accuracy[-count:]
    centred = epochs - epochs.mean()
    spread = float((centred**2).sum())
    slope = float((centred * accuracy).sum()) / spread
    slope_noise = curve.noise / math.sqrt(spread)
    span = f"from epoch {curve.epochs_done[-count]} to {curve.epochs_done[-1]}"
    path = f"{percent(accuracy[0])} to {percent(accuracy[-1])}"
    by_chance = f"where chance makes {_chance_in_points(slope_noise)}"
    least = max(SLOPE_STANDARD_ERRORS * slope_noise, WORTHWHILE_SLOPE)
    # What rose to a halt in the middle, or to perfection, does not rise any more.
    still_rises = accuracy[-1 - count // 2] < accuracy[-1] < 1
    if slope > least and still_rises:
        why = (
            " Part of that is the falling learning rate, so the whole schedule must be longer; "
            "more epochs at the end of this one would bring little."
            if is_annealed
            else ""
        )
        yield Observation(
            "still-improving",
            "note",
            f"Still improving at the end: {span} the {curve.part} accuracy rose from {path}, "
            f"{in_points(slope)} an epoch {by_chance}.{why}",
            f"Train a new run with `--set train.epochs={2 * recipe.train.epochs}`.",
        )
    elif slope < -least:
        fewer = fewer_epochs(recipe)
        yield Observation(
            "declining",
            "warning",
            f"Getting worse at the end: {span} the {curve.part} accuracy fell from {path}, "
            f"{in_points(slope)} an epoch {by_chance}.",
            f"Train a new run with fewer epochs: `--set {fewer}`."
            if fewer
            else "Train a new run with an earlier peak: schedule.peak_epoch.",
        )
    elif abs(slope) <= max(slope_noise, WORTHWHILE_SLOPE):  # more may be a rise, or chance
        yield Observation(
            "settled",
            "good",
            f"Settled: {span} the {curve.part} accuracy went from {path}, {in_points(slope)} an "
            f"epoch {by_chance}.",
        )


def _chance_in_points(slope_noise: float) -> str:
    """Return what chance makes, which is never nothing."""
    text = in_points(slope_noise)
    return "less than 0.1 points" if text == in_points(0) else text


def judge_average(curve: LearningCurve, recipe: Recipe, *, steps: int) -> Iterator[Observation]:
    """Compare the averaged weights with the raw ones.

    Args:
        curve: The evaluations.
        recipe: Settings of the run.
        steps: Optimizer steps done.
    """
    if not curve.is_averaged:
        return
    gains = curve.accuracy - curve.raw_accuracy
    gain = float(gains[-1])
    middle = float(curve.accuracy[-1] + curve.raw_accuracy[-1]) / 2
    noise = RECOVERED_STANDARD_ERRORS * estimated_standard_error(middle, curve.images)
    window = 1 / (1 - recipe.train.ema_decay)
    figures = (
        f"{percent(curve.accuracy[-1])} with the averaged weights and "
        f"{percent(curve.raw_accuracy[-1])} with the raw ones"
    )
    if gain > noise:
        yield Observation(
            "average-gains",
            "good",
            f"The averaged weights gain {in_points(gain)}: {figures} on the {curve.part} images.",
        )
    elif gain < -noise:
        is_long = window > LONG_AVERAGE * steps
        shorter_window = max(2.0, LONG_AVERAGE / 4 * steps)
        # Two digits of how far it is from 1, to which a long average would be rounded.
        places = max(3, 1 + math.ceil(math.log10(shorter_window)))
        shorter = f"{1 - 1 / shorter_window:.{places}g}"
        yield Observation(
            "average-lags",
            "warning",
            f"The averaged weights, which the run delivers, lose {in_points(gain)}: {figures} on "
            f"the {curve.part} images. They look back on about {window:,.0f} of {steps:,} steps.",
            f"Average over fewer steps: `--set train.ema_decay={shorter}`."
            if is_long
            else "Leave the average out: `--set train.ema_decay=0`.",
        )
    else:
        during = float(np.median(gains))
        yield Observation(
            "average-even",
            "good",
            f"Averaged and raw weights end even: {figures} on the {curve.part} images, no more "
            f"than chance apart; over the run the averaged ones were "
            f"{in_points(during)} {'ahead' if during >= 0 else 'behind'} in the median.",
        )


def _falls(curve: LearningCurve) -> list[int]:
    """Return the evaluations at which the accuracy had fallen at a high learning rate."""
    raw, falls_since = curve.raw_accuracy, curve.falls
    is_high = curve.lr >= HIGH_LR * curve.lr.max()
    falls = []
    for number in range(1, len(raw)):
        middle = float(raw[number - 1 : number + 1].mean())
        least = max(FALL, FALL_STANDARD_ERRORS * standard_error(middle, curve.images))
        if is_high[number] and falls_since[number - 1] > least:
            falls.append(number)
    return falls


def _has_come_down(
    curve: LearningCurve,
    history: Sequence[Mapping[str, Any]],
    falls: Sequence[int],
    rises: Sequence[Rise],
) -> bool:
    """Return whether the learning rate fell after the troubles, and the accuracy was seen then."""
    lrs = [*(float(curve.lr[number]) for number in falls), *(after["lr"] for _, after in rises)]
    epochs = [
        *(int(curve.epochs_done[number]) for number in falls),
        *(after["epoch"] + 1 for _, after in rises),
    ]
    is_lower = history[-1]["lr"] <= FALLEN_LR * max(lrs)
    return bool(is_lower and curve.epochs_done[-1] > max(epochs))


def _lower_end(recipe: Recipe) -> str:
    """Return the settings that end a run at nearly no learning rate, as ``--set`` takes them."""
    schedule, epochs = recipe.schedule, recipe.train.epochs
    settings = []
    if schedule.kind != "one-cycle":
        settings.append("schedule.kind=one-cycle")
    if 1 / (schedule.div_factor * schedule.final_div_factor) >= ANNEALED_LR:
        settings.append("schedule.final_div_factor=1e4")
    if schedule.peak_epoch >= epochs or not settings:
        earlier = min(EARLY_PEAK * epochs, schedule.peak_epoch / 2)
        settings.append(f"schedule.peak_epoch={earlier:.3g}")
    return " --set ".join(settings)


def _train_loss_rises(history: Sequence[Mapping[str, Any]], train_images: int) -> list[Rise]:
    noise = FALL_STANDARD_ERRORS * IMAGE_LOSS_SPREAD / math.sqrt(train_images)
    return [
        (before, after)
        for before, after in pairwise(history)
        if after["train_loss"] - before["train_loss"]
        > max(TRAIN_LOSS_RISE * before["train_loss"], noise)
        # Larger images are new to a network, and runs of an older version do not tell.
        and before.get("image_px") == after.get("image_px")
    ]
