from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from tests.report.test_charts import rows_drawn, texts_in
from tinysight.boxes.analysis import AnchorAnalysis, analyse_boxes
from tinysight.boxes.choice_of_k import RuleChoice, choose_k_of_sizes
from tinysight.boxes.findings import Reading
from tinysight.boxes.geometry import pairwise_iou
from tinysight.numerals import rounded_down
from tinysight.report.anchor_charts import (
    anchor_shapes_chart,
    anchors_on_sizes_chart,
    elbow_chart,
)
from tinysight.report.chart_style import render_svg


@pytest.fixture(scope="module")
def anchors(drawn_reading: Reading) -> AnchorAnalysis:
    found = analyse_boxes(drawn_reading, (2, 3), certify_s=2).anchors
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


def test_one_chart_has_wcss_iou_bound_and_recall_over_one_axis_of_k(
    anchors: AnchorAnalysis,
) -> None:
    chart = elbow_chart(anchors.curve, anchors.choice, chosen_k=2, width_px=300)
    drawn = rows_drawn(chart)
    (wcss,) = (rows for rows in drawn if "wcss" in rows[0])
    assert [row["wcss"] for row in wcss] == list(anchors.choice.wcss_log)
    fit, bounded = (rows for rows in drawn if "recall" in rows[0])
    assert [(row["k"], row["iou"], row["recall"]) for row in fit] == [
        (one.k, one.mean_best_iou, one.best_possible_recall) for one in anchors.curve
    ]
    assert [row["reached"] for row in fit] == [
        rounded_down(one.best_possible_recall, 4) for one in anchors.curve
    ]
    assert '"field": "recall", "format"' not in json.dumps(chart.to_dict()), "not to nearest"
    assert [row["k"] for row in bounded] == [2, 3]
    assert all(row["bound"] >= row["iou"] for row in bounded)
    texts = texts_in(render_svg(chart))
    assert texts.count("Number of anchors, k") == 1
    assert {"Mean best IoU, recall", "WCSS of log sizes"} <= {*texts}
    assert chart.to_dict()["width"] == 300
    assert elbow_chart(anchors.curve, anchors.choice).to_dict()["width"] == "container"


def test_the_chosen_k_is_marked_and_called_the_elbow_only_where_it_is_one(
    anchors: AnchorAnalysis,
) -> None:
    def texts(elbow: int | None, chosen_k: int | None) -> list[str]:
        rules = dict.fromkeys(anchors.choice.rules, RuleChoice(elbow, 1.0))
        choice = replace(anchors.choice, rules=rules)
        chart = elbow_chart(anchors.curve, choice, chosen_k=chosen_k, width_px=300)
        return [text for text in texts_in(render_svg(chart)) if text.startswith("k = ")]

    assert texts(3, 3) == ["k = 3, the elbow"]
    assert texts(3, 2) == ["k = 2"]
    assert texts(3, None) == ["k = 3, the elbow"]
    assert texts(None, 2) == ["k = 2"]
    assert texts(None, None) == []


def test_a_bound_is_told_rounded_up(anchors: AnchorAnalysis) -> None:
    one = replace(anchors.curve[0], upper_bound=0.81231)
    drawn = rows_drawn(elbow_chart([one], anchors.choice, width_px=300))
    assert {row["most"] for rows in drawn for row in rows if "most" in row} == {"0.8124"}


def test_no_two_ticks_of_the_fit_bear_the_same_number(anchors: AnchorAnalysis) -> None:
    curve = anchors.curve[3:6]  # a narrow range: ticks every 0.05
    texts = texts_in(render_svg(elbow_chart(curve, anchors.choice, width_px=300)))
    ticks = [text for text in texts if re.fullmatch(r"0\.\d+", text)]
    assert len(ticks) >= 3
    assert len(set(ticks)) == len(ticks)


def test_one_size_has_an_elbow_chart_too(anchors: AnchorAnalysis) -> None:
    choice = choose_k_of_sizes(np.full((4, 2), 0.25))
    assert choice.wcss_log == (0.0,)
    texts = texts_in(render_svg(elbow_chart(anchors.curve[:1], choice, width_px=300)))
    assert "WCSS of log sizes" in texts
