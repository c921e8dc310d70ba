"""Results as charts: one definition serves the page (SVG) and the file (PNG)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tinysight.report.chart_style import (
    BLUE,
    GREEN,
    QUIET,
    VERMILLION,
    WIDTH_PX,
    Row,
    chart_of,
    panel_of,
    percent,
    render_svg,
    save_png,
    spread_apart,
    with_style,
)

if TYPE_CHECKING:
    import altair as alt

    from tinysight.report.chart_style import Chart

__all__ = ["class_counts_chart", "lr_range_chart", "render_svg", "save_png", "training_chart"]

_LABEL_HEIGHT_PX = 15
_LABEL_WIDTH_PX = 110
_MOST_POINTS = 20  # beyond, points hide their line
_MOST_NAMED_EPOCHS = 12  # beyond, the axis chooses
_MOST_NAMED_CLASSES = 60  # beyond, names can no longer be read


def training_chart(history: Sequence[Row]) -> Chart:
    """Draw accuracy, loss and learning rate by epoch.

    Args:
        history: Rows of ``history.jsonl``, at least one. Accuracies are fractions. Values of the
            test part (or of the tuning part, where one was held back) may be absent from epochs
            that were not evaluated; ``ema_…`` values are those of the averaged weights.
    """
    import altair as alt

    part = "tuning" if any("tuning_accuracy" in row for row in history) else "test"
    lines = (
        ("train", "train", BLUE),
        (part, part, VERMILLION),
        (f"{part}, averaged weights", f"ema_{part}", GREEN),
    )
    panels = (
        _curves_panel(history, "Accuracy", "accuracy", lines, height_px=230, is_share=True),
        _curves_panel(history, "Loss", "loss", lines, height_px=170, is_share=False),
        _lr_panel(history, height_px=80),
    )
    last = history[-1]
    epochs = f"{last['epoch'] + 1} epoch{'s' if last['epoch'] else ''}"
    title = f"Training accuracy {percent(last['train_accuracy'])} after {epochs}"
    for prefix, weights in (("", ""), ("ema_", ", averaged weights")):
        accuracy = last.get(f"{prefix}{part}_accuracy")
        if accuracy is not None:
            title = f"{part.capitalize()} accuracy {percent(accuracy)} after {epochs}{weights}"
    subtitle = (
        "Training values are those of the batches as they were learned from, augmented; "
        f"{part} values are of the whole part after the epoch."
    )
    return with_style(alt.vconcat(*panels, spacing=14), title, subtitle)


def _curves_panel(
    history: Sequence[Row],
    title: str,
    quantity: str,
    lines: Sequence[tuple[str, str, str]],
    *,
    height_px: int,
    is_share: bool,
) -> Chart:
    """Draw one quantity by epoch; each line says at its end what it is."""
    import altair as alt

    series = [
        (label, colour, list(_series(history, f"{prefix}_{quantity}")))
        for label, prefix, colour in lines
    ]
    series = [(label, colour, values) for label, colour, values in series if values]
    numbers = [row["value"] for _, _, values in series for row in values]
    if is_share:
        bottom, top = 0.0, min(1.0, math.ceil(10 * max(numbers) + 0.5) / 10)
        labels = "format(100 * datum.value, '.3~r') + ' %'"
    else:
        margin = 0.06 * (max(numbers) - min(numbers) or 1.0)
        bottom, top = min(numbers) - margin, max(numbers) + margin
        labels = "datum.label"
    x = _epoch_axis(history, is_named=False)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[bottom, top], nice=False))
    y = y.axis(labelExpr=labels, tickCount=5)
    ends_px = [height_px * (top - values[-1]["value"]) / (top - bottom) for *_, values in series]
    labels_px = spread_apart(ends_px, _LABEL_HEIGHT_PX)
    layers = []
    for (name, colour, values), end_px, label_px in zip(series, ends_px, labels_px, strict=True):
        last = values[-1]["value"]
        text = f"{name} {percent(last) if is_share else format(last, '.2f')}"
        label = chart_of([values[-1] | {"label": text}]).mark_text(
            align="left", dx=9, dy=label_px - end_px, color=colour
        )
        layers += [
            _line_of(values, colour).encode(x=x, y=y),
            label.encode(x=x, y=y, text="label:N"),
        ]
    return panel_of(layers, height_px, title)


def _lr_panel(history: Sequence[Row], *, height_px: int) -> Chart:
    import altair as alt

    values = list(_series(history, "lr"))
    highest = max(values, key=lambda row: row["value"])
    x = _epoch_axis(history, is_named=True)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(domain=[0, 1.25 * highest["value"]]))
    y = y.axis(format="~g", tickCount=3)
    is_at_start = highest["epochs"] <= 1 + len(history) / 20  # its label must not cross the axis
    label = chart_of([highest | {"label": f"{highest['value']:.3g}"}]).mark_text(
        dy=-10, align="left" if is_at_start else "center", color=QUIET
    )
    layers = [_line_of(values, QUIET).encode(x=x, y=y), label.encode(x=x, y=y, text="label:N")]
    return panel_of(layers, height_px, "Learning rate at the end of the epoch")


def _series(history: Sequence[Row], key: str) -> Iterator[dict[str, Any]]:
    for row in history:
        if row.get(key) is not None:
            yield {"epochs": row["epoch"] + 1, "value": row[key]}


def _line_of(values: Sequence[Row], colour: str) -> alt.Chart:
    import altair as alt

    points = alt.OverlayMarkDef(size=22, color=colour, filled=True)
    has_points = len(values) <= _MOST_POINTS
    line: alt.Chart = chart_of(values).mark_line(
        color=colour, strokeWidth=2, point=points if has_points else False
    )
    return line


def _epoch_axis(history: Sequence[Row], *, is_named: bool) -> alt.X:
    import altair as alt

    last = history[-1]["epoch"] + 1
    first = min(1, last - 1)  # a single epoch needs a way to come from
    axis = alt.Axis(grid=False, labels=False, ticks=False, title=None)
    if is_named:
        axis = alt.Axis(grid=False, format="d", tickCount=10, title="Epochs done")
        if last <= _MOST_NAMED_EPOCHS:
            axis.values = list(range(first, last + 1))
    return alt.X("epochs:Q", scale=alt.Scale(domain=[first, last], nice=False), axis=axis)


def lr_range_chart(
    points: Sequence[Row], *, suggestion_steepest: float, suggestion_valley: float
) -> Chart:
    """Draw the losses of a learning-rate range test and its two suggestions.

    Args:
        points: Rows with ``lr``, ``loss`` and ``smoothed_loss``, at least two, by rising ``lr``.
        suggestion_steepest: Learning rate where the smoothed loss falls fastest.
        suggestion_valley: Learning rate in the middle of the falling stretch.
    """
    import altair as alt

    curve = [point["smoothed_loss"] for point in points]
    suggested = [
        min(points, key=lambda point: abs(math.log(point["lr"] / lr)))["smoothed_loss"]
        for lr in (suggestion_steepest, suggestion_valley)
    ]
    start = max(*curve[: curve.index(min(curve)) + 1], *suggested)
    low = min(min(point["loss"], point["smoothed_loss"]) for point in points)
    drop = max(start - low, 0.1 * abs(start))
    top = start + 0.35 * drop  # a loss that diverges leaves the picture
    first_lr, last_lr = points[0]["lr"], points[-1]["lr"]
    powers = range(math.ceil(math.log10(first_lr)), math.floor(math.log10(last_lr)) + 1)
    axis = alt.Axis(
        grid=False,
        values=[10.0**power for power in powers],
        labelExpr="format(datum.value, datum.value < 0.001 ? '~e' : '~g')",
    )
    scale = alt.Scale(type="log", domain=[first_lr, last_lr], nice=False)
    x = alt.X("lr:Q", title="Learning rate", scale=scale, axis=axis)
    loss_scale = alt.Scale(domain=[low - 0.05 * drop, top], nice=False)
    y, y_batch, y_top = (
        alt.Y(f"{field}:Q", title=None, scale=loss_scale)
        for field in ("smoothed_loss", "loss", "top")
    )
    base = chart_of(points)
    layers = [
        base.mark_circle(size=14, color=QUIET, opacity=0.35, clip=True).encode(x=x, y=y_batch),
        base.mark_line(color=BLUE, strokeWidth=2.5, clip=True).encode(x=x, y=y),
    ]
    suggestions = (
        ("steepest", suggestion_steepest, VERMILLION),
        ("valley", suggestion_valley, GREEN),
    )
    for number, (name, lr, colour) in enumerate(suggestions):
        nearest = min(points, key=lambda point: abs(math.log(point["lr"] / lr)))
        mark = chart_of([{**nearest, "label": f"{name} {lr:.2g}", "top": top}])
        # A label stands on the outer side of its rule, unless it would leave the picture there.
        x_px = WIDTH_PX * math.log(lr / first_lr) / math.log(last_lr / first_lr)
        is_lower = lr <= min(suggestion_steepest, suggestion_valley)
        is_left = x_px > (_LABEL_WIDTH_PX if is_lower else WIDTH_PX - _LABEL_WIDTH_PX)
        label = mark.mark_text(
            color=colour,
            align="right" if is_left else "left",
            dx=-7 if is_left else 7,
            dy=10 + 18 * number,
        )
        layers += [
            mark.mark_rule(color=colour, strokeWidth=1.5, strokeDash=[5, 3]).encode(x=x),
            mark.mark_point(color=colour, filled=True, size=80, opacity=1).encode(x=x, y=y),
            label.encode(x=x, y=y_top, text="label:N"),
        ]
    title = (
        f"The loss falls fastest at learning rate {suggestion_steepest:.2g}; "
        f"the middle of its valley is at {suggestion_valley:.2g}"
    )
    subtitle = (
        f"Training loss over {len(points)} steps with a growing learning rate. "
        f"Dots: batches; line: smoothed."
    )
    return with_style(panel_of(layers, height_px=300), title, subtitle)


def class_counts_chart(
    class_names: Sequence[str], train_counts: Sequence[int], test_counts: Sequence[int]
) -> Chart:
    """Draw how many images each class has in the training and the test part.

    Args:
        class_names: Names by class index, at least one.
        train_counts: Training images of each class.
        test_counts: Test images of each class.
    """
    import altair as alt

    counts = sorted(
        zip(class_names, train_counts, test_counts, strict=True),
        key=lambda count: -(count[1] + count[2]),
    )
    rows = [
        {"rank": rank, "name": name, "part": part, "order": order, "images": images}
        for rank, (name, train, test) in enumerate(counts)
        for order, (part, images) in enumerate((("train", train), ("test", test)))
    ]
    are_named = len(counts) <= _MOST_NAMED_CLASSES
    if not are_named:  # steps go from rank to rank, the last one to the end of the axis
        rows += [row | {"rank": len(counts)} for row in rows[-2:]]
    colour = alt.Color(
        "part:N",
        legend=alt.Legend(orient="top", title=None, offset=6),
        scale=alt.Scale(domain=["train", "test"], range=[BLUE, VERMILLION]),
    )
    axis = alt.Axis(tickCount=5, tickMinStep=1, format="~s")
    chart = chart_of(rows).encode(color=colour, order="order:Q").properties(width=WIDTH_PX)
    if are_named:
        chart = chart.mark_bar(size=12).encode(
            x=alt.X("images:Q", title="Images", axis=axis),
            y=alt.Y("name:N", sort=None, title=None).axis(grid=False, domain=False, ticks=False),
        )
        chart = chart.properties(height=alt.Step(18))
    else:
        ranks = alt.X("rank:Q", title="Classes, largest first").axis(grid=False, labels=False)
        chart = chart.mark_area(interpolate="step-after").encode(
            x=ranks.scale(domain=[0, len(counts)], nice=False),
            y=alt.Y("images:Q", title="Images", axis=axis, stack="zero"),
        )
        chart = chart.properties(height=220)
    title = (
        f"{sum(train_counts):,} training and {sum(test_counts):,} test images "
        f"in {len(counts):,} classes"
    )
    (most_name, *most), (fewest_name, *fewest) = counts[0], counts[-1]
    subtitle = f"From {sum(fewest):,} images ({fewest_name}) to {sum(most):,} ({most_name})."
    if all((train, test) == tuple(most) for _, train, test in counts):
        subtitle = f"Each class has {most[0]:,} training and {most[1]:,} test images."
    return with_style(chart, title, subtitle)
