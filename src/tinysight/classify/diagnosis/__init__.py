"""How a run went, in plain words, with the figures behind each sentence and what to try next.

NumPy only; everything here is read from the run folder, so it needs neither the network nor the
images. The thresholds are named constants beside the rules that use them: :mod:`.fit`,
:mod:`.schedule` and :mod:`.predictions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinysight import run_folder
from tinysight.classify.diagnosis.fit import judge_fit
from tinysight.classify.diagnosis.learning_curve import has_learned, read_curve
from tinysight.classify.diagnosis.observation import Observation
from tinysight.classify.diagnosis.predictions import (
    judge_calibration,
    judge_classes,
    judge_labels,
)
from tinysight.classify.diagnosis.schedule import judge_average, judge_end, judge_learning_rate
from tinysight.classify.run_settings import read_settings
from tinysight.classify.settings import Recipe
from tinysight.run_facts import read_guessing

__all__ = ["Observation", "diagnose", "diagnose_run"]

_ORDER = ("warning", "note", "good")

_CHOSEN_BY_RESULTS = frozenset(
    {
        "not-learning",
        "below-guessing",
        "over-fitting",
        "under-fitting",
        "training-not-comparable",
        "lr-too-high",
        "lr-ended-high",
        "still-improving",
        "declining",
        "average-lags",
        "classes-never-learned",
        "weak-classes",
        "over-confident",
        "under-confident",
    }
)
"""Kinds of findings that come from how the test images were recognised and advise a change."""

_TEST_PART_CHOOSES = Observation(
    "test-part-chooses",
    "note",
    "These findings come from the test images. Settings that are chosen by them fit the test "
    "images a little, and the test accuracy then flatters the network.",
    "To compare settings, hold training images back: `tinysight train STORE --recipe "
    "RUN/recipe.toml --out OTHER --tuning-fraction 0.1`.",
)

Record = Mapping[str, Any]


def diagnose_run(run: str | Path) -> tuple[Observation, ...]:
    """Diagnose a run from its folder, whatever it holds so far.

    Args:
        run: A run folder; metrics and explanation are used where they are there.

    Raises:
        RunError: Not a run folder, a damaged file in it, or settings of another version.
    """
    run = Path(run)
    is_explained = run_folder.is_explained(run)
    return diagnose(
        run_folder.read_history(run),
        run_folder.read_metrics(run),
        read_settings(run),
        about=run_folder.read_run(run),
        explanation=run_folder.read_explanation(run) if is_explained else None,
        has_weights=(run / run_folder.MODEL).exists(),
    )


def diagnose(
    history: Sequence[Record],
    metrics: Record | None,
    recipe: Recipe,
    *,
    about: Record,
    explanation: Record | None = None,
    has_weights: bool = True,
) -> tuple[Observation, ...]:
    """Say how a run went.

    A finding is made only where chance cannot explain it: accuracies are compared with their
    standard error on the images that they were measured on.

    Args:
        history: Rows of ``history.jsonl``.
        metrics: Content of ``metrics.json``, or None for a run that was not evaluated.
        recipe: Settings of the run.
        about: Content of ``run.json``: number of images and classes.
        explanation: Content of ``explanation.json``, where the run was explained.
        has_weights: Whether the trained weights were written, so that the run can be evaluated.

    Returns:
        That the run is not finished first, for all else is of a part of it; then warnings, notes
        and what is good.
    """
    found = list(_observations(history, metrics, recipe, about, explanation, has_weights))
    is_choice_ahead = any(observation.kind in _CHOSEN_BY_RESULTS for observation in found)
    if is_choice_ahead and recipe.train.tuning_fraction == 0:
        found.append(_TEST_PART_CHOOSES)
    return tuple(sorted(found, key=_place))


def _place(observation: Observation) -> tuple[bool, int]:
    return observation.kind != "unfinished", _ORDER.index(observation.severity)


def _observations(
    history: Sequence[Record],
    metrics: Record | None,
    recipe: Recipe,
    about: Record,
    explanation: Record | None,
    has_weights: bool,
) -> Iterator[Observation]:
    if not history:
        yield Observation(
            "no-epoch",
            "note",
            f"No epoch is finished yet, of {recipe.train.epochs:,}.",
            "Go on with `tinysight train STORE --out RUN --resume`.",
        )
        return
    last = history[-1]
    done, epochs = last["epoch"] + 1, recipe.train.epochs
    is_finished = done >= epochs
    if not is_finished:
        yield Observation(
            "unfinished",
            "note",
            f"The run is not finished: {done:,} of {epochs:,} epochs are done.",
            "Go on with `tinysight train STORE --out RUN --resume`.",
        )
    guessing = read_guessing(about)
    curve = read_curve(history, about, recipe)
    if curve is not None:
        yield from judge_fit(
            curve,
            last["train_accuracy"],
            recipe,
            guessing=guessing,
            size_px=about["size_px"],
            is_finished=is_finished,
        )
    # A schedule is good or bad for learning, so there must be something to learn.
    if curve is not None and guessing.accuracy < 1:
        schedule = [
            *judge_learning_rate(curve, history, recipe, guessing=guessing),
            *(judge_end(curve, history, recipe) if is_finished else ()),
            *judge_average(curve, recipe, steps=last["steps"]),
        ]
        # Where nothing was learned, it is no comfort that it was done steadily.
        has = has_learned(float(curve.accuracy[-1]), curve.images, guessing.accuracy)
        yield from (found for found in schedule if has or found.severity != "good")
    if metrics is not None:
        yield from judge_classes(metrics, guessing=guessing, is_explained=explanation is not None)
        yield from judge_calibration(metrics, recipe)
    elif recipe.train.tuning_fraction == 0:
        yield Observation(
            "not-evaluated",
            "note",
            "The test images were not predicted one by one, so classes and confidence cannot be "
            "judged.",
            "Run `tinysight evaluate RUN`."
            if has_weights
            else "Finish it with `tinysight train STORE --out RUN --resume`.",
        )
    if explanation is not None:
        yield from judge_labels(explanation, test_images=about["test_images"])
