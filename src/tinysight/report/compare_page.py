"""The page that sets several runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tinysight.numerals import counted, percent
from tinysight.report.chart_style import RUN_COLOURS
from tinysight.report.class_charts import class_change_chart
from tinysight.report.classify_page import show_setting
from tinysight.report.compare_measures import build_measures_section, written
from tinysight.report.compare_scores import (
    have_other_tests,
    headline_of,
    tested_scores,
    tuning_scores,
)
from tinysight.report.page import (
    Block,
    Cell,
    Column,
    Columns,
    Figure,
    Key,
    Page,
    Section,
    Stat,
    Table,
    Text,
)
from tinysight.report.run_results import RunResults
from tinysight.report.training_charts import (
    Curve,
    epoch_chart,
    measured_part,
    say_sizes,
    series_of,
    step_chart,
    step_points,
    value_range_of,
)

_MOST_RUNS = len(RUN_COLOURS)


def build_comparison_page(runs: Sequence[RunResults]) -> Page:
    """Build the page of two to six runs; the first one is what the others are compared with.

    Args:
        runs: In the order in which they are to be named.

    Raises:
        RunError: More runs than a chart has colours for.
    """
    from tinysight.errors import RunError

    if len(runs) > _MOST_RUNS:
        raise RunError(
            f"a page must show at most {_MOST_RUNS} runs, got {len(runs)}. Compare fewer at a time."
        )
    names = run_names(runs)
    sections = [build_measures_section(runs, names), _curves_section(runs, names)]
    sections.append(_recipe_section(runs, names))
    have_same_classes = len({_classes_of(run) for run in runs}) == 1
    if have_same_classes and not have_other_tests(runs) and all(run.metrics for run in runs):
        sections.append(_classes_section(runs, names))
    tested, tuned = tested_scores(runs, names), tuning_scores(runs, names)
    scored = [score for score in tested if score] or [score for score in tuned if score]
    headline, lead = headline_of(runs, names)
    return Page(
        title=f"{' · '.join(names)} · tinysight",
        kicker=f"{len(runs)} runs side by side",
        headline=headline,
        lead=lead,
        stats=tuple(Stat(percent(score.accuracy), score.name) for score in scored),
        sections=tuple(sections),
    )


def run_names(runs: Sequence[RunResults]) -> tuple[str, ...]:
    """Return a name for each run, numbered where folders have the same name."""
    folders = [run.name for run in runs]
    return tuple(
        folder if folders.count(folder) == 1 else f"{folder} ({number})"
        for number, folder in enumerate(folders, 1)
    )


def _curves_section(runs: Sequence[RunResults], names: Sequence[str]) -> Section:
    blocks: list[Block] = []
    for quantity, is_share in (("accuracy", True), ("loss", False)):
        where, measured = _measured(runs, names, quantity)
        trained = tuple(
            curve
            for run, name, colour in zip(runs, names, RUN_COLOURS, strict=False)
            for curve in _curve(run, name, colour, f"train_{quantity}")
        )
        sides = [
            (name, title, curves)
            for name, title, curves in (
                ("measured", f"{where.capitalize()} {quantity}", measured),
                ("train", f"Training {quantity}", trained),
            )
            if curves
        ]
        if not sides:
            continue
        value_range = value_range_of((*measured, *trained), is_share=is_share)
        blocks.append(
            Columns(
                tuple(
                    Figure(
                        name=f"{name}-{quantity}",
                        title=title,
                        chart=epoch_chart(curves, is_share=is_share, value_range=value_range),
                        alt=f"Line chart of {title.lower()} by epoch. "
                        + " ".join(_end(curve, is_share=is_share) for curve in curves),
                        keys=tuple(Key(curve.label, curve.colour) for curve in curves),
                        height_px=290,
                    )
                    for name, title, curves in sides
                )
            )
        )
    rates = [
        Curve(name, colour, step_points(run.steps, "lr"))
        for run, name, colour in zip(runs, names, RUN_COLOURS, strict=False)
    ]
    rates = [curve for curve in rates if curve.points]
    if rates:
        blocks.append(
            Figure(
                name="lr",
                title="Learning rate by step",
                chart=step_chart(rates),
                alt="Line chart of the learning rate by step. "
                + " ".join(_end(curve, is_share=False) for curve in rates),
                keys=tuple(Key(curve.label, curve.colour) for curve in rates),
                height_px=170,
            )
        )
    blocks += [Text(words, is_quiet=True) for words in _say_sizes(runs, names)]
    if not blocks:
        blocks.append(Text("None of these runs has finished an epoch.", is_quiet=True))
    return Section("curves", "How training went", tuple(blocks), lead="Axes are shared.")


def _say_sizes(runs: Sequence[RunResults], names: Sequence[str]) -> Iterator[str]:
    """Say in which runs images grew; runs whose images grew alike share a sentence."""
    names_of: dict[str, list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        names_of.setdefault(say_sizes(run.history), []).append(name)
    for words, alike in names_of.items():
        if words:
            yield f"{', '.join(alike)}: {words}"


def _end(curve: Curve, *, is_share: bool) -> str:
    end = curve.points[-1]["value"]
    return f"{curve.label} ends at {percent(end) if is_share else format(end, '.3g')}."


def _measured(
    runs: Sequence[RunResults], names: Sequence[str], quantity: str
) -> tuple[str, tuple[Curve, ...]]:
    """Return what the runs were measured on, in words, and the curve of each.

    Where that is not the same part for all, each curve says its own.
    """
    found = [
        (part, curve)
        for run, name, colour in zip(runs, names, RUN_COLOURS, strict=False)
        for part in (measured_part(run.history),)
        for curve in _curve(run, name, colour, f"{part}_{quantity}")
    ]
    parts = sorted({part for part, _ in found})
    if len(parts) > 1:
        found = [
            (part, replace(curve, label=f"{curve.label}, {part} images")) for part, curve in found
        ]
    return " or ".join(parts), tuple(curve for _, curve in found)


def _curve(run: RunResults, name: str, colour: str, key: str) -> Iterator[Curve]:
    """Yield the curve of a value, or nothing where the run has none.

    Where weights are averaged, theirs are the values that count.
    """
    points = next((found for k in (f"ema_{key}", key) if (found := series_of(run.history, k))), ())
    if points:
        yield Curve(name, colour, points)


def _recipe_section(runs: Sequence[RunResults], names: Sequence[str]) -> Section:
    settings = [
        {
            f"{table}.{key}": value
            for table, keys in run.recipe.items()
            if isinstance(keys, dict)
            for key, value in keys.items()
        }
        for run in runs
    ]
    keys = dict.fromkeys(key for values in settings for key in values)
    rows = tuple(
        (key, *_shown(values))
        for key in keys
        for values in ([of_run.get(key) for of_run in settings],)
        if any(value != values[0] for value in values)
    )
    table = Table(
        "differences",
        "",
        (Column("Setting"), *(Column(name) for name in names)),
        rows,
        shown=100,
        empty="Every setting of their recipes is the same.",
    )
    differ = "differs" if len(rows) == 1 else "differ"
    lead = f"{len(rows)} of {counted(len(keys), 'setting')} {differ}." if rows else ""
    return Section("recipes", "What differs in their recipes", (table,), lead=lead)


def _shown(values: Sequence[Any]) -> Iterator[str | None]:
    """Yield a setting of each run as people read it, with every digit where fewer read the same."""
    shown = [written(value, show_setting) for value in values]
    distinct = [value for number, value in enumerate(values) if value not in values[:number]]
    are_alike = len(set(shown)) < len(distinct)
    for value, text in zip(values, shown, strict=True):
        yield repr(value) if are_alike and isinstance(value, float) else text


def _classes_of(run: RunResults) -> tuple[str, ...]:
    return tuple(entry["name"] for entry in run.about["classes"])


def _classes_section(runs: Sequence[RunResults], names: Sequence[str]) -> Section:
    """Compare classes of the first run with the last; every run has metrics and these classes."""
    labels = runs[0].class_labels
    shares = [[entry["accuracy"] for entry in (run.metrics or {})["classes"]] for run in runs]
    rows: list[tuple[Cell, ...]] = []
    for index, label in enumerate(labels):
        before, after = shares[0][index], shares[-1][index]
        change = None if before is None or after is None else 100 * (after - before)
        rows.append((label, *(share[index] for share in shares), change))
    known = [row for row in rows if row[-1] is not None]
    known.sort(key=lambda row: (-abs(float(str(row[-1]))), str(row[0])))
    better = sum(float(str(row[-1])) > 0 for row in known)
    worse = sum(float(str(row[-1])) < 0 for row in known)
    changes = [{"label": row[0], "before": row[1], "after": row[len(runs)]} for row in known]
    figure = Figure(
        name="class-changes",
        title=f"Each class: {names[0]} against {names[-1]}",
        chart=class_change_chart(changes),
        alt=f"Scatter chart of class accuracies: {_recognised(better)} better by {names[-1]}, "
        f"{worse:,} worse, {len(known) - better - worse:,} alike.",
        caption="A dot is a class; above the dashed line the last run recognises more of it.",
        height_px=430,
    )
    table = Table(
        "class-table",
        "Largest changes first",
        (
            Column("Class"),
            *(Column(name, "share") for name in names),
            Column("Change, points", "change"),
        ),
        tuple(known),
    )
    lead = f"From {names[0]} to {names[-1]}, {_recognised(better)} better and {worse:,} worse."
    return Section("classes", "Class by class", (figure, table), lead=lead)


def _recognised(classes: int) -> str:
    return f"{counted(classes, 'class', 'classes')} {'is' if classes == 1 else 'are'} recognised"
