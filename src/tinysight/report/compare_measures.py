"""The part of a comparison that sets the measures of the runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tinysight.numerals import duration, percent
from tinysight.report.chance import PairedHits
from tinysight.report.classify_page import show_setting
from tinysight.report.compare_scores import (
    OTHER_TESTS,
    Score,
    have_other_tests,
    pair_runs,
    tested_scores,
    tuning_scores,
)
from tinysight.report.page import Block, Callout, Cell, Column, Section, Table
from tinysight.report.run_results import RunResults
from tinysight.run_facts import read_training_parts

Measure = tuple[str, str | None]
"""The name of a measure, and its value in a run; None where there is none."""


def build_measures_section(runs: Sequence[RunResults], names: Sequence[str]) -> Section:
    """Build the section on what came out of each run."""
    blocks: list[Block] = []
    if have_other_tests(runs):
        blocks.append(
            Callout(
                "warning",
                OTHER_TESTS,
                "Train them on the same store.",
            )
        )
    leads = [] if have_other_tests(runs) else list(_lead_rows(runs, names))
    tuned = tuning_scores(runs, names)
    rows = (
        *_rows_of(map(_accuracy, tested_scores(runs, names))),
        *leads,
        *(_rows_of(map(_tuning, tuned)) if tuned else ()),
        *_rows_of(map(_other_measures, runs)),
    )
    caption = _ABOUT_INTERVALS if tuned or any(run.metrics for run in runs) else ""
    if tuned:
        caption += _ABOUT_TUNING
    if leads:
        caption += _ABOUT_LEADS
    # Values of a row have one unit and those of a column many, so they come as texts.
    columns = (Column("Measure"), *(Column(name) for name in names))
    blocks.append(Table("metrics", "Measures", columns, rows, caption, shown=len(rows)))
    return Section("measures", "What came out", tuple(blocks))


def _lead_rows(runs: Sequence[RunResults], names: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    """Yield how far each run is ahead of the first, where any can be compared image by image."""
    pairs = [None, *(pair_runs(runs[0], run) for run in runs[1:])]
    if not any(pairs):
        return
    for label, show in (
        (f"Ahead of {names[0]}, points", _show_lead),
        (f"Recognised by it, not by {names[0]}", lambda pair: f"{pair.only_second:,}"),
        (f"Recognised by {names[0]}, not by it", lambda pair: f"{pair.only_first:,}"),
        (_BY_CHANCE, lambda pair: percent(pair.chance)),
    ):
        yield (label, *(None if pair is None else show(pair) for pair in pairs))


def _show_lead(pair: PairedHits) -> str:
    low, high = pair.lead_interval
    return f"{100 * pair.lead:+z.1f} ({100 * low:+z.1f} to {100 * high:+z.1f})"


_ABOUT_INTERVALS = (
    "An interval holds the accuracy on all images of this kind in 95 % of draws of so many "
    "images (Wilson). Another seed in training changes an accuracy as well, which is not in it."
)
_ABOUT_TUNING = (
    " Tuning images are training images that were held back to choose settings by, here the same "
    "ones in each run; the test part stays unseen until one of them is chosen."
)
_BY_CHANCE = "So uneven by chance"
_ABOUT_LEADS = (
    " These runs share their test images, so a lead rests on those that only one of two runs "
    "recognises: its interval (95 %, Agresti and Min) may leave out 0 where the intervals of both "
    f"accuracies overlap. “{_BY_CHANCE}” is how often two equally good networks are at least so "
    "uneven (exact McNemar test); with many runs, some lead is rare by chance."
)


def _rows_of(measures: Iterable[Iterator[Measure]]) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each measure that a run has: its name, and its value in each run."""
    for same in zip(*measures, strict=True):
        if any(value is not None for _, value in same):
            yield (same[0][0], *(value for _, value in same))


def _accuracy(score: Score | None) -> Iterator[Measure]:
    yield "Test accuracy", None if score is None else percent(score.accuracy)
    yield "95 % interval of it", None if score is None else _written_interval(score)


def _tuning(score: Score | None) -> Iterator[Measure]:
    yield "Tuning accuracy", None if score is None else percent(score.accuracy)
    yield "95 % interval of it", None if score is None else _written_interval(score)
    yield "Tuning loss", None if score is None else written(score.loss, "{:.3f}".format)
    yield "Tuning images", None if score is None else f"{score.images:,}"


def _written_interval(score: Score) -> str:
    return " to ".join(map(percent, score.interval))


def _other_measures(run: RunResults) -> Iterator[Measure]:
    metrics, last = run.metrics or {}, run.history[-1] if run.history else {}
    yield "Among the first five", written(metrics.get("top5"), percent)
    yield "Test loss", written(metrics.get("loss"), "{:.3f}".format)
    yield "Calibration error", written(metrics.get("calibration_error"), percent)
    yield "Training accuracy", written(last.get("train_accuracy"), percent)
    yield "Training loss", written(last.get("train_loss"), "{:.3f}".format)
    yield "Epochs", f"{last['epoch'] + 1:,}" if last else None
    yield "Training time", written(last.get("seconds"), duration)
    yield "Images a second", written(last.get("images_per_s"), "{:,.0f}".format)
    yield "Training images", f"{read_training_parts(run.about, run.recipe).learned_from:,}"
    yield "Test images", f"{run.about['test_images']:,}"
    yield "Classes", f"{len(run.about['classes']):,}"
    yield "Image side", f"{run.about['size_px']} px"
    yield "Device", written(run.environment.get("device"), show_setting)
    yield "Processor", run.environment.get("processor")


def written(value: Any, write: Callable[[Any], str]) -> str | None:
    """Write a value as people read it; None where it was not measured in a run."""
    return None if value is None else write(value)
