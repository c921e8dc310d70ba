"""How training went: one definition of each curve serves the page and the PNG.

On the PNG each line says at its end what it is and where it stopped. On a page there is a key
above the chart instead, and whoever points at an epoch reads all values there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tinysight.numerals import percent
from tinysight.report.chart_style import (
    BLUE,
    GREEN,
    QUIET,
    VERMILLION,
    Row,
    chart_of,
    panel_of,
    spread_apart,
    with_style,
)

if TYPE_CHECKING:
    import altair as alt

    from tinysight.report.chart_style import Chart

_LABEL_HEIGHT_PX = 15
_MOST_POINTS = 20  # beyond, points hide their line
_MOST_NAMED_EPOCHS = 12  # beyond, the axis chooses
_MOST_STEPS = 400  # more than a chart has pixels to show
_MOST_NAMED_SIZES = 6  # beyond, their names would run into each other


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        label: What it is.
        colour: One of :mod:`tinysight.report.chart_style`.
        points: Rows with ``epochs`` (or ``steps``) done and ``value``, at least one.
        is_dashed: Whether to draw it dashed.
    """

    label: str
    colour: str
    points: tuple[dict[str, Any], ...]
    is_dashed: bool = False


def measured_part(history: Sequence[Row]) -> str:
    """Return what a run was measured on: "tuning" where a part was held back, else "test"."""
    return "tuning" if any("tuning_accuracy" in row for row in history) else "test"


def measured_accuracy(row: Row, part: str) -> float | None:
    """Return the accuracy on a part that counts: that of averaged weights where there are any.

    Args:
        row: A row of ``history.jsonl``.
        part: What :func:`measured_part` said.
    """
    return measured_value(row, part, "accuracy")


def measured_value(row: Row, part: str, quantity: str) -> float | None:
    """Return the accuracy or loss on a part that counts: that of averaged weights if there are any.

    Args:
        row: A row of ``history.jsonl``.
        part: What :func:`measured_part` said.
        quantity: "accuracy" or "loss".
    """
    values = (row.get(f"{prefix}{part}_{quantity}") for prefix in ("ema_", ""))
    return next((value for value in values if value is not None), None)


def curves_of(history: Sequence[Row], quantity: str) -> tuple[Curve, ...]:
    """Return the curves of one run.

    Args:
        history: Rows of ``history.jsonl``.
        quantity: "accuracy" or "loss".

    Returns:
        Those of training, test (or tuning) and averaged weights that have any value.
    """
    part = measured_part(history)
    lines = (
        ("train", "train", BLUE),
        (part, part, VERMILLION),
        (f"{part}, averaged weights", f"ema_{part}", GREEN),
    )
    curves = (
        Curve(label, colour, series_of(history, f"{prefix}_{quantity}"))
        for label, prefix, colour in lines
    )
    return tuple(curve for curve in curves if curve.points)


def series_of(history: Sequence[Row], key: str) -> tuple[dict[str, Any], ...]:
    """Return the epochs that have a value, as points of a curve."""
    return tuple(
        {"epochs": row["epoch"] + 1, "value": row[key]}
        for row in history
        if row.get(key) is not None
    )


def sizes_of(history: Sequence[Row]) -> tuple[dict[str, Any], ...]:
    """Return the sizes of the training images of one run, where they grew; else nothing.

    Args:
        history: Rows of ``history.jsonl``.

    Returns:
        Rows with ``epochs`` done before a size and ``image_px``, in order.
    """
    sizes: list[dict[str, Any]] = []
    for row in history:
        if "image_px" in row and (not sizes or row["image_px"] != sizes[-1]["image_px"]):
            sizes.append({"epochs": row["epoch"], "image_px": row["image_px"]})
    return tuple(sizes) if len(sizes) > 1 else ()


def say_sizes(history: Sequence[Row]) -> str:
    """Say how large the images of one run were, where they grew; else nothing."""
    sizes = sizes_of(history)
    if not sizes:
        return ""
    words = [f"{now['image_px']} px up to epoch {then['epochs']}" for now, then in pairwise(sizes)]
    part = measured_part(history)
    looked_at = {row[key] for row in history if (key := f"{part}_image_px") in row}
    which = f"training and {part} images" if len(looked_at) > 1 else "training images"
    return f"The {which} grew: {', '.join(words)}, then {sizes[-1]['image_px']} px."


def training_chart(history: Sequence[Row]) -> Chart:
    """Draw accuracy, loss and learning rate by epoch.

    Args:
        history: Rows of ``history.jsonl``, at least one. Accuracies are fractions. Values of the
            test part (or of the tuning part, where one was held back) may be absent from epochs
            that were not evaluated; ``ema_…`` values are those of the averaged weights.
    """
    import altair as alt

    part = measured_part(history)
    last_epoch = history[-1]["epoch"] + 1
    panels = (
        _labelled_panel(history, "Accuracy", "accuracy", height_px=230),
        _labelled_panel(history, "Loss", "loss", height_px=170),
        _lr_panel(history, height_px=80),
    )
    last = history[-1]
    epochs = f"{last_epoch} epoch{'' if last_epoch == 1 else 's'}"
    title = f"Training accuracy {percent(last['train_accuracy'])} after {epochs}"
    for prefix, weights in (("", ""), ("ema_", ", averaged weights")):
        accuracy = last.get(f"{prefix}{part}_accuracy")
        if accuracy is not None:
            title = f"{part.capitalize()} accuracy {percent(accuracy)} after {epochs}{weights}"
    subtitle = [
        "Training values are those of the batches as they were learned from, augmented; "
        f"{part} values are of the whole part after the epoch."
    ]
    if how_large := say_sizes(history):
        subtitle.append(how_large)
    return with_style(alt.vconcat(*panels, spacing=14), title, subtitle)


def epoch_chart(
    curves: Sequence[Curve],
    *,
    is_share: bool,
    height_px: int = 240,
    value_range: tuple[float, float] | None = None,
    sizes: Sequence[Row] = (),
) -> Chart:
    """Draw curves by epoch for a page.

    Args:
        curves: At least one, with ``epochs`` in its points.
        is_share: Whether values are fractions, to be shown as percent.
        height_px: Height of the plot.
        value_range: Lowest and highest value of the axis, to share it between charts.
        sizes: What :func:`sizes_of` said, to be marked.
    """
    bottom, top = value_range or value_range_of(curves, is_share=is_share)
    last = max(curve.points[-1]["epochs"] for curve in curves)
    x = _epoch_axis(last, is_named=True)
    y = _value_axis(bottom, top, is_share=is_share)
    layers = [*_size_marks(sizes, height_px, is_named_above=is_share, x=x)]
    layers += [_line_of(curve).encode(x=x, y=y) for curve in curves]
    layers.append(_pointer(curves, "epochs", "Epochs done", is_share=is_share).encode(x=x))
    return panel_of(layers, height_px, width_px="container")


def value_range_of(curves: Sequence[Curve], *, is_share: bool) -> tuple[float, float]:
    """Return the lowest and the highest value that an axis for these curves should have."""
    numbers = [point["value"] for curve in curves for point in curve.points]
    if is_share:
        return 0.0, min(1.0, math.ceil(10 * max(numbers) + 0.5) / 10)
    margin = 0.06 * (max(numbers) - min(numbers) or 1.0)
    return min(numbers) - margin, max(numbers) + margin


def step_chart(curves: Sequence[Curve], *, height_px: int = 120) -> Chart:
    """Draw curves by optimizer step for a page.

    Args:
        curves: At least one, with ``steps`` in its points.
        height_px: Height of the plot.
    """
    import altair as alt

    highest = max(point["value"] for curve in curves for point in curve.points)
    last = max(curve.points[-1]["steps"] for curve in curves)
    axis = alt.Axis(grid=False, format=",d", tickCount=4, title="Steps done")
    x = alt.X("steps:Q", axis=axis, scale=alt.Scale(domain=[0, max(1, last)], nice=False))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1.1 * highest or 1.0], nice=False))
    y = y.axis(format="~g", tickCount=4)
    layers = [_line_of(curve).encode(x=x, y=y) for curve in curves]
    layers.append(_pointer(curves, "steps", "Steps done", is_share=False).encode(x=x))
    return panel_of(layers, height_px, width_px="container")


def step_points(steps: Sequence[Row], key: str) -> tuple[dict[str, Any], ...]:
    """Return at most a few hundred points of a value that was written at every step.

    Every point is one that was written, none is an average; the first, the last, the lowest and
    the highest are always among them.

    Args:
        steps: Rows of ``steps.jsonl``.
        key: Which value.
    """
    rows = [row for row in steps if row.get(key) is not None]
    if not rows:
        return ()
    every = max(1, math.ceil(len(rows) / _MOST_STEPS))
    by_value = sorted(range(len(rows)), key=lambda number: rows[number][key])
    kept = {*range(0, len(rows), every), len(rows) - 1, by_value[0], by_value[-1]}
    return tuple(
        {"steps": rows[number]["step"], "value": float(f"{rows[number][key]:.6g}")}
        for number in sorted(kept)
    )


def _labelled_panel(history: Sequence[Row], title: str, quantity: str, *, height_px: int) -> Chart:
    """Draw one quantity by epoch; each line says at its end what it is."""
    curves = curves_of(history, quantity)
    is_share = quantity == "accuracy"
    bottom, top = value_range_of(curves, is_share=is_share)
    x = _epoch_axis(history[-1]["epoch"] + 1, is_named=False)
    y = _value_axis(bottom, top, is_share=is_share)
    ends = [curve.points[-1]["value"] for curve in curves]
    ends_px = [height_px * (top - end) / (top - bottom) for end in ends]
    labels_px = spread_apart(ends_px, _LABEL_HEIGHT_PX)
    layers = [*_size_marks(sizes_of(history), height_px, is_named_above=is_share, x=x)]
    for curve, end, end_px, label_px in zip(curves, ends, ends_px, labels_px, strict=True):
        text = f"{curve.label} {percent(end) if is_share else format(end, '.2f')}"
        label = chart_of([curve.points[-1] | {"label": text}]).mark_text(
            align="left", dx=9, dy=label_px - end_px, color=curve.colour
        )
        layers += [_line_of(curve).encode(x=x, y=y), label.encode(x=x, y=y, text="label:N")]
    return panel_of(layers, height_px, title)


def _size_marks(
    sizes: Sequence[Row], height_px: int, *, is_named_above: bool, x: alt.X
) -> Iterator[alt.Chart]:
    """Draw a rule where images become larger, and name the sizes where no curve begins."""
    import altair as alt

    if not sizes:
        return
    rule = chart_of(sizes[1:]).mark_rule(color=QUIET, strokeWidth=1, strokeDash=[2, 3])
    yield rule.encode(x=x)
    if len(sizes) > _MOST_NAMED_SIZES:
        return
    # By where a name stands: the axis begins after the first epoch, and a size that was that
    # epoch's alone has no room on it.
    names = {max(1, size["epochs"]): f"{size['image_px']} px" for size in sizes}
    labels = [{"epochs": epochs, "label": name} for epochs, name in names.items()]
    text = chart_of(labels).mark_text(
        align="left", baseline="top", dx=4, color=QUIET, fontSize=11, fontWeight="normal"
    )
    yield text.encode(x=x, y=alt.value(2 if is_named_above else height_px - 14), text="label:N")


def _lr_panel(history: Sequence[Row], *, height_px: int) -> Chart:
    import altair as alt

    values = series_of(history, "lr")
    highest = max(values, key=lambda row: row["value"])
    x = _epoch_axis(history[-1]["epoch"] + 1, is_named=True)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1.25 * highest["value"]]))
    y = y.axis(format="~g", tickCount=3)
    is_at_start = highest["epochs"] <= 1 + len(history) / 20  # its label must not cross the axis
    label = chart_of([highest | {"label": f"{highest['value']:.3g}"}]).mark_text(
        dy=-10, align="left" if is_at_start else "center", color=QUIET
    )
    line = _line_of(Curve("learning rate", QUIET, values))
    layers = [line.encode(x=x, y=y), label.encode(x=x, y=y, text="label:N")]
    return panel_of(layers, height_px, "Learning rate at the end of the epoch")


def _line_of(curve: Curve) -> alt.Chart:
    import altair as alt

    points = alt.OverlayMarkDef(size=22, color=curve.colour, filled=True)
    line: alt.Chart = chart_of(curve.points).mark_line(
        color=curve.colour,
        strokeWidth=2,
        strokeDash=[5, 3] if curve.is_dashed else alt.Undefined,
        point=points if len(curve.points) <= _MOST_POINTS else False,
    )
    return line


def _pointer(curves: Sequence[Curve], field: str, title: str, *, is_share: bool) -> alt.Chart:
    """Return a rule that stands where a person points and names every value there."""
    import altair as alt

    rows: dict[int, dict[str, Any]] = {}
    for number, curve in enumerate(curves):
        for point in curve.points:
            row = rows.setdefault(point[field], {field: point[field]})
            row[f"curve{number}"] = point["value"]
    near = alt.selection_point(
        nearest=True, on="pointerover", clear="pointerout", fields=[field], empty=False
    )
    # Labels may hold anything, also what Vega would read as a path; so fields are numbered.
    tooltip = [alt.Tooltip(f"{field}:Q", title=title, format=",d")] + [
        alt.Tooltip(f"curve{n}:Q", title=curve.label, format=".1%" if is_share else ".4~g")
        for n, curve in enumerate(curves)
    ]
    pointer: alt.Chart = (
        chart_of([rows[place] for place in sorted(rows)])
        .mark_rule(color=QUIET, strokeWidth=1)
        .encode(opacity=alt.when(near).then(alt.value(0.8)).otherwise(alt.value(0)))
        .encode(tooltip=tooltip)
        .add_params(near)
    )
    return pointer


def _value_axis(bottom: float, top: float, *, is_share: bool) -> alt.Y:
    import altair as alt

    labels = "format(100 * datum.value, '.3~r') + ' %'" if is_share else "datum.label"
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[bottom, top], nice=False))
    return y.axis(labelExpr=labels, tickCount=5)


def _epoch_axis(last: int, *, is_named: bool) -> alt.X:
    import altair as alt

    first = min(1, last - 1)  # a single epoch needs a way to come from
    axis = alt.Axis(grid=False, labels=False, ticks=False, title=None)
    if is_named:
        axis = alt.Axis(grid=False, format="d", tickCount=10, title="Epochs done")
        if last <= _MOST_NAMED_EPOCHS:
            axis.values = list(range(first, last + 1))
    return alt.X("epochs:Q", scale=alt.Scale(domain=[first, last], nice=False), axis=axis)
