"""What follows from the files of a run alone: images trained on, what guessing gets, names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tinysight.numerals import percent
from tinysight.standard_errors import CHANCE_STANDARD_ERRORS, standard_error

# A path of any system, maybe behind the name of an option or a setting.
_PATH = re.compile(r"(?P<key>[^=/\\]+=)?(?:.*[/\\])?(?P<name>[^/\\]+)[/\\]*", re.DOTALL)

MISCALIBRATED = 0.05
"""Distance between mean confidence and accuracy that a reader of the probabilities would notice:
"90 %" that is right 85 times in a hundred."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Guessing:
    """The best that can be done without looking at the images.

    Attributes:
        num_classes: Classes to guess among.
        accuracy: Share of the test images that is right if the commonest class is always guessed;
            1 / ``num_classes`` where all classes are equally common.
    """

    num_classes: int
    accuracy: float

    @property
    def way(self) -> str:
        """How it is done, as the subject of a sentence."""
        is_even = percent(self.accuracy) == percent(1 / self.num_classes)
        return "guessing" if is_even else "always naming the commonest class"


def read_guessing(about: Record) -> Guessing:
    """Return what guessing would get in the test part of a run.

    Args:
        about: Content of ``run.json``. One that an older version wrote has no images by class;
            they are then taken as equally common.
    """
    num_classes = len(about["classes"])
    by_class = about.get("class_test_images", ())
    commonest = max(by_class) / sum(by_class) if any(by_class) else 0.0
    return Guessing(num_classes, max(commonest, 1 / num_classes))


@dataclass(frozen=True)
class Calibration:
    """How sure a network is of its first guesses, beside how often they are right.

    Attributes:
        confidence: Mean probability of the first guesses.
        accuracy: Share of them that is right.
        error: Expected calibration error: how far the two are apart in groups of like confidence,
            on average. No less than they are apart over all.
        tolerance: Distance up to which they are as good as equal.
    """

    confidence: float
    accuracy: float
    error: float
    tolerance: float

    @property
    def gap(self) -> float:
        """Mean probability minus share of right guesses."""
        return self.confidence - self.accuracy

    @property
    def verdict(self) -> Literal["calibrated", "too sure", "not sure enough", "errors cancel out"]:
        """Whether the probabilities can be believed."""
        if abs(self.gap) >= self.tolerance:
            return "too sure" if self.gap > 0 else "not sure enough"
        return "calibrated" if self.error < self.tolerance else "errors cancel out"


def read_calibration(metrics: Record) -> Calibration:
    """Return how sure a network is, and how often it is right.

    Args:
        metrics: Content of ``metrics.json``.
    """
    images, accuracy = metrics["images"], metrics["accuracy"]
    sure = sum(
        group["images"] * group["confidence"] for group in metrics["calibration"] if group["images"]
    )
    noise = CHANCE_STANDARD_ERRORS * standard_error(accuracy, images)
    return Calibration(
        confidence=sure / images,
        accuracy=accuracy,
        error=metrics["calibration_error"],
        tolerance=max(MISCALIBRATED, noise),
    )


@dataclass(frozen=True)
class TrainingParts:
    """How the training images of a run were used.

    Attributes:
        learned_from: Images that the network was trained on.
        held_back: Images that settings were chosen by.
    """

    learned_from: int
    held_back: int


def read_training_parts(about: Record, recipe: Record) -> TrainingParts:
    """Return how many training images were learned from, and how many held back.

    Args:
        about: Content of ``run.json``. One that an older version wrote does not say how many were
            held back; the share in the recipe then does, to a few images.
        recipe: The recipe of the run, as tables of settings.
    """
    of_images = int(about["train_images"])
    held_back = about.get("tuning_images")
    if held_back is None:
        fraction = recipe["train"].get("tuning_fraction", 0.0)
        held_back = max(1, round(of_images * fraction)) if fraction else 0
    return TrainingParts(of_images - held_back, held_back)


def short_class_names(classes: Sequence[Record]) -> tuple[str, ...]:
    """Return a short name for each class.

    Where a class has a name of its own beside its id, as WordNet's have, it lists synonyms after
    commas, ``goldfish, Carassius auratus``: the first stands for all, where it is that of one class
    only. A name that is the id, that of a folder, is left whole.

    Args:
        classes: Their ``wnid`` and ``name``, in order.

    Returns:
        Names of which no two are equal, unless whole names are.
    """
    firsts = [
        (entry["name"] if entry["name"] == entry["wnid"] else entry["name"].split(", ")[0]).strip()
        for entry in classes
    ]
    count_of = Counter(firsts)
    return tuple(
        (first if first and count_of[first] == 1 else entry["name"].strip()) or f"class {index}"
        for index, (first, entry) in enumerate(zip(firsts, classes, strict=True))
    )


def without_folders(word: str) -> str:
    r"""Return a word of a command, or a path, with the last name of the path alone.

    Args:
        word: Such as ``runs/a``, ``--out=runs/a`` or ``table.key=C:\runs\a``; its path may be of
            another system than this one.
    """
    found = _PATH.fullmatch(word)
    return f"{found['key'] or ''}{found['name']}" if found else word
