"""Charts that are written as files, as SVG or PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinysight.report.chart_style import (
    BLUE,
    GREEN,
    QUIET,
    VERMILLION,
    WIDTH_PX,
    Row,
    chart_of,
    panel_of,
    render_svg,
    save_png,
    with_style,
)
from tinysight.report.training_charts import training_chart

if TYPE_CHECKING:
    from tinysight.report.chart_style import Chart

__all__ = ["lr_range_chart", "render_svg", "save_png", "training_chart"]

_LABEL_WIDTH_PX = 110


def lr_range_chart(
    points: Sequence[Row],
    *,
    suggestion_steepest: float,
    suggestion_valley: float,
    weakness: str = "",
) -> Chart:
    """Draw the losses of a learning-rate range test and its two suggestions.

    Args:
        points: Rows with ``lr``, ``loss`` and ``smoothed_loss``, at least two, by rising ``lr``.
        suggestion_steepest: Learning rate where the smoothed loss falls fastest.
        suggestion_valley: Learning rate at which the smoothed loss has fallen half way.
        weakness: Why no learning rate stands out, as ``lr_range_test`` says it: ``noise``,
            ``guessing``, or nothing.
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
        ("half way", suggestion_valley, GREEN),
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
        f"it is half way down at {suggestion_valley:.2g}"
    )
    if weakness:
        falls = {"noise": "no more than its noise could", "guessing": "only to that of guessing"}
        title = f"The loss falls {falls[weakness]}; no learning rate stands out"
    subtitle = (
        f"Training loss over {len(points)} steps with a growing learning rate. "
        f"Dots: batches; line: smoothed."
    )
    return with_style(panel_of(layers, height_px=300), title, subtitle)
