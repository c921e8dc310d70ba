"""What is in a set of boxes, as charts: classes, sizes, shapes, numbers and positions.

A chart fits its place on a page; with a width in pixels it serves a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from tinysight.boxes.distributions import ASPECT_EDGES, GRID_CELLS, REL_BINS, SIDE_EDGES_PX
from tinysight.report.chart_style import (
    BLUE,
    INK,
    QUIET,
    SHORT_NUMBER,
    VERMILLION,
    chart_of,
    panel_of,
)

if TYPE_CHECKING:
    import altair as alt
    from numpy.typing import NDArray

    from tinysight.boxes.summary import BoxSummary, ClassCount
    from tinysight.report.chart_style import Chart

Width = int | Literal["container"]

MOST_CLASSES = 40
"""Classes that have a bar of their own; a table has the others."""
MOST_PAIRED = 24
"""Classes that have a row of the matrix of pairs."""
ROW_PX = 19
"""Height of the bar or the row of a class."""
_MOST_DECADES = 4
_LEAST_STEPS = 3  # that go into a short axis
_NAME_PX = 160
# Of one colour, which stands out the more from a white ground and from a dark one.
_STRENGTHS: Final = [0.1, 1.0]


def class_boxes_chart(
    classes: Sequence[ClassCount], *, with_images: bool = True, width_px: Width = "container"
) -> Chart:
    """Draw how many boxes each class has, and in how many images.

    Args:
        classes: The largest first, at least one; those after ``MOST_CLASSES`` are left out.
        with_images: Whether it is known which boxes share an image.
        width_px: Width of the plot.
    """
    import altair as alt

    shown = classes[:MOST_CLASSES]
    names = _told_apart([entry.name for entry in shown])
    rows = [
        {
            "name": name,
            "boxes": entry.boxes,
            "images": entry.images,
            "label": f"{entry.boxes:,}",
        }
        for name, entry in zip(names, shown, strict=True)
    ]
    y = alt.Y("name:N", title=None, sort=None, axis=_name_axis(_NAME_PX))
    # Room for the figure behind the longest bar.
    scale = alt.Scale(domain=[0, 1.12 * max(max(entry.boxes for entry in shown), 1)], nice=False)
    tooltip = [
        alt.Tooltip("name:N", title="Class"),
        alt.Tooltip("boxes:Q", title="Boxes", format=",d"),
        *([alt.Tooltip("images:Q", title="Images", format=",d")] if with_images else []),
    ]
    base = chart_of(rows)
    x = alt.X("boxes:Q", title=None, scale=scale, axis=None)
    ticks = base.mark_tick(color=VERMILLION, thickness=2, height=15, opacity=1).encode(
        x=alt.X("images:Q", scale=scale, axis=None), y=y, tooltip=tooltip
    )
    layers = [
        base.mark_bar(color=BLUE, height=11, cornerRadius=1).encode(x=x, y=y, tooltip=tooltip),
        *([ticks] if with_images else []),
        base.mark_text(align="left", dx=6, color=QUIET, fontWeight="normal").encode(
            x=x, y=y, text="label:N"
        ),
    ]
    return panel_of(layers, ROW_PX * len(shown), width_px=width_px)


def side_lengths_chart(summary: BoxSummary, *, width_px: Width = "container") -> Chart:
    """Draw how many boxes have which width and height in pixels, both on logarithmic axes."""
    rows = _cells(summary.wh_px, SIDE_EDGES_PX)
    return _heat_map(
        rows,
        axes=("Width, px", "Height, px"),
        domains=(_occupied(summary.wh_px.sum(axis=0)), _occupied(summary.wh_px.sum(axis=1))),
        is_log=True,
        width_px=width_px,
    )


def side_shares_chart(summary: BoxSummary, *, width_px: Width = "container") -> Chart:
    """Draw how many boxes have which width and height as fractions of their image."""
    rows = _cells(summary.wh_rel, np.arange(REL_BINS + 1) / REL_BINS)
    return _heat_map(
        rows,
        axes=("Width, share of the image", "Height, share of the image"),
        domains=((0.0, 1.0), (0.0, 1.0)),
        is_log=False,
        width_px=width_px,
    )


def centres_chart(counts: NDArray[np.int64], *, width_px: Width = "container") -> Chart:
    """Draw where in the image the centres of boxes are.

    Args:
        counts: (GRID_CELLS, GRID_CELLS), rows from the top.
        width_px: Width of the plot.
    """
    edges = np.arange(GRID_CELLS + 1) / GRID_CELLS
    return _heat_map(
        _cells(counts, edges),
        axes=("Across the image", "Down the image"),
        domains=((0.0, 1.0), (1.0, 0.0)),
        is_log=False,
        width_px=width_px,
    )


def aspect_chart(
    counts: NDArray[np.int64], *, height_px: int = 220, width_px: Width = "container"
) -> Chart:
    """Draw how many boxes have which shape.

    Args:
        counts: (ASPECT_BINS,) boxes by width / height.
        height_px: Height of the plot.
        width_px: Width of the plot.
    """
    import altair as alt

    rows = [
        {"low": float(low), "high": float(high), "boxes": int(boxes)}
        for low, high, boxes in zip(ASPECT_EDGES, ASPECT_EDGES[1:], counts, strict=False)
        if boxes
    ]
    used = np.flatnonzero(counts)
    first, last = (ASPECT_EDGES[used[0]], ASPECT_EDGES[used[-1] + 1]) if len(used) else (0.5, 2.0)
    powers = [float(2.0**power) for power in range(-4, 5)]
    axis = alt.Axis(
        values=_ticks_inside(powers, float(first), float(last)),
        grid=False,
        labelExpr="datum.value < 1 ? '1 : ' + format(1 / datum.value, '.3~g') "
        ": format(datum.value, '.3~g') + ' : 1'",
    )
    scale = alt.Scale(type="log", base=2, domain=[float(first), float(last)], nice=False)
    chart = (
        chart_of(rows)
        .mark_bar(color=BLUE, binSpacing=1)
        .encode(
            x=alt.X("low:Q", title="Width : height", scale=scale, axis=axis),
            x2="high:Q",
            y=alt.Y("boxes:Q", title="Boxes", axis=alt.Axis(labelExpr=SHORT_NUMBER, tickCount=4)),
            y2=alt.datum(0),
            tooltip=[
                alt.Tooltip("low:Q", title="Width / height from", format=".3~g"),
                alt.Tooltip("high:Q", title="to", format=".3~g"),
                alt.Tooltip("boxes:Q", title="Boxes", format=",d"),
            ],
        )
    )
    return panel_of([chart], height_px, width_px=width_px)


def boxes_per_image_chart(
    images_by_num_boxes: NDArray[np.int64],
    *,
    most_bars: int = 30,
    height_px: int = 220,
    width_px: Width = "container",
) -> Chart:
    """Draw how many images hold how many boxes; the last bar also takes what lies beyond it.

    Args:
        images_by_num_boxes: (m + 1,) images with 0, 1, … m boxes.
        most_bars: Bars to draw at the most.
        height_px: Height of the plot.
        width_px: Width of the plot.
    """
    import altair as alt

    counts = images_by_num_boxes
    shown = counts[:most_bars].astype(np.int64)
    is_cut = len(counts) > most_bars
    if is_cut:
        shown[-1] += counts[most_bars:].sum()
    rows = [
        {
            "boxes": number,
            "images": int(images),
            "label": f"{number} or more" if is_cut and number == most_bars - 1 else str(number),
            "kind": "without" if number == 0 else "with",
        }
        for number, images in enumerate(shown)
    ]
    every = max(1, len(rows) // 10)
    last = len(rows) - 1
    more = f" + (datum.value == {last} ? '+' : '')" if is_cut else ""
    axis = alt.Axis(
        labelAngle=0,
        ticks=False,
        grid=False,
        values=[*(number for number in range(0, last, every) if last - number > every / 2), last],
        labelExpr=f"datum.label{more}",
    )
    chart = (
        chart_of(rows)
        .mark_bar()
        .encode(
            x=alt.X("boxes:O", title="Boxes in an image", axis=axis),
            y=alt.Y("images:Q", title="Images", axis=alt.Axis(labelExpr=SHORT_NUMBER, tickCount=4)),
            color=alt.Color("kind:N", legend=None).scale(
                domain=["with", "without"], range=[BLUE, VERMILLION]
            ),
            tooltip=[
                alt.Tooltip("label:N", title="Boxes"),
                alt.Tooltip("images:Q", title="Images", format=",d"),
            ],
        )
    )
    return panel_of([chart], height_px, width_px=width_px)


def class_pairs_chart(summary: BoxSummary, *, width_px: Width = "container") -> Chart:
    """Draw in how many images two classes meet, as a share of the rarer one's images.

    The largest classes of those that meet another have a row and a column each.
    """
    import altair as alt

    by_size = np.argsort(-summary.boxes_by_class, kind="stable")
    order = by_size[np.isin(by_size, summary.meeting_classes())][:MOST_PAIRED]
    names = _told_apart([summary.class_names[index] for index in order])
    meetings = summary.cooccurrence(order)
    images = meetings.diagonal()  # of each class itself
    rows = [
        {
            "one": names[row],
            "other": names[column],
            "images": int(meetings[row, column]),
            "share": float(meetings[row, column] / min(images[row], images[column])),
        }
        for row, column in np.argwhere(meetings)
        if row != column
    ]
    scale = alt.Scale(domain=names)
    across = alt.X("other:N", title=None, scale=scale, sort=None, axis=_name_axis(120, turned=True))
    down = alt.Y("one:N", title=None, scale=scale, sort=None, axis=_name_axis(120))
    chart = (
        chart_of(rows)
        .mark_rect(color=BLUE)
        .encode(
            x=across,
            y=down,
            opacity=alt.Opacity(
                "share:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=_STRENGTHS)
            ),
            tooltip=[
                alt.Tooltip("one:N", title="Class"),
                alt.Tooltip("other:N", title="meets"),
                alt.Tooltip("images:Q", title="in images", format=",d"),
                alt.Tooltip("share:Q", title="of the rarer one's", format=".1%"),
            ],
        )
    )
    return panel_of([chart], ROW_PX * len(order), width_px=width_px)


def _cells(counts: NDArray[np.int64], edges: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Return the cells that hold boxes: rows of ``counts`` run along y, columns along x."""
    rows, columns = np.nonzero(counts)
    return [
        {
            "x": float(edges[column]),
            "x2": float(edges[column + 1]),
            "y": float(edges[row]),
            "y2": float(edges[row + 1]),
            "boxes": int(counts[row, column]),
        }
        for row, column in zip(rows, columns, strict=True)
    ]


def _occupied(counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the edges in pixels between which there are boxes."""
    used = np.flatnonzero(counts)
    if not len(used):
        return 1.0, 1000.0
    return float(SIDE_EDGES_PX[used[0]]), float(SIDE_EDGES_PX[used[-1] + 1])


def _heat_map(
    rows: Sequence[dict[str, Any]],
    *,
    axes: tuple[str, str],
    domains: tuple[tuple[float, float], tuple[float, float]],
    is_log: bool,
    width_px: Width,
    height_px: int = 320,
) -> Chart:
    import altair as alt

    kind: Literal["log", "linear"] = "log" if is_log else "linear"
    scales = [alt.Scale(type=kind, domain=list(domain), nice=False) for domain in domains]
    axes_of = [log_axis(*domain) if is_log else _share_axis() for domain in domains]
    number_format = ".3~g" if is_log else ".0%"
    across, down = (axis.partition(",")[0] for axis in axes)
    chart = (
        chart_of(rows)
        .mark_rect(color=BLUE)
        .encode(
            x=alt.X("x:Q", title=axes[0], scale=scales[0], axis=axes_of[0]),
            x2="x2:Q",
            y=alt.Y("y:Q", title=axes[1], scale=scales[1], axis=axes_of[1]),
            y2="y2:Q",
            # The square root keeps a few crowded cells from whitening all others.
            opacity=alt.Opacity(
                "boxes:Q",
                legend=None,
                scale=alt.Scale(type="sqrt", domainMin=0, range=_STRENGTHS),
            ),
            tooltip=[
                # Vega-Lite keeps one of two entries with the same title.
                alt.Tooltip("x:Q", title=f"{across} from", format=number_format),
                alt.Tooltip("x2:Q", title=f"{across} to", format=number_format),
                alt.Tooltip("y:Q", title=f"{down} from", format=number_format),
                alt.Tooltip("y2:Q", title=f"{down} to", format=number_format),
                alt.Tooltip("boxes:Q", title="Boxes", format=",d"),
            ],
        )
    )
    return panel_of([chart], height_px, width_px=width_px)


def log_axis(low: float, high: float) -> alt.Axis:
    """Return an axis with ticks at 1, 2 and 5 times the powers of ten.

    At 1 only if they crowd, and at even steps where fewer than two of them lie on the axis.
    """
    import altair as alt

    decades = math.log10(high / low)
    factors = (1, 2, 5) if decades < _MOST_DECADES else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [float(factor * 10.0**power) for power in powers for factor in factors]
    return alt.Axis(
        values=_ticks_inside(values, low, high), labelExpr="format(datum.value, '~g')", grid=False
    )


def _ticks_inside(ticks: Sequence[float], low: float, high: float) -> list[float]:
    """Return the ticks that lie on an axis, or others at even steps where fewer than two do.

    On an axis so short a logarithm is nearly straight.
    """
    inside = [tick for tick in ticks if low <= tick <= high]
    if len(inside) >= 2:
        return inside
    power = 10.0 ** math.floor(math.log10((high - low) / _LEAST_STEPS))
    step = max(
        (factor * power for factor in (1, 2, 5) if factor * power * _LEAST_STEPS <= high - low),
        default=power / 2,  # where the power was rounded up
    )
    return [
        float(f"{number * step:.6g}")
        for number in range(math.ceil(low / step), math.floor(high / step) + 1)
    ]


def _share_axis() -> alt.Axis:
    import altair as alt

    return alt.Axis(labelExpr="format(100 * datum.value, '~g') + ' %'", tickCount=5, grid=False)


def _told_apart(names: Sequence[str]) -> list[str]:
    """Return the names, those that occurred before with a number: each has a place of its own."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return distinct


def _name_axis(room_px: int, *, turned: bool = False) -> alt.Axis:
    import altair as alt

    axis = alt.Axis(domain=False, ticks=False, labelLimit=room_px, labelColor=INK, grid=False)
    if turned:
        axis.labelAngle = -60
    return axis
