"""What a network knows of its training images, set against what it knows of others.

Training accuracy in the history is that of augmented batches while they were learned from, with
the weights of that moment. On plain images and with the final weights it would be higher, so a gap
to the test accuracy is at least as large as it looks. Under mixup and cutmix an image has two
labels, and the two accuracies cannot be compared at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tinysight.classify.diagnosis.learning_curve import (
    LearningCurve,
    has_learned,
    is_below_guessing,
    looks_like_guessing,
)
from tinysight.classify.diagnosis.observation import Observation
from tinysight.classify.settings import Recipe
from tinysight.numerals import counted, in_points, percent
from tinysight.run_facts import Guessing
from tinysight.standard_errors import CHANCE_STANDARD_ERRORS, IMAGE_LOSS_SPREAD

GAP_NOTE = 0.10
GAP_WARNING = 0.25
"""Training minus test accuracy. Of the public runs on Tiny ImageNet at 70/30, those that are called
over-fitted end 0.36 (98.4 and 62.6 %) and 0.55 (92.5 and 37.8 %) apart; a run that is still limited
by its network or its epochs ends below 0.1."""
LOSS_RISE = 0.10
"""Rise of the test loss above its lowest value, relative to it. Between neighbouring epochs of a
healthy run it moves by a few hundredths. It must also be more than the images make by chance."""
UNDER_FIT_ACCURACY = 0.70
"""Below this training accuracy more than three in ten of the very images that a network learns
from are missed, so generalising is not yet what holds it back."""

_MOST_SETTINGS = 3  # that one advice names
_USUAL_WEIGHT_DECAY = 5e-4  # that of most published ResNets on small images
_STRONG_WEIGHT_DECAY = 10 * _USUAL_WEIGHT_DECAY


def judge_fit(
    curve: LearningCurve,
    train_accuracy: float,
    recipe: Recipe,
    *,
    guessing: Guessing,
    size_px: int,
    is_finished: bool,
) -> Iterator[Observation]:
    """Compare what the network knows of its training images with what it knows of others.

    Args:
        curve: The evaluations.
        train_accuracy: Of the last epoch.
        recipe: Settings of the run.
        guessing: What can be had without looking at the images.
        size_px: Side of its images.
        is_finished: Whether all epochs are done; more of them may be all that a fit lacks.
    """
    if guessing.accuracy == 1:
        yield _nothing_to_learn(guessing)
        return
    held_out = float(curve.accuracy[-1])
    if looks_like_guessing(held_out, curve.images, guessing.accuracy):
        yield _no_better_than_guessing(curve, train_accuracy, recipe, guessing, size_px)
        return
    if not has_learned(held_out, curve.images, guessing.accuracy):
        yield Observation(
            "too-few-images",
            "note",
            f"{counted(curve.images, f'{curve.part} image')} "
            f"{'is' if curve.images == 1 else 'are'} too few to tell what was learned from "
            f"chance: {percent(held_out)} of them are recognised, and {guessing.way} reaches "
            f"{_what_it_reaches(guessing)}.",
            "Add images, or put more of them into the test part when packing.",
        )
    rise = _loss_rise(curve)
    if recipe.augment.mix_probability > 0:
        yield Observation(
            "training-not-comparable",
            "note",
            f"The training accuracy of {percent(train_accuracy)} cannot be set against the "
            f"{curve.part} accuracy of {percent(held_out)}: "
            f"{percent(recipe.augment.mix_probability)} of the training images were mixed from two "
            f"(augment.mix_probability) and have two classes, so neither over-fitting nor "
            f"under-fitting shows in it.",
            f"Judge by the {curve.part} loss and accuracy alone.",
        )
        if rise:
            yield _rising_loss(curve, rise, recipe, size_px)
        return
    gap = train_accuracy - held_out
    noise = CHANCE_STANDARD_ERRORS * curve.noise
    figures = (
        f"{percent(train_accuracy)} of the training images (augmented, while they were learned "
        f"from) and {percent(held_out)} of the {curve.part} images are recognised"
    )
    if gap >= max(GAP_NOTE, noise):
        strong = gap >= GAP_WARNING or (bool(rise) and not _is_at_best(curve))
        apart = f"{in_points(gap)} apart and on plain training images still more"
        words = "Over-fitted" if strong else "Slightly over-fitted"
        yield Observation(
            "over-fitting",
            "warning" if strong else "note",
            f"{words}: {figures}, {apart}." + (f" {rise}" if rise else ""),
            _more_regularisation(recipe, size_px),
        )
    elif rise:
        yield _rising_loss(curve, rise, recipe, size_px)
    elif train_accuracy < UNDER_FIT_ACCURACY:
        if not is_finished:
            return
        # In the first epoch most training images were seen by a network that knew next to nothing.
        is_first = int(curve.epochs_done[-1]) == 1
        is_harder = gap < -noise and not is_first
        if is_first:
            how = "The training images were counted from the first step on, and neither share"
        elif is_harder:
            harder = f"Augmentation makes the training images harder by {in_points(gap)}"
            how = f"{harder}, and neither share"
        else:
            how = f"The two are close ({in_points(gap)}) and neither"
        yield Observation(
            "under-fitting",
            "note",
            f"Under-fitted: {figures}. {how} is high: the network or the time to learn sets the "
            f"limit, not the number of images.",
            _more_capacity(recipe, size_px, is_augmentation_strong=is_harder),
        )
    elif gap < GAP_WARNING:  # so few images may make a wider one that nothing can be said of it
        yield Observation(
            "fit",
            "good",
            f"No over-fitting: {figures}, {in_points(gap)} apart.",
        )


def fewer_epochs(recipe: Recipe) -> str:
    """Return the setting that halves a run, as ``--set`` takes it; empty where it cannot be."""
    schedule = recipe.schedule
    least = max(1, math.ceil(schedule.peak_epoch), schedule.full_size_epoch + 1)
    fewer = max(least, recipe.train.epochs // 2)
    return f"train.epochs={fewer}" if fewer < recipe.train.epochs else ""


def smoother_labels(recipe: Recipe) -> str:
    """Return the settings that smooth the labels of a run, as ``--set`` takes them."""
    # The other form of the loss has no smoothing.
    loss = "train.loss=cross-entropy --set " if recipe.train.loss == "nll" else ""
    return f"{loss}train.label_smoothing=0.1"


def mixed_images(recipe: Recipe) -> str:
    """Return the settings that mix half of the images of a run, as ``--set`` takes them."""
    augment = recipe.augment
    has_way = any((augment.mixup_alpha, augment.cutmix_alpha, augment.resizemix_max_side))
    return f"augment.mix_probability=0.5{'' if has_way else ' --set augment.cutmix_alpha=1'}"


def with_dropout(recipe: Recipe, size_px: int) -> str:
    """Return the settings that drop a part of half of the images, as ``--set`` takes them."""
    if recipe.augment.dropout_max_px <= size_px:
        return "augment.dropout_probability=0.5"
    least, most = max(1, size_px // 4), max(1, size_px // 2)
    return (
        f"augment.dropout_probability=0.5 --set augment.dropout_min_px={least} "
        f"--set augment.dropout_max_px={most}"
    )


def _nothing_to_learn(guessing: Guessing) -> Observation:
    if guessing.num_classes == 1:
        return Observation(
            "nothing-to-learn",
            "note",
            "With one class there is nothing to learn: its name is right for every image.",
            "Pack images of at least two classes.",
        )
    return Observation(
        "nothing-to-learn",
        "note",
        "All test images are of one class, so that always naming it is right for every one: what "
        "was learned does not show in them.",
        "Pack again with test images of every class.",
    )


def _no_better_than_guessing(
    curve: LearningCurve,
    train_accuracy: float,
    recipe: Recipe,
    guessing: Guessing,
    size_px: int,
) -> Observation:
    """Say what it may be that keeps what was learned, if anything, from helping on new images."""
    held_out = float(curve.accuracy[-1])
    epochs = counted(int(curve.epochs_done[-1]), "epoch")
    noise = CHANCE_STANDARD_ERRORS * curve.noise
    knows_training = has_learned(train_accuracy, curve.train_images, guessing.accuracy)
    if not knows_training or train_accuracy - held_out < max(GAP_NOTE, noise):
        return Observation(
            "not-learning",
            "warning",
            f"Nothing that helps on new images was learned: after {epochs} {percent(held_out)} of "
            f"the {curve.part} images are recognised, and {guessing.way} reaches "
            f"{_what_it_reaches(guessing)}. Of the training images it is "
            f"{percent(train_accuracy)}.",
            "Look at the images and their classes with `tinysight data show STORE --out FILE.png`, "
            "and let `tinysight lr-find STORE --recipe RUN/recipe.toml --out DIR` suggest a "
            "schedule.max_lr.",
        )
    figures = (
        f"after {epochs} {percent(train_accuracy)} of the training images (augmented, while they "
        f"were learned from) and {percent(held_out)} of the {curve.part} images are recognised"
    )
    if is_below_guessing(held_out, curve.images, guessing.num_classes):
        among = counted(guessing.num_classes, "class", "classes")
        return Observation(
            "below-guessing",
            "warning",
            f"Wrong more often than guessing: {figures}, and guessing reaches "
            f"{percent(1 / guessing.num_classes)} with {among}. A network that looks is right "
            f"less often than one that does not where the classes of the two parts do not mean "
            f"the same.",
            f"Look whether the labels of the {curve.part} images are swapped, or sorted otherwise "
            f"than those of the training images, which `tinysight data show STORE --out FILE.png` "
            f"draws with their classes.",
        )
    return Observation(
        "over-fitting",
        "warning",
        f"Learned by heart: {figures}, and {guessing.way} reaches {_what_it_reaches(guessing)}. "
        f"Nothing of what was learned helps on new images.",
        f"Look whether the labels are right (`tinysight data show STORE --out FILE.png` draws "
        f"training images with their classes) and whether the {curve.part} images show the same "
        f"things as the training images. {_more_regularisation(recipe, size_px)}",
    )


def _what_it_reaches(guessing: Guessing) -> str:
    among = counted(guessing.num_classes, "class", "classes")
    return f"{percent(guessing.accuracy)} with {among}"


def _loss_rise(curve: LearningCurve) -> str:
    """Say how the loss of held-out images rose while that of the training images fell, if so.

    Where every image is recognised, no loss is worth a word.
    """
    curve = curve.since_last_size()
    lowest = int(curve.loss.argmin())
    noise = CHANCE_STANDARD_ERRORS * IMAGE_LOSS_SPREAD / math.sqrt(curve.images)
    is_rise = curve.loss[-1] - curve.loss[lowest] >= max(LOSS_RISE * curve.loss[lowest], noise)
    is_training_fall = curve.train_loss[-1] < curve.train_loss[lowest]
    if not is_rise or not is_training_fall or curve.accuracy[-1] == 1:
        return ""
    return (
        f"The {curve.part} loss was lowest after epoch {curve.epochs_done[lowest]} "
        f"({curve.loss[lowest]:.2f}) and rose to {curve.loss[-1]:.2f}, while the training loss "
        f"fell from {curve.train_loss[lowest]:.2f} to {curve.train_loss[-1]:.2f}."
    )


def _rising_loss(curve: LearningCurve, rise: str, recipe: Recipe, size_px: int) -> Observation:
    """Judge a loss that rises where the accuracies are not far apart, or cannot be compared."""
    advice = _more_regularisation(recipe, size_px)
    if not _is_at_best(curve):
        return Observation("over-fitting", "warning", rise, advice)
    all_the_same = (
        f"The {curve.part} accuracy is at its best all the same: the network grows surer of its "
        f"mistakes, but makes no more of them."
    )
    return Observation("over-fitting", "note", f"{rise} {all_the_same}", advice)


def _is_at_best(curve: LearningCurve) -> bool:
    return bool(curve.accuracy[-1] == curve.since_last_size().accuracy.max())


def _more_regularisation(recipe: Recipe, size_px: int) -> str:
    augment, train = recipe.augment, recipe.train
    settings = []
    if augment.pad_px == 0:
        settings.append(f"augment.pad_px={size_px // 8}")
    if augment.flip_probability == 0:
        settings.append("augment.flip_probability=0.5")
    if recipe.optimizer.weight_decay < _USUAL_WEIGHT_DECAY:
        settings.append(f"optimizer.weight_decay={_USUAL_WEIGHT_DECAY:g}")
    if augment.dropout_probability == 0:
        settings.append(with_dropout(recipe, size_px))
    if augment.mix_probability == 0:
        settings.append(mixed_images(recipe))
    if train.label_smoothing == 0:
        settings.append(smoother_labels(recipe))
    if not settings:
        fewer = fewer_epochs(recipe)
        return f"Try `--set {fewer}`, or add images." if fewer else "Add images."
    return f"Make the training images harder to learn by heart: {_listed(settings)}."


def _more_capacity(recipe: Recipe, size_px: int, *, is_augmentation_strong: bool) -> str:
    settings = [f"train.epochs={2 * recipe.train.epochs}"]
    if recipe.model.name.startswith("compact"):
        settings.append("model.name=resnet18")
    elif recipe.model.stem == "7x7" and size_px <= 96:
        settings.append("model.stem=3x3")
    elif recipe.model.name == "resnet18":
        settings.append("model.name=resnet34")
    if recipe.optimizer.weight_decay >= _STRONG_WEIGHT_DECAY and recipe.optimizer.name == "sgd":
        settings.append(f"optimizer.weight_decay={_USUAL_WEIGHT_DECAY:g}")
    if is_augmentation_strong:
        return (
            f"Try {_listed(settings)}; or weaker augmentation, for it makes the training images "
            f"harder than the others."
        )
    return f"Try {_listed(settings)}."


def _listed(settings: Sequence[str]) -> str:
    """Join settings that may be tried one by one."""
    *first, last = (f"`--set {setting}`" for setting in settings[:_MOST_SETTINGS])
    return f"{', '.join(first)} or {last}" if first else last
