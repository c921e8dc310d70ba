"""What the predictions of a run say: classes that fail, confidence, doubtful labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tinysight.classify.diagnosis.fit import fewer_epochs, mixed_images, smoother_labels
from tinysight.classify.diagnosis.learning_curve import (
    has_learned,
    looks_like_guessing,
)
from tinysight.classify.diagnosis.observation import Observation
from tinysight.classify.settings import Recipe
from tinysight.numerals import counted, in_points, percent
from tinysight.run_facts import Guessing, read_calibration, short_class_names
from tinysight.standard_errors import CHANCE_STANDARD_ERRORS, estimated_standard_error

MIN_CLASS_IMAGES = 20
"""Classes with fewer test images are not judged: the share of hits among them says little."""
WEAK_SHARE = 0.5
"""A weak class is recognised less than so many times as often as the average image."""

_MOST_NAMED = 5

Record = Mapping[str, Any]


def judge_classes(
    metrics: Record, *, guessing: Guessing, is_explained: bool
) -> Iterator[Observation]:
    """Look for classes that are recognised no better than by guessing, or far below the average.

    Args:
        metrics: Content of ``metrics.json``.
        guessing: What can be had without looking at the images.
        is_explained: Whether the page of the run shows what the images of a class are taken for;
            the advice is then to look, and otherwise how to get there.
    """
    classes = [entry for entry in metrics["classes"] if entry["images"] >= MIN_CLASS_IMAGES]
    num_classes = len(metrics["classes"])
    average = metrics["accuracy"]
    if not classes or not has_learned(average, metrics["images"], guessing.accuracy):
        return
    names = short_class_names(metrics["classes"])
    taken_for = (
        "“What it confuses” on the page of the run says what their images are taken for"
        if is_explained
        else "`tinysight explain RUN` and then `tinysight report RUN` show what their images are "
        "taken for"
    )
    below = [entry for entry in classes if _is_below(average, entry)]
    never = [
        entry
        for entry in below
        if looks_like_guessing(entry["accuracy"], entry["images"], 1 / num_classes)
    ]
    if never:
        yield Observation(
            "classes-never-learned",
            "warning",
            f"{_of_classes(len(never), num_classes)} no more often recognised than by "
            f"guessing (which reaches {percent(1 / num_classes)}): {_named(never, names)}.",
            f"{taken_for}; look for wrong labels, for classes that look alike, and for too few "
            f"images.",
        )
    weak = [
        entry for entry in below if entry not in never and entry["accuracy"] < WEAK_SHARE * average
    ]
    if weak:
        yield Observation(
            "weak-classes",
            "note",
            f"{_of_classes(len(weak), num_classes)} recognised less than half as often as "
            f"the average image ({percent(average)}): {_named(weak, names)}.",
            f"{taken_for}.",
        )
    if not never and not weak and all(_was_learned(entry, num_classes) for entry in classes):
        worst = min(classes, key=lambda entry: float(entry["accuracy"]))
        yield Observation(
            "classes-learned",
            "good",
            f"Every class was learned: the worst, {names[worst['index']]}, is recognised in "
            f"{percent(worst['accuracy'])} of its {counted(worst['images'], 'test image')}.",
        )


def judge_calibration(metrics: Record, recipe: Recipe) -> Iterator[Observation]:
    """Compare how sure the network is with how often it is right.

    Args:
        metrics: Content of ``metrics.json``.
        recipe: Settings of the run.

    Source:
        Guo et al. 2017, On Calibration of Modern Neural Networks (arXiv:1706.04599).
    """
    found = read_calibration(metrics)
    figures = (
        f"its first guesses have a mean probability of {percent(found.confidence)} and "
        f"{percent(found.accuracy)} of them are right"
    )
    if found.verdict == "calibrated":
        yield Observation(
            "calibrated",
            "good",
            f"The probabilities can be believed: {figures}; probability and share of right "
            f"guesses are {in_points(found.error)} apart on average (expected calibration error).",
        )
        return
    if found.verdict == "errors cancel out":
        return
    is_too_sure = found.verdict == "too sure"
    example = max(
        (
            entry
            for entry in metrics["calibration"]
            if entry["images"] and (entry["confidence"] > entry["accuracy"]) == is_too_sure
        ),
        key=lambda entry: entry["images"] * abs(entry["confidence"] - entry["accuracy"]),
    )
    shown = (
        f"Of the {counted(example['images'], 'image')} with a guess between "
        f"{percent(example['low'])} and {percent(example['high'])}, "
        f"{percent(example['accuracy'])} are right. The expected calibration error is "
        f"{percent(found.error)}."
    )
    if is_too_sure:
        change = _less_confidence(recipe)
        yield Observation(
            "over-confident",
            "note",
            f"Over-confident: {figures}. {shown}",
            "Do not read the probabilities as chances of being right"
            + (f"; `--set {change}` makes them lower." if change else "."),
        )
        return
    changes = " or ".join(_more_confidence(recipe))
    yield Observation(
        "under-confident",
        "note",
        f"Under-confident: {figures}. {shown}",
        "A guess is more often right than its probability says"
        + (f"; {changes} makes it surer." if changes else "."),
    )


def _less_confidence(recipe: Recipe) -> str:
    """Return the setting that makes a network less sure; empty where there is none."""
    if recipe.train.label_smoothing == 0:
        return smoother_labels(recipe)
    if recipe.augment.mix_probability == 0:
        return mixed_images(recipe)
    return fewer_epochs(recipe)


def _more_confidence(recipe: Recipe) -> Iterator[str]:
    """Yield the settings that make a network surer."""
    smoothing, mixing = recipe.train.label_smoothing, recipe.augment.mix_probability
    if smoothing > 0:
        yield f"`--set train.label_smoothing={smoothing / 2:g}`"
    if mixing > 0:
        yield f"`--set augment.mix_probability={mixing / 2:g}`"


def judge_labels(explanation: Record, *, test_images: int) -> Iterator[Observation]:
    """Say how far doubtful labels and images on both sides of the split limit what can be known.

    Args:
        explanation: Content of ``explanation.json``.
        test_images: Images of the test part.
    """
    duplicates = explanation.get("duplicates", {})
    two_labels = duplicates.get("two_labels", 0)
    if two_labels:
        yield Observation(
            "two-labels",
            "note",
            f"{counted(two_labels, 'pair')} of equal or nearly equal images {_have(two_labels)} "
            f"two different labels. At least one label of each pair is wrong or incomplete.",
            "They stand under “Pictures that are there twice” on the page of the run; give both "
            "images one label, or remove them.",
        )
    across = duplicates.get("across_split", 0)
    if across:
        seen = duplicates.get("seen_test_images", min(across, test_images))
        yield Observation(
            "seen-before",
            "note",
            f"{counted(seen, 'test image')} {'is' if seen == 1 else 'are'} equal or nearly equal "
            f"to an image of the training part: at most {in_points(seen / test_images)} of the "
            f"test accuracy can come from having seen {'it' if seen == 1 else 'them'}.",
            "They stand under “Pictures that are there twice” on the page of the run; remove one "
            "image of each pair and pack again.",
        )
    issues = explanation.get("label_issues", {})
    if issues.get("found"):
        found, of_images = issues["found"], issues["of_images"]
        missed = percent(explanation["mistakes"] / of_images)
        yield Observation(
            "label-issues",
            "note",
            f"{found:,} of {of_images:,} test labels are suspected to be wrong "
            f"({percent(found / of_images)}). The network itself misses {missed} of these images, "
            f"so it is a list to look through, not a count of errors.",
            "They stand under “Labels that may be wrong” on the page of the run, the most "
            "suspicious first.",
        )


def _of_classes(number: int, num_classes: int) -> str:
    return f"{number:,} of {num_classes:,} classes {'is' if number == 1 else 'are'}"


def _have(number: int) -> str:
    return "has" if number == 1 else "have"


def _is_below(average: float, entry: Record) -> bool:
    """Return whether a class is recognised less often than the average by more than chance."""
    noise = CHANCE_STANDARD_ERRORS * estimated_standard_error(entry["accuracy"], entry["images"])
    return bool(average - entry["accuracy"] > noise)


def _was_learned(entry: Record, num_classes: int) -> bool:
    return has_learned(entry["accuracy"], entry["images"], 1 / num_classes)


def _named(classes: Sequence[Record], names: Sequence[str]) -> str:
    """Name the worst of some classes with their accuracy.

    Args:
        classes: Their entries in ``metrics.json``.
        names: Short names of all classes, by index.
    """
    worst = sorted(classes, key=lambda entry: (entry["accuracy"], entry["index"]))
    parts = [f"{names[entry['index']]} {percent(entry['accuracy'])}" for entry in worst]
    left_out = len(parts) - _MOST_NAMED
    if left_out > 1:
        parts = [*parts[:_MOST_NAMED], f"and {left_out:,} more"]
    return ", ".join(parts)
