"""What the files of a run folder must hold, whatever version wrote them.

``a.b`` stands for the key ``b`` of the table or object ``a``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinysight.errors import RunError

FACTS = (
    *("tinysight", "recipe_name", "store", "split", "split_seed", "split_digest"),
    *("train_images", "test_images", "size_px", "mean", "std", "classes"),
)

SETTINGS = ("augment", "model.name", "train.epochs", "train.seed")

EPOCH = ("epoch", "steps", "train_loss", "train_accuracy", "lr", "seconds", "images_per_s")

STEP = ("step", "loss", "lr")

RESULTS = (
    *("accuracy", "calibration", "calibration_error", "classes", "images", "loss", "top5"),
    "weights",
)

FINDINGS = (
    *("method", "images", "of_images", "mistakes", "confident_mistakes", "confused_pairs"),
    *("confusion.order", "confusion.counts", "label_issues.found", "label_issues.of_images"),
    *("duplicates.identical", "duplicates.near", "duplicates.across_split"),
    "duplicates.two_labels",
)


def require_keys(
    path: Path,
    found: Mapping[str, Any],
    names: Sequence[str],
    what: str,
    advice: str,
    *,
    line: int | None = None,
) -> None:
    """Refuse a file that lacks a key, or has null there.

    Args:
        path: The file.
        found: What is in it, or in a line of it.
        names: The keys.
        what: What the file or line must do, behind "must".
        advice: What to do about one that does not; a sentence.
        line: Number of the line, from 1; None where the whole file is one object.

    Raises:
        RunError: A key is missing.
    """
    missing = [name for name in names if not _has(found, name)]
    if missing:
        which = "" if line is None else f"line {line} "
        raise RunError(
            f"{path}: {which}must {what}, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. {advice}"
        )


def _has(found: Any, name: str) -> bool:
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found is not None
