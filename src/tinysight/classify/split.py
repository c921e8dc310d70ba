"""Which images are for training and which for testing.

The split is keyed by a seed and the sample ids alone. It does not depend on the order in which
images are listed, on the layout they come from or on a random generator of some version: within
each class the samples are ordered by SHA-256 of ``seed:sample_id`` and the first part trains.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tinysight.errors import DataError
from tinysight.numerals import counted

OFFICIAL = "official"

PART_OF_NAME = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""What the parts of data sets are called, in small letters, and what each of them is."""


@dataclass(frozen=True)
class SplitRule:
    """How to divide the images of a source."""

    name: str
    """``official`` or ``A/B``."""
    train_fraction: Fraction | None
    """Share of each class that trains; None for the parts that the source came in."""


def parse_split_rule(text: str) -> SplitRule:
    """Return the rule that ``70/30``, ``A/B`` or ``official`` stands for.

    Raises:
        DataError: Something else, or a part that would get nothing.
    """
    if text == OFFICIAL:
        return SplitRule(OFFICIAL, None)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match and int(match[1]) and int(match[2]):
        train, test = int(match[1]), int(match[2])
        return SplitRule(text, Fraction(train, train + test))
    raise DataError(
        f"--split (={text!r}) must be 'official' or two whole numbers above 0, for instance "
        f"70/30 or 80/20."
    )


def stratified_split(
    sample_ids: Sequence[str],
    targets: NDArray[np.integer],
    wnids: Sequence[str],
    *,
    train_fraction: Fraction,
    seed: int,
) -> NDArray[np.bool_]:
    """Divide every class at the same fraction.

    A class of n images gives the ``round(train_fraction * n)`` of them with the lowest keys to
    training (a half is rounded to even).

    Args:
        sample_ids: Distinct names, N of them, in any order.
        targets: class_index of each, shape (N,).
        wnids: Names of the classes, for messages.
        train_fraction: Share that trains, in (0, 1).
        seed: Gives another split of the same images.

    Returns:
        True where a sample trains, shape (N,).

    Raises:
        DataError: A class is too small to have images in both parts.
    """
    is_train = np.zeros(len(sample_ids), dtype=np.bool_)
    by_class = np.argsort(targets, kind="stable")
    bounds = np.searchsorted(targets[by_class], np.arange(len(wnids) + 1))
    counts = np.diff(bounds).tolist()
    nums_train = [round(train_fraction * count) for count in counts]
    _require_both_parts(counts, nums_train, wnids, train_fraction)
    for class_index, num_train in enumerate(nums_train):
        members = by_class[bounds[class_index] : bounds[class_index + 1]]
        keys = [_key(seed, sample_ids[member]) for member in members]
        order = sorted(range(len(members)), key=keys.__getitem__)
        is_train[members[order[:num_train]]] = True
    return is_train


def _require_both_parts(
    counts: Sequence[int], nums_train: Sequence[int], wnids: Sequence[str], train_fraction: Fraction
) -> None:
    pairs = enumerate(zip(counts, nums_train, strict=True))
    small = [index for index, (count, num_train) in pairs if not 0 < num_train < count]
    if small:
        count, num_train = counts[small[0]], nums_train[small[0]]
        raise DataError(
            f"class {wnids[small[0]]!r}: must have enough images for both parts of the split "
            f"({float(train_fraction):.0%} train), has {count}: {num_train} to train and "
            f"{count - num_train} to test.{_others(small)} Add images or choose another --split."
        )


def _others(classes: Sequence[int]) -> str:
    """Say how many classes have the fault that is told of the first of them."""
    num_others = len(classes) - 1
    verb = "has" if num_others == 1 else "have"
    others = counted(num_others, "other class", "other classes")
    return f" {others} {verb} too few as well." if num_others else ""


def official_split(
    original_splits: Sequence[str], targets: NDArray[np.integer], wnids: Sequence[str]
) -> NDArray[np.bool_]:
    """Divide the images as the source does.

    ``train`` trains. A labelled ``test`` tests, and a ``val`` beside it trains too, since it then
    has no other use; without a labelled ``test``, ``val`` tests.

    Args:
        original_splits: The part that each image came in, N of them.
        targets: class_index of each, shape (N,).
        wnids: Names of the classes, for messages.

    Returns:
        True where a sample trains, shape (N,).

    Raises:
        DataError: The source is not divided, or a class is missing from one part.
    """
    parts = official_parts(original_splits)
    is_train = np.array([parts[part] == "train" for part in original_splits], dtype=np.bool_)
    for name, mask in (("train", is_train), ("test", ~is_train)):
        counts = np.bincount(targets[mask], minlength=len(wnids))
        if not counts.all():
            empty = np.flatnonzero(counts == 0).tolist()
            raise DataError(
                f"class {wnids[empty[0]]!r}: must have images in both parts of --split official, "
                f"has none to {name}.{_others(empty)} Add images or use --split 70/30."
            )
    return is_train


def official_parts(original_splits: Iterable[str]) -> dict[str, str]:
    """Say what the official split does with each part that a source comes in.

    Args:
        original_splits: Parts with labelled images, in any order, as often as need be.

    Returns:
        ``train`` or ``test`` by the name of the part, see ``official_split``.

    Raises:
        DataError: The source is not divided, or a part is neither to learn from nor to test on.
    """
    kinds = {part: PART_OF_NAME.get(part.lower()) for part in sorted(set(original_splits))}
    found = ", ".join(kinds)
    if "train" not in kinds.values() or not {"val", "test"} & set(kinds.values()):
        raise DataError(
            f"--split official: the source must come with a train part and a labelled val or "
            f"test part, found {found}. Use --split 70/30."
        )
    if None in kinds.values():
        raise DataError(
            f"--split official: every part must be a train, val or test part, or have another of "
            f"the usual names ({', '.join(PART_OF_NAME)}), found {found}. Use --split 70/30."
        )
    test_kind = "test" if "test" in kinds.values() else "val"
    return {part: "test" if kind == test_kind else "train" for part, kind in kinds.items()}


def split_digest(sample_ids: Sequence[str], is_train: NDArray[np.bool_]) -> str:
    """Return the name of a split: equal for equal parts, whatever their order.

    It is the SHA-256, in hexadecimal, of the UTF-8 text that has one line a sample, ``train`` or
    ``test``, a tab and the sample id, a line feed after each, the lines sorted by code point.
    """
    lines = sorted(
        f"{'train' if trains else 'test'}\t{sample_id}\n"
        for sample_id, trains in zip(sample_ids, is_train.tolist(), strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _key(seed: int, sample_id: str) -> bytes:
    return hashlib.sha256(f"{seed}:{sample_id}".encode()).digest()
