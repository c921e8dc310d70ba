"""The page that sets several runs side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tinysight.numerals import counted, duration, in_points, percent
from tinysight.report.chance import PairedHits, accuracy_interval, pair_hits
from tinysight.report.chart_style import RUN_COLOURS
from tinysight.report.class_charts import class_change_chart
from tinysight.report.classify_page import show_setting
from tinysight.report.page import (
    Block,
    Callout,
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
from tinysight.run_facts import read_training_parts

_MOST_RUNS = len(RUN_COLOURS)
_LEAST_LEAD = 0.001  # of accuracy: in a smaller one percentages may read the same

_CHANCE = 0.05  # of two equally good networks; what is rarer is not put down to chance

Measure = tuple[str, str | None]
"""The name of a measure, and its value in a run; None where there is none."""

_OTHER_TESTS = "These runs were tested on different images, so their figures do not compare."


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
    sections = [_metrics_section(runs, names), _curves_section(runs, names)]
    sections.append(_recipe_section(runs, names))
    have_same_classes = len({_classes_of(run) for run in runs}) == 1
    if have_same_classes and not _have_other_tests(runs) and all(run.metrics for run in runs):
        sections.append(_classes_section(runs, names))
    headline, lead = _headline(runs, names)
    return Page(
        title=f"{' · '.join(names)} · tinysight",
        kicker=f"{len(runs)} runs side by side",
        headline=headline,
        lead=lead,
        stats=tuple(
            Stat(percent(run.metrics["accuracy"]), name)
            for run, name in zip(runs, names, strict=True)
            if run.metrics
        ),
        sections=tuple(sections),
    )


def run_names(runs: Sequence[RunResults]) -> tuple[str, ...]:
    """Return a name for each run, numbered where folders have the same name."""
    folders = [run.name for run in runs]
    return tuple(
        folder if folders.count(folder) == 1 else f"{folder} ({number})"
        for number, folder in enumerate(folders, 1)
    )


def _headline(runs: Sequence[RunResults], names: Sequence[str]) -> tuple[str, str]:
    if _have_other_tests(runs):
        return "Runs side by side", _OTHER_TESTS
    scored = [
        (run.metrics["accuracy"], name, run.metrics["images"], run)
        for run, name in zip(runs, names, strict=True)
        if run.metrics
    ]
    if len(scored) < 2:
        return "Runs side by side", "Fewer than two of them were evaluated on their test part."
    scored.sort(key=lambda score: -score[0])
    (best, best_name, best_of, best_run), (second, second_name, second_of, second_run) = scored[:2]
    may_be_chance = _may_be_chance(_paired(best_run, second_run))
    if best == second:
        return (
            f"{best_name} and {second_name} are level",
            f"Both recognise {percent(best)} of their test images.",
        )
    if best - second < _LEAST_LEAD:
        right, second_right = round(best * best_of), round(second * second_of)
        return (
            f"{best_name} is less than {in_points(_LEAST_LEAD)} ahead of {second_name}",
            f"It recognises {right:,} of its {counted(best_of, 'test image')}, {second_name} "
            f"{second_right:,} of {second_of:,}.{may_be_chance}",
        )
    return (
        f"{best_name} is {in_points(best - second)} ahead of {second_name}",
        f"It recognises {percent(best)} of its test images, {second_name} {percent(second)}."
        f"{may_be_chance}",
    )


def _may_be_chance(paired: PairedHits | None) -> str:
    if paired is None:
        return ""
    verdict = "That may be chance" if paired.chance >= _CHANCE else "That is more than chance"
    return (
        f" {verdict}: the probability that two equally good networks differ at least so much on "
        f"these images is {percent(paired.chance)}."
    )


def _paired(first: RunResults, second: RunResults) -> PairedHits | None:
    if first.hits is None or second.hits is None:
        return None
    return pair_hits(first.hits, second.hits)


def _metrics_section(runs: Sequence[RunResults], names: Sequence[str]) -> Section:
    blocks: list[Block] = []
    if _have_other_tests(runs):
        blocks.append(
            Callout(
                "warning",
                _OTHER_TESTS,
                "Train them on the same store.",
            )
        )
    leads = [] if _have_other_tests(runs) else list(_lead_rows(runs, names))
    rows = (*_rows_of(_accuracy, runs), *leads, *_rows_of(_other_measures, runs))
    caption = _ABOUT_INTERVALS if any(run.metrics for run in runs) else ""
    if leads:
        caption += _ABOUT_LEADS
    # Values of a row have one unit and those of a column many, so they come as texts.
    columns = (Column("Measure"), *(Column(name) for name in names))
    blocks.append(Table("metrics", "Measures", columns, rows, caption, shown=len(rows)))
    return Section("measures", "What came out", tuple(blocks))


def _lead_rows(runs: Sequence[RunResults], names: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    """Yield how far each run is ahead of the first, where any can be compared image by image."""
    pairs = [None, *(_paired(runs[0], run) for run in runs[1:])]
    if not any(pairs):
        return
    for label, show in (
        (f"Ahead of {names[0]}, points", _show_lead),
        (
            f"Images that it alone recognises : {names[0]} alone",
            lambda pair: f"{pair.only_second:,} : {pair.only_first:,}",
        ),
        ("So uneven by chance", lambda pair: percent(pair.chance)),
    ):
        yield (label, *(None if pair is None else show(pair) for pair in pairs))


def _show_lead(pair: PairedHits) -> str:
    low, high = pair.lead_interval
    return f"{100 * pair.lead:+z.1f} ({100 * low:+z.1f} to {100 * high:+z.1f})"


_ABOUT_INTERVALS = (
    "An interval holds the accuracy on all images of this kind in 95 % of draws of so many test "
    "images (Wilson). Another seed in training changes an accuracy as well, which is not in it."
)
_ABOUT_LEADS = (
    " These runs share their test images, so a lead rests on those that only one of two runs "
    "recognises: its interval (95 %, Agresti and Min) may leave out 0 where the intervals of both "
    "accuracies overlap. The share below is how often two equally good networks are at least so "
    "uneven (exact McNemar test); with many runs, some lead is rare by chance."
)


def _have_other_tests(runs: Sequence[RunResults]) -> bool:
    return len({run.about["split_digest"] for run in runs}) > 1


def _rows_of(
    measures: Callable[[RunResults], Iterator[Measure]], runs: Sequence[RunResults]
) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each measure: its name, and its value in each run."""
    for same in zip(*map(measures, runs), strict=True):
        yield (same[0][0], *(value for _, value in same))


def _accuracy(run: RunResults) -> Iterator[Measure]:
    accuracy = interval = None
    if run.metrics is not None:
        accuracy = percent(run.metrics["accuracy"])
        ends = accuracy_interval(run.metrics["accuracy"], run.metrics["images"])
        interval = " to ".join(map(percent, ends))
    yield "Test accuracy", accuracy
    yield "95 % interval of it", interval


def _other_measures(run: RunResults) -> Iterator[Measure]:
    metrics, last = run.metrics or {}, run.history[-1] if run.history else {}
    yield "Among the first five", _written(metrics.get("top5"), percent)
    yield "Test loss", _written(metrics.get("loss"), "{:.3f}".format)
    yield "Calibration error", _written(metrics.get("calibration_error"), percent)
    yield "Training accuracy", _written(last.get("train_accuracy"), percent)
    yield "Training loss", _written(last.get("train_loss"), "{:.3f}".format)
    yield "Epochs", f"{last['epoch'] + 1:,}" if last else None
    yield "Training time", _written(last.get("seconds"), duration)
    yield "Images a second", _written(last.get("images_per_s"), "{:,.0f}".format)
    yield "Training images", f"{read_training_parts(run.about, run.recipe).learned_from:,}"
    yield "Test images", f"{run.about['test_images']:,}"
    yield "Classes", f"{len(run.about['classes']):,}"
    yield "Image side", f"{run.about['size_px']} px"
    yield "Device", _written(run.environment.get("device"), show_setting)
    yield "Processor", run.environment.get("processor")


def _written(value: Any, write: Callable[[Any], str]) -> str | None:
    """Write a value as people read it; None where it was not measured in a run."""
    return None if value is None else write(value)


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
    shown = [_written(value, show_setting) for value in values]
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
