from __future__ import annotations

import re

import numpy as np
import pytest

from tests.report.test_charts import rows_drawn, texts_in
from tinysight.boxes.analysis import AnchorAnalysis, analyse_boxes
from tinysight.boxes.findings import Reading
from tinysight.boxes.geometry import pairwise_iou
from tinysight.report.anchor_charts import (
    anchor_shapes_chart,
    anchors_on_sizes_chart,
    elbow_chart,
    fit_by_k_chart,
)
from tinysight.report.chart_style import render_svg


@pytest.fixture(scope="module")
def anchors(drawn_reading: Reading) -> AnchorAnalysis:
    found = analyse_boxes(drawn_reading, (2, 3), certify_s=0.2).anchors
    assert found is not None
    return found


def test_every_size_has_the_colour_of_its_best_anchor(anchors: AnchorAnalysis) -> None:
    one = anchors.sets[1]
    dots, crosses = rows_drawn(anchors_on_sizes_chart(anchors.points, one, width_px=300))
    assert len(dots) == len(anchors.points.weights)
    sizes = np.array([[row["width"], row["height"]] for row in dots])
    best = pairwise_iou(sizes, one.anchors_wh_px).argmax(axis=1)
    assert [row["anchor"] for row in dots] == best.tolist()
    assert [[row["width"], row["height"]] for row in crosses] == one.anchors_wh_px.tolist()


def test_anchors_are_drawn_to_scale_around_one_centre(anchors: AnchorAnalysis) -> None:
    drawn = rows_drawn(anchor_shapes_chart(anchors.sets))
    rectangles = [row for rows in drawn for row in rows if "size" in row]
    sizes = [(row["right"] - row["left"], row["bottom"] - row["top"]) for row in rectangles]
    expected = np.concatenate([one.anchors_wh_px[::-1] for one in anchors.sets])
    assert np.allclose(sizes, expected)
    assert all(row["left"] + row["right"] == pytest.approx(640) for row in rectangles)


def test_the_elbow_is_marked_where_its_rules_agree(anchors: AnchorAnalysis) -> None:
    text = texts_in(render_svg(elbow_chart(anchors.choice, width_px=300)))
    is_marked = any("elbow at k" in part for part in text)
    assert is_marked == (anchors.choice.k is not None)
    curve = rows_drawn(elbow_chart(anchors.choice, width_px=300))[0]
    assert [row["wcss"] for row in curve] == list(anchors.choice.wcss_log)


def test_bounds_are_drawn_for_the_sets_that_have_one(anchors: AnchorAnalysis) -> None:
    drawn = rows_drawn(fit_by_k_chart(anchors.curve, width_px=300))
    assert [row["k"] for row in drawn[0]] == [one.k for one in anchors.curve]
    assert [row["k"] for row in drawn[-1]] == [2, 3]
    assert all(row["bound"] >= row["iou"] for row in drawn[-1])


def test_no_two_ticks_of_the_fit_bear_the_same_number(anchors: AnchorAnalysis) -> None:
    chart = fit_by_k_chart(anchors.curve[3:6], width_px=300)  # a narrow range: ticks every 0.05
    ticks = [text for text in texts_in(render_svg(chart)) if re.fullmatch(r"[01](\.\d+)?", text)]
    ticks = [text for text in ticks if "." in text]  # the others are numbers of anchors
    assert len(ticks) >= 3
    assert len(set(ticks)) == len(ticks)
