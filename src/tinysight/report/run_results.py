"""What a run folder says, read once, as the pages need it. No torch, no store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tinysight import run_folder, whole_files
from tinysight.run_facts import short_class_names
from tinysight.whole_files import Record
from tinysight.writable_names import writable


@dataclass(frozen=True)
class Explanation:
    """What ``tinysight explain`` found.

    Attributes:
        summary: Content of ``explanation.json``.
        gallery: Columns of ``gallery.parquet``; maps as arrays (N, h * w) uint8.
        gallery_about: What the metadata of that file says.
        label_issues: Columns of ``label_issues.parquet``.
        duplicates: Columns of ``duplicates.parquet``.
        duplicates_found: How many pairs were found; that file holds only so many of them.
        pictures: Image files by sample id.
        is_stale: Whether the weights of the run have changed since.
    """

    summary: Record
    gallery: Mapping[str, Any]
    gallery_about: Record
    label_issues: Mapping[str, list[Any]]
    duplicates: Mapping[str, list[Any]]
    duplicates_found: int
    pictures: Mapping[str, bytes]
    is_stale: bool

    @cached_property
    def pictured(self) -> Counter[tuple[int, int]]:
        """How many pictures of the gallery are of a class and taken for a class, by index."""
        return Counter(zip(self.gallery["target"], self.gallery["predicted"], strict=True))

    @cached_property
    def pictured_classes(self) -> frozenset[int]:
        """Index of each class that has a picture in the gallery."""
        return frozenset(self.gallery["target"])


@dataclass(frozen=True)
class RunResults:
    """One run.

    Attributes:
        name: Name of its folder.
        about: Content of ``run.json``.
        recipe: Content of ``recipe.toml``.
        environment: Content of ``environment.json``; empty where there is none.
        history: Rows of ``history.jsonl``.
        steps: Rows of ``steps.jsonl``.
        metrics: Content of ``metrics.json``, or None for a run that was not evaluated.
        explanation: None for a run that was not explained.
        has_weights: Whether the trained weights were written, which a finished run does.
        hits: Whether the first guess is right, by sample id of a test image; None where that was
            not asked for or not written.
    """

    name: str
    about: Record
    recipe: Record
    environment: Record
    history: Sequence[Record]
    steps: Sequence[Record]
    metrics: Record | None
    explanation: Explanation | None
    has_weights: bool
    hits: Mapping[str, bool] | None = None

    # Once: a page asks for them at every link, and there may be thousands of classes.
    @cached_property
    def class_labels(self) -> tuple[str, ...]:
        """A short name for each class, by index, see :func:`.run_facts.short_class_names`."""
        return short_class_names(self.about["classes"])

    @cached_property
    def class_anchors(self) -> tuple[str, ...]:
        """What a link to a class is made of: its WordNet id where every class has its own."""
        classes = self.about["classes"]
        wnids = [entry.get("wnid") or "" for entry in classes]
        if all(wnids) and len(set(wnids)) == len(wnids):
            return tuple(wnids)
        return tuple(str(entry["index"]) for entry in classes)


def load_run_results(run: Path, *, with_hits: bool = False) -> RunResults:
    """Read a run folder.

    Args:
        run: Folder that ``tinysight train`` wrote, at whatever stage.
        with_hits: Whether to read which test images it recognises, to compare it with other runs.

    Raises:
        RunError: Not a run folder, or a file in it is damaged.
    """
    about = run_folder.read_run(run)
    return RunResults(
        name=writable(run.resolve().name),
        about=about,
        recipe=run_folder.read_recipe(run),
        environment=_read_if_there(run / run_folder.ENVIRONMENT) or {},
        history=run_folder.read_history(run),
        steps=run_folder.read_steps(run),
        metrics=run_folder.read_metrics(run),
        explanation=_load_explanation(run) if run_folder.is_explained(run) else None,
        has_weights=(run / run_folder.MODEL).exists(),
        hits=_load_hits(run) if with_hits else None,
    )


def _read_if_there(path: Path) -> Record | None:
    return whole_files.read_json(path) if path.exists() else None


def _load_hits(run: Path) -> dict[str, bool] | None:
    from tinysight.run_tables import read_predictions

    if not (run / run_folder.PREDICTIONS).exists():
        return None
    predictions = read_predictions(run)
    is_right = predictions.top_classes[:, 0] == predictions.targets
    return dict(zip(predictions.sample_ids.tolist(), is_right.tolist(), strict=True))


def _load_explanation(run: Path) -> Explanation:
    from tinysight.run_tables import (
        DUPLICATES_SCHEMA,
        LABEL_ISSUES_SCHEMA,
        PICTURES_SCHEMA,
        gallery_schema,
        read_matrix,
        read_table,
    )

    gallery, about = read_table(run / run_folder.GALLERY, gallery_schema((1, 1)).names)
    pictures, _ = read_table(run / run_folder.PICTURES, PICTURES_SCHEMA.names)
    label_issues, _ = read_table(run / run_folder.LABEL_ISSUES, LABEL_ISSUES_SCHEMA.names)
    # Explanations of older versions do not tell which pairs are mirrored.
    names = [name for name in DUPLICATES_SCHEMA.names if name != "is_mirrored"]
    duplicates, about_duplicates = read_table(run / run_folder.DUPLICATES, names)
    maps = ("predicted_map", "target_map")
    columns = {name: gallery[name].to_pylist() for name in gallery.column_names if name not in maps}
    has_weights = (run / run_folder.MODEL).exists()
    return Explanation(
        summary=run_folder.read_explanation(run),
        gallery=columns | {name: read_matrix(gallery, name) for name in maps},
        gallery_about=about,
        label_issues=label_issues.to_pydict(),
        duplicates=duplicates.to_pydict(),
        duplicates_found=about_duplicates.get("of_pairs", len(duplicates)),
        pictures=dict(
            zip(pictures["sample_id"].to_pylist(), pictures["picture"].to_pylist(), strict=True)
        ),
        is_stale=has_weights and about.get("model_sha256") != run_folder.digest_of_weights(run),
    )
