"""Charts of what a network recognises: confidence against accuracy, and its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinysight.report.chart_style import (
    BLUE,
    QUIET,
    SHORT_NUMBER,
    VERMILLION,
    Row,
    chart_of,
    panel_of,
)

if TYPE_CHECKING:
    import altair as alt

    from tinysight.report.chart_style import Chart

_CLASS_BINS = 20
_MOST_NAMED_COUNTS = 5
_PERCENT = "format(100 * datum.value, '.3~r') + ' %'"


def calibration_chart(bins: Sequence[Row], *, height_px: int = 300) -> Chart:
    """Draw a reliability diagram: how often the network is right when it is so sure.

    Args:
        bins: ``calibration`` of ``metrics.json``.
        height_px: Height of the plot.
    """
    import altair as alt

    rows = [
        {
            **bin,
            "from": min(bin["accuracy"], bin["confidence"]),
            "to": max(bin["accuracy"], bin["confidence"]),
        }
        for bin in bins
        if bin["images"]
    ]
    x = _x_share("confidence", "Confidence")
    y = _y_share("accuracy", "Accuracy")
    tooltip = [
        alt.Tooltip("low:Q", title="Confidence from", format=".0%"),
        alt.Tooltip("high:Q", title="to", format=".0%"),
        alt.Tooltip("images:Q", title="Images", format=",d"),
        alt.Tooltip("confidence:Q", title="Mean confidence", format=".1%"),
        alt.Tooltip("accuracy:Q", title="Right", format=".1%"),
    ]
    even = chart_of([{"confidence": 0.0, "accuracy": 0.0}, {"confidence": 1.0, "accuracy": 1.0}])
    base = chart_of(rows)
    layers = [
        even.mark_line(color=QUIET, strokeDash=[4, 4], strokeWidth=1).encode(x=x, y=y),
        base.mark_rule(color=VERMILLION, strokeWidth=2, opacity=0.6).encode(
            x=x, y=_y_share("from", "Accuracy"), y2="to:Q"
        ),
        base.mark_line(color=BLUE, strokeWidth=2).encode(x=x, y=y),
        base.mark_circle(color=BLUE, opacity=1).encode(
            x=x,
            y=y,
            size=alt.Size("images:Q", scale=alt.Scale(range=[30, 320]), legend=None),
            tooltip=tooltip,
        ),
    ]
    return panel_of(layers, height_px, width_px="container")


def confidence_chart(bins: Sequence[Row], *, height_px: int = 300) -> Chart:
    """Draw how many images the network is how sure of, the wrong ones apart.

    Args:
        bins: ``calibration`` of ``metrics.json``.
        height_px: Height of the plot.
    """
    import altair as alt

    rows = []
    for bin in bins:
        right = round(bin["images"] * (bin["accuracy"] or 0.0))
        parts = ((0, "right", right), (1, "wrong", bin["images"] - right))
        for order, part, images in parts:
            rows.append(
                {
                    "low": bin["low"],
                    "high": bin["high"],
                    "part": part,
                    "order": order,
                    "images": images,
                }
            )
    chart = (
        chart_of(rows)
        .mark_bar(binSpacing=1)
        .encode(
            x=_x_share("low", "Confidence").bin("binned"),
            x2="high:Q",
            y=alt.Y("images:Q", title="Images", axis=alt.Axis(labelExpr=SHORT_NUMBER, tickCount=5)),
            color=_colours("part", ("right", "wrong")),
            order="order:Q",
            tooltip=[
                alt.Tooltip("low:Q", title="Confidence from", format=".0%"),
                alt.Tooltip("high:Q", title="to", format=".0%"),
                alt.Tooltip("part:N", title="First guess"),
                alt.Tooltip("images:Q", title="Images", format=",d"),
            ],
        )
    )
    return panel_of([chart], height_px, width_px="container")


def class_accuracy_chart(
    labels: Sequence[str], accuracies: Sequence[float | None], *, height_px: int = 200
) -> Chart:
    """Draw how many classes are recognised how well.

    Args:
        labels: Names by class index.
        accuracies: Share of each class's images that is recognised; None without images.
        height_px: Height of the plot.
    """
    import altair as alt

    known = [
        (label, share) for label, share in zip(labels, accuracies, strict=True) if share is not None
    ]
    rows: list[dict[str, Any]] = []
    for number in range(_CLASS_BINS):
        low, high = number / _CLASS_BINS, (number + 1) / _CLASS_BINS
        is_last = number == _CLASS_BINS - 1
        inside = [
            label for label, share in known if low <= share < high or (is_last and share == 1)
        ]
        named = ", ".join(inside[:4]) + (
            f" and {len(inside) - 4:,} more" if len(inside) > 4 else ""
        )
        rows.append({"low": low, "high": high, "classes": len(inside), "named": named})
    chart = (
        chart_of([row for row in rows if row["classes"]])
        .mark_bar(color=BLUE, binSpacing=1)
        .encode(
            x=_x_share("low", "Share of a class's test images that is recognised").bin("binned"),
            x2="high:Q",
            y=alt.Y(
                "classes:Q", title="Classes", axis=_count_axis([row["classes"] for row in rows])
            ),
            tooltip=[
                alt.Tooltip("low:Q", title="Recognised from", format=".0%"),
                alt.Tooltip("high:Q", title="to", format=".0%"),
                alt.Tooltip("classes:Q", title="Classes", format=",d"),
                alt.Tooltip("named:N", title="Such as"),
            ],
        )
    )
    return panel_of([chart], height_px, width_px="container")


def class_change_chart(changes: Sequence[Row], *, height_px: int = 380) -> Chart:
    """Draw the accuracy of each class in the first and in the last of some runs.

    Args:
        changes: Rows with ``label``, ``before`` and ``after``, fractions.
        height_px: Height of the plot.
    """
    import altair as alt

    x = _x_share("before", "Recognised by the first run")
    y = _y_share("after", "Recognised by the last run")
    even = chart_of([{"before": 0.0, "after": 0.0}, {"before": 1.0, "after": 1.0}])
    rows = [{**row, "is_better": row["after"] >= row["before"]} for row in changes]
    points = (
        chart_of(rows)
        .mark_circle(size=55, opacity=0.75)
        .encode(
            x=x,
            y=y,
            color=alt.Color("is_better:N", legend=None).scale(
                domain=[True, False], range=[BLUE, VERMILLION]
            ),
            tooltip=[
                alt.Tooltip("label:N", title="Class"),
                alt.Tooltip("before:Q", title="First run", format=".1%"),
                alt.Tooltip("after:Q", title="Last run", format=".1%"),
            ],
        )
    )
    line = even.mark_line(color=QUIET, strokeDash=[4, 4], strokeWidth=1).encode(x=x, y=y)
    return panel_of([line, points], height_px, width_px="container")


def _x_share(field: str, title: str) -> alt.X:
    import altair as alt

    x: alt.X = alt.X(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(labelExpr=_PERCENT, tickCount=5),
    )
    return x


def _y_share(field: str, title: str) -> alt.Y:
    import altair as alt

    y: alt.Y = alt.Y(
        f"{field}:Q",
        title=title,
        scale=alt.Scale(domain=[0, 1]),
        axis=alt.Axis(labelExpr=_PERCENT, tickCount=5),
    )
    return y


def _count_axis(counts: Sequence[int]) -> alt.Axis:
    """Return an axis for small counts: Vega would put ticks at halves, and round their labels."""
    import altair as alt

    most = max(counts)
    if most > _MOST_NAMED_COUNTS:
        return alt.Axis(format="d", tickCount=4)
    return alt.Axis(format="d", values=list(range(most + 1)))


def _colours(field: str, names: Sequence[str]) -> alt.Color:
    import altair as alt

    colour: alt.Color = alt.Color(f"{field}:N", legend=None).scale(
        domain=list(names), range=[BLUE, VERMILLION]
    )
    return colour
