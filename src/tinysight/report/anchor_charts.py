"""Anchors as charts: on the sizes they are for, to scale, and what each number of them brings.

A chart fits its place on a page; with a width in pixels it serves a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinysight.boxes.geometry import pairwise_iou
from tinysight.numerals import rounded_down, rounded_up
from tinysight.report.boxes_charts import Width, log_axis
from tinysight.report.chart_style import (
    ANCHOR_COLOURS,
    BLUE,
    GREEN,
    INK,
    PURPLE,
    QUIET,
    SHORT_NUMBER,
    VERMILLION,
    chart_of,
    panel_of,
)

if TYPE_CHECKING:
    import altair as alt

    from tinysight.boxes.anchors import AnchorSet
    from tinysight.boxes.choice_of_k import ChoiceOfK
    from tinysight.boxes.clustering import WeightedSizes
    from tinysight.report.chart_style import Chart

_SHAPES_PX = 150  # side of one drawing of anchors to scale
_MARGIN = 1.15  # of the axes, around the sizes


def anchors_on_sizes_chart(
    points: WeightedSizes, anchor_set: AnchorSet, *, width_px: Width = "container"
) -> Chart:
    """Draw box sizes in the colour of their best anchor, and the anchors among them.

    Args:
        points: Sizes in pixels at the input; the larger the share, the larger the dot.
        anchor_set: The anchors.
        width_px: Width of the plot.
    """
    import altair as alt

    anchors = anchor_set.anchors_wh_px
    best = pairwise_iou(points.wh, anchors).argmax(axis=1)
    rows = [
        {"width": width, "height": height, "share": share, "anchor": int(index)}
        for (width, height), share, index in zip(
            points.wh.tolist(), points.weights.tolist(), best, strict=True
        )
    ]
    marks = [
        {"width": width, "height": height, "anchor": index, "label": f"{width:.3g} × {height:.3g}"}
        for index, (width, height) in enumerate(anchors.tolist())
    ]
    sides = np.concatenate([points.wh, anchors])
    low, high = float(sides.min() / _MARGIN), float(sides.max() * _MARGIN)
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    x = alt.X("width:Q", title="Width, px at the input", scale=scale, axis=log_axis(low, high))
    y = alt.Y("height:Q", title="Height, px at the input", scale=scale, axis=log_axis(low, high))
    colour = alt.Color("anchor:N", legend=None).scale(
        domain=list(range(len(anchors))),
        range=[ANCHOR_COLOURS[index % len(ANCHOR_COLOURS)] for index in range(len(anchors))],
    )
    dots = (
        chart_of(rows)
        .mark_circle(opacity=0.45)
        .encode(
            x=x,
            y=y,
            color=colour,
            size=alt.Size("share:Q", legend=None, scale=alt.Scale(range=[8, 130])),
        )
    )
    base = chart_of(marks)
    crosses = base.mark_point(
        shape="cross", size=190, filled=True, opacity=1, stroke="white"
    ).encode(x=x, y=y, color=colour)
    labels = base.mark_text(align="left", dx=11, dy=1, color=INK).encode(x=x, y=y, text="label:N")
    return panel_of([dots, crosses, labels], 340, width_px=width_px)


def anchor_shapes_chart(sets: Sequence[AnchorSet], *, side_px: int = _SHAPES_PX) -> Chart:
    """Draw the anchors of each set to scale in the input of the network, side by side.

    Args:
        sets: At least one, all for one input.
        side_px: Longer side of each drawing.
    """
    import altair as alt

    width, height = sets[0].input_size_wh
    scale = side_px / max(width, height)
    panels = []
    for anchor_set in sets:
        rows = [
            {
                "left": (width - side_wh[0]) / 2,
                "right": (width + side_wh[0]) / 2,
                "top": (height - side_wh[1]) / 2,
                "bottom": (height + side_wh[1]) / 2,
                "colour": ANCHOR_COLOURS[index % len(ANCHOR_COLOURS)],
                "size": f"{side_wh[0]:.3g} × {side_wh[1]:.3g} px",
            }
            for index, side_wh in reversed(list(enumerate(anchor_set.anchors_wh_px.tolist())))
        ]
        frame = chart_of([{"left": 0, "right": width, "top": 0, "bottom": height}])
        x = alt.X("left:Q", axis=None, scale=alt.Scale(domain=[0, width], nice=False))
        y = alt.Y("top:Q", axis=None, scale=alt.Scale(domain=[height, 0], nice=False))
        outline = frame.mark_rect(fill=None, stroke=QUIET, strokeWidth=1).encode(
            x=x, x2="right:Q", y=y, y2="bottom:Q"
        )
        anchors = (
            chart_of(rows)
            .mark_rect(fillOpacity=0.06, strokeWidth=2)
            .encode(
                x=x,
                x2="right:Q",
                y=y,
                y2="bottom:Q",
                fill=alt.Fill("colour:N", scale=None),
                stroke=alt.Stroke("colour:N", scale=None),
                tooltip=[alt.Tooltip("size:N", title="Anchor")],
            )
        )
        title = f"k = {anchor_set.k}, mean IoU {anchor_set.mean_best_iou:.3f}"
        panels.append(
            panel_of(
                [outline, anchors], round(height * scale), title, width_px=round(width * scale)
            )
        )
    chart: Chart = alt.concat(*panels, columns=4, spacing=24)
    return chart


def elbow_chart(
    curve: Sequence[AnchorSet],
    choice: ChoiceOfK,
    *,
    chosen_k: int | None = None,
    height_px: int = 260,
    width_px: Width = "container",
) -> Chart:
    """Draw all that speaks for or against a k over one axis of k.

    The axis on the left is that of the mean best IoU, of its proved upper bounds and of the best
    possible recall; the one on the right is that of the within-cluster sum of squares of log
    sizes, from 0.

    Args:
        curve: A set for each k, ascending; where one has an upper bound, it is drawn as well.
        choice: The sums of squares, and the elbow where its rules find the same.
        chosen_k: Marked through all curves; the elbow when not given, nothing without one.
        height_px: Height of the plot.
        width_px: Width of the plot.
    """
    import altair as alt

    ks = sorted({*(one.k for one in curve), *choice.ks})
    x = _k_axis(ks)
    marked = choice.k if chosen_k is None else chosen_k
    layers = [
        *([] if marked is None else _chosen_layers(marked, choice.k, ks, x)),
        alt.layer(*_wcss_layers(choice, x)),
        alt.layer(*_fit_layers(curve, x)),
    ]
    panel = panel_of(layers, height_px, width_px=width_px)
    chart: Chart = panel.resolve_scale(y="independent")
    return chart


def _chosen_layers(k: int, elbow: int | None, ks: Sequence[int], x: alt.X) -> list[alt.Chart]:
    """Return a line through all curves at a k, named above the plot."""
    import altair as alt

    is_left = 2 * k <= ks[0] + ks[-1]
    base = chart_of([{"k": k, "label": f"k = {k}, the elbow" if k == elbow else f"k = {k}"}])
    return [
        base.mark_rule(color=QUIET, strokeDash=[2, 3]).encode(x=x),
        base.mark_text(align="left" if is_left else "right", color=INK, baseline="bottom").encode(
            x=x, y=alt.value(-5), text="label:N"
        ),
    ]


def _wcss_layers(choice: ChoiceOfK, x: alt.X) -> list[alt.Chart]:
    import altair as alt

    rows = [{"k": k, "wcss": wcss} for k, wcss in zip(choice.ks, choice.wcss_log, strict=True)]
    axis = alt.Axis(
        orient="right",
        labelExpr=SHORT_NUMBER,
        tickCount=4,
        grid=False,
        titleColor=PURPLE,
        labelColor=PURPLE,
    )
    scale = alt.Scale(domain=[0, 1.05 * max(choice.wcss_log) or 1.0], nice=False)
    y = alt.Y("wcss:Q", title="WCSS of log sizes", axis=axis, scale=scale)
    tooltip = [
        alt.Tooltip("k:Q", title="Anchors"),
        alt.Tooltip("wcss:Q", title="WCSS of log sizes", format=".4~g"),
    ]
    base = chart_of(rows)
    return [
        base.mark_line(color=PURPLE, strokeWidth=1.5).encode(x=x, y=y),
        base.mark_point(color=PURPLE, shape="diamond", size=45, filled=True, opacity=1).encode(
            x=x, y=y, tooltip=tooltip
        ),
    ]


def _fit_layers(curve: Sequence[AnchorSet], x: alt.X) -> list[alt.Chart]:
    import altair as alt

    rows = [
        {
            "k": one.k,
            "iou": one.mean_best_iou,
            "recall": one.best_possible_recall,
            # As text, for a format would round these to nearest.
            "reached": rounded_down(one.best_possible_recall, 4),
            "bound": one.upper_bound,
            "most": None if one.upper_bound is None else rounded_up(one.upper_bound, 4),
        }
        for one in curve
    ]
    lowest = min(min(one.mean_best_iou, one.best_possible_recall) for one in curve)
    scale = alt.Scale(domain=[math.floor(10 * lowest) / 10, 1.0], nice=False)
    axis = alt.Axis(format=".2~f", tickCount=5)
    y_iou, y_recall, y_bound = (
        alt.Y(f"{field}:Q", title="Mean best IoU, recall", scale=scale, axis=axis)
        for field in ("iou", "recall", "bound")
    )
    tooltip = [
        alt.Tooltip("k:Q", title="Anchors"),
        alt.Tooltip("iou:Q", title="Mean best IoU", format=".4f"),
        alt.Tooltip("reached:N", title="Best possible recall"),
    ]
    base = chart_of(rows)
    layers = [
        base.mark_line(color=GREEN, strokeWidth=1.5, strokeDash=[5, 3]).encode(x=x, y=y_recall),
        base.mark_circle(color=GREEN, size=40, opacity=1).encode(x=x, y=y_recall, tooltip=tooltip),
        base.mark_line(color=BLUE, strokeWidth=2).encode(x=x, y=y_iou),
        base.mark_circle(color=BLUE, size=55, opacity=1).encode(x=x, y=y_iou, tooltip=tooltip),
    ]
    if bounded := [row for row in rows if row["bound"] is not None]:
        most = alt.Tooltip("most:N", title="None can reach more than")
        layers.append(
            chart_of(bounded)
            .mark_tick(color=VERMILLION, thickness=2, width=16, opacity=1, orient="horizontal")
            .encode(x=x, y=y_bound, tooltip=[*tooltip, most])
        )
    return layers


def _k_axis(ks: Sequence[int]) -> alt.X:
    import altair as alt

    axis = alt.Axis(values=list(ks), format="d", grid=False, title="Number of anchors, k")
    scale = alt.Scale(domain=[min(ks) - 0.3, max(ks) + 0.3], nice=False)
    x: alt.X = alt.X("k:Q", scale=scale, axis=axis)
    return x
