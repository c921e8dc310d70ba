"""Anchors as charts: on the sizes they are for, to scale, and what each number of them brings.

A chart fits its place on a page; with a width in pixels it serves a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinysight.boxes.geometry import pairwise_iou
from tinysight.report.boxes_charts import Width, log_axis
from tinysight.report.chart_style import (
    BLUE,
    GREEN,
    INK,
    QUIET,
    RUN_COLOURS,
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
        range=[RUN_COLOURS[index % len(RUN_COLOURS)] for index in range(len(anchors))],
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
                "colour": RUN_COLOURS[index % len(RUN_COLOURS)],
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


def elbow_chart(choice: ChoiceOfK, *, height_px: int = 220, width_px: Width = "container") -> Chart:
    """Draw the within-cluster sum of squares on log sizes against k, with its elbow.

    Args:
        choice: The curves and what the rules say.
        height_px: Height of the plot.
        width_px: Width of the plot.
    """
    import altair as alt

    rows = [{"k": k, "wcss": wcss} for k, wcss in zip(choice.ks, choice.wcss_log, strict=True)]
    x = _k_axis(choice.ks)
    y = alt.Y("wcss:Q", title="WCSS of log sizes", axis=alt.Axis(format="~s", tickCount=4))
    line = (
        chart_of(rows)
        .mark_line(color=BLUE, strokeWidth=2, point=alt.OverlayMarkDef(size=40, color=BLUE))
        .encode(
            x=x,
            y=y,
            tooltip=[
                alt.Tooltip("k:Q", title="Anchors"),
                alt.Tooltip("wcss:Q", title="WCSS", format=".4~g"),
            ],
        )
    )
    layers = [line]
    if choice.k is not None:
        elbow = [
            row | {"label": f"elbow at k = {choice.k}"} for row in rows if row["k"] == choice.k
        ]
        layers += [
            chart_of(elbow)
            .mark_point(size=190, color=VERMILLION, strokeWidth=2.5, opacity=1)
            .encode(x=x, y=y),
            chart_of(elbow)
            .mark_text(align="left", dx=13, dy=-9, color=VERMILLION)
            .encode(x=x, y=y, text="label:N"),
        ]
    return panel_of(layers, height_px, width_px=width_px)


def fit_by_k_chart(
    curve: Sequence[AnchorSet], *, height_px: int = 220, width_px: Width = "container"
) -> Chart:
    """Draw the mean best IoU and the best possible recall against k.

    Args:
        curve: A set for each k, ascending; where one has an upper bound, it is drawn as well.
        height_px: Height of the plot.
        width_px: Width of the plot.
    """
    import altair as alt

    rows = [
        {
            "k": one.k,
            "iou": one.mean_best_iou,
            "bound": one.upper_bound,
            "recall": one.best_possible_recall,
        }
        for one in curve
    ]
    x = _k_axis([one.k for one in curve])
    lowest = math.floor(10 * min(one.mean_best_iou for one in curve)) / 10
    scale = alt.Scale(domain=[lowest, 1.0], nice=False)
    axis = alt.Axis(format=".2~f", tickCount=5)
    y_iou, y_recall, y_bound = (
        alt.Y(f"{field}:Q", title=None, scale=scale, axis=axis)
        for field in ("iou", "recall", "bound")
    )
    tooltip = [
        alt.Tooltip("k:Q", title="Anchors"),
        alt.Tooltip("iou:Q", title="Mean best IoU", format=".4f"),
        alt.Tooltip("recall:Q", title="Best possible recall", format=".4f"),
    ]
    base = chart_of(rows)
    layers = [
        base.mark_line(color=GREEN, strokeWidth=1.5, strokeDash=[5, 3]).encode(x=x, y=y_recall),
        base.mark_circle(color=GREEN, size=40, opacity=1).encode(x=x, y=y_recall, tooltip=tooltip),
        base.mark_line(color=BLUE, strokeWidth=2).encode(x=x, y=y_iou),
        base.mark_circle(color=BLUE, size=55, opacity=1).encode(x=x, y=y_iou, tooltip=tooltip),
    ]
    if bounded := [row for row in rows if row["bound"] is not None]:
        bound = alt.Tooltip("bound:Q", title="None can reach more than", format=".4f")
        layers.append(
            chart_of(bounded)
            .mark_tick(color=VERMILLION, thickness=2, width=16, opacity=1, orient="horizontal")
            .encode(x=x, y=y_bound, tooltip=[*tooltip, bound])
        )
    return panel_of(layers, height_px, width_px=width_px)


def _k_axis(ks: Sequence[int]) -> alt.X:
    import altair as alt

    axis = alt.Axis(values=list(ks), format="d", grid=False, title="Number of anchors, k")
    scale = alt.Scale(domain=[min(ks) - 0.3, max(ks) + 0.3], nice=False)
    x: alt.X = alt.X("k:Q", scale=scale, axis=axis)
    return x
