"""The charts on a set of boxes as files of their own, with titles that stand for legends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tinysight.report import anchor_charts, boxes_charts
from tinysight.report.chart_style import with_style

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tinysight.boxes.analysis import BoxAnalysis
    from tinysight.boxes.summary import BoxSummary
    from tinysight.report.chart_style import Chart

_CHART_PX = 560


def box_figures(analysis: BoxAnalysis, name: str) -> Iterator[tuple[str, Chart]]:
    """Draw every chart of an analysis that its boxes allow; of no boxes, none.

    Args:
        analysis: What to draw.
        name: What the set is called, below each title.

    Returns:
        The name of the file, without an ending, and the chart with its title.
    """
    summary, anchors, px = analysis.summary, analysis.anchors, _CHART_PX
    if not summary.boxes:
        return
    classes = [entry for entry in summary.classes if entry.boxes]
    most = boxes_charts.MOST_CLASSES
    with_images = analysis.reading.are_images_named
    which, it = "each class", "it"
    if len(classes) > most:
        which, it = f"the {most} largest of {len(classes):,} classes", "them"
    # A file has no legend beside it, so its title says what the marks are.
    bare: dict[str, tuple[str, Chart]] = {
        "classes": (
            f"Boxes of {which}{f'; orange: images that hold {it}' if with_images else ''}",
            boxes_charts.class_boxes_chart(classes, with_images=with_images, width_px=px),
        ),
        "sides-px": (
            "Width and height in pixels",
            boxes_charts.side_lengths_chart(summary, width_px=px),
        ),
        "aspects": (
            "Shapes",
            boxes_charts.aspect_chart(summary.aspect_by_class.sum(axis=0), width_px=px),
        ),
    }
    if with_images:
        bare["boxes-per-image"] = (
            "Boxes in an image",
            boxes_charts.boxes_per_image_chart(summary.images_by_num_boxes, width_px=px),
        )
    # Without the sizes of images neither is known.
    if summary.wh_rel.any():
        bare["sides-rel"] = (
            f"Width and height as shares of the image{_of_boxes(summary.wh_rel, summary)}",
            boxes_charts.side_shares_chart(summary, width_px=px),
        )
    if summary.centres.any():
        bare["centres"] = (
            f"Where the centres are{_of_boxes(summary.centres, summary)}",
            boxes_charts.centres_chart(summary.centres, width_px=px),
        )
    if anchors is not None:
        width, height = analysis.input_size_wh
        for one in anchors.sets:
            bare[f"anchors-k{one.k}"] = (
                f"{one.k} anchor{'' if one.k == 1 else 's'} at {width} × {height} px, "
                f"mean best IoU {one.mean_best_iou:.4f}",
                anchor_charts.anchors_on_sizes_chart(anchors.points, one, width_px=px),
            )
        bare["anchors-to-scale"] = (
            f"Anchors at {width} × {height} px, to scale",
            anchor_charts.anchor_shapes_chart(anchors.sets),
        )
        are_proved = any(one.upper_bound is not None for one in anchors.curve)
        limit = ", proved limit (orange)" if are_proved else ""
        bare["elbow"] = (
            f"Mean best IoU (blue){limit}, recall (green), WCSS (purple)",
            anchor_charts.elbow_chart(
                anchors.curve, anchors.choice, chosen_k=anchors.chosen.k, width_px=px
            ),
        )
    for chart_name, (title, chart) in bare.items():
        yield chart_name, with_style(chart, title, name)


def _of_boxes(counts: NDArray[np.int64], summary: BoxSummary) -> str:
    """Return how many boxes a chart shows, where it does not show all."""
    shown = int(counts.sum())
    return "" if shown == summary.boxes else f", of {shown:,} of {summary.boxes:,} boxes"
