from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.boxes.tables import draw_table, make_table
from tests.report.test_charts import rows_drawn, texts_in
from tinysight.boxes.distributions import ASPECT_BINS
from tinysight.boxes.summary import BoxSummary, summarize_boxes
from tinysight.report.boxes_charts import (
    MOST_CLASSES,
    aspect_chart,
    boxes_per_image_chart,
    centres_chart,
    class_boxes_chart,
    class_pairs_chart,
    log_axis,
    side_lengths_chart,
    side_shares_chart,
)
from tinysight.report.chart_style import BLUE, render_svg


def summary_of_drawn() -> BoxSummary:
    return summarize_boxes(draw_table())


def test_classes_come_with_boxes_and_images_the_largest_first() -> None:
    summary = summary_of_drawn()
    rows = rows_drawn(class_boxes_chart(summary.classes, width_px=300))[0]
    assert [row["boxes"] for row in rows] == sorted(summary.boxes_by_class.tolist(), reverse=True)
    assert {row["name"]: row["images"] for row in rows} == dict(
        zip(summary.class_names, summary.images_by_class.tolist(), strict=True)
    )


def test_two_classes_of_one_name_have_a_bar_each() -> None:
    table = make_table([(0, 0, 0, 0, 9, 9), (0, 1, 0, 0, 9, 9)], classes=("cat", "cat"))
    (rows, *_) = rows_drawn(class_boxes_chart(summarize_boxes(table).classes, width_px=300))
    assert [row["name"] for row in rows] == ["cat", "cat (2)"]


def test_only_the_largest_of_many_classes_have_a_bar() -> None:
    names = [f"class {number}" for number in range(MOST_CLASSES + 5)]
    boxes = [(0, number, 0, 0, 9, 9) for number in range(len(names))]
    summary = summarize_boxes(make_table(boxes, classes=names))
    (rows, *_) = rows_drawn(class_boxes_chart(summary.classes, width_px=300))
    assert len(rows) == MOST_CLASSES


def test_every_box_is_in_a_cell_of_each_map() -> None:
    summary = summary_of_drawn()
    for chart in (
        side_lengths_chart(summary, width_px=300),
        side_shares_chart(summary, width_px=300),
        centres_chart(summary.centres, width_px=300),
    ):
        (rows,) = rows_drawn(chart)
        assert sum(row["boxes"] for row in rows) == summary.boxes
        assert all(row["x"] < row["x2"] and row["y"] < row["y2"] for row in rows)


@pytest.mark.parametrize("chart_of_summary", [side_lengths_chart, class_pairs_chart])
def test_more_stands_out_more_from_any_ground(chart_of_summary: Callable[..., Any]) -> None:
    spec = chart_of_summary(summary_of_drawn(), width_px=300).to_dict()
    layer = spec["layer"][0]
    assert layer["mark"]["color"] == BLUE
    least, most = layer["encoding"]["opacity"]["scale"]["range"]
    assert (least, most) == (0.1, 1)
    assert "scheme" not in str(spec), "a scheme of Vega does not change with the page"


def test_a_box_stands_in_the_cell_of_its_width_and_height() -> None:
    table = make_table([(0, 0, 10, 20, 40, 5)])
    ((row,),) = rows_drawn(side_lengths_chart(summarize_boxes(table), width_px=300))
    assert row["x"] <= 40 < row["x2"]
    assert row["y"] <= 5 < row["y2"]
    ((row,),) = rows_drawn(side_shares_chart(summarize_boxes(table), width_px=300))
    assert row["x"] <= 0.4 < row["x2"]
    assert row["y"] <= 0.05 < row["y2"]


def test_the_map_of_centres_has_the_top_of_the_image_above() -> None:
    chart = centres_chart(summarize_boxes(make_table([(0, 0, 0, 0, 10, 10)])).centres, width_px=300)
    ((row,),) = rows_drawn(chart)
    assert row["y"] <= 0.05 < row["y2"]
    assert chart.to_dict()["layer"][0]["encoding"]["y"]["scale"]["domain"] == [1, 0]


def test_shapes_are_bars_from_zero_that_hold_every_box() -> None:
    summary = summary_of_drawn()
    chart = aspect_chart(summary.aspect_by_class.sum(axis=0), width_px=300)
    (rows,) = rows_drawn(chart)
    assert sum(row["boxes"] for row in rows) == summary.boxes
    assert chart.to_dict()["layer"][0]["encoding"]["y2"] == {"datum": 0}
    assert "1 : 1" in texts_in(render_svg(chart))


def test_images_with_very_many_boxes_share_the_last_bar() -> None:
    counts = np.ones(50, dtype=np.int64)
    (rows,) = rows_drawn(boxes_per_image_chart(counts, most_bars=10, width_px=300))
    assert [row["images"] for row in rows] == [1] * 9 + [41]
    assert rows[-1]["label"] == "9 or more"
    assert [row["kind"] for row in rows[:2]] == ["without", "with"]


def test_the_least_label_of_an_axis_of_thousands_is_0() -> None:
    counts = np.array([0, 8_000, 12_000, 16_000])
    shapes = np.zeros(ASPECT_BINS, dtype=np.int64)
    shapes[ASPECT_BINS // 2] = 16_000
    for chart in (boxes_per_image_chart(counts, width_px=300), aspect_chart(shapes, width_px=300)):
        texts = texts_in(render_svg(chart))
        assert "0" in texts
        assert "0k" not in texts
        assert "10k" in texts


def test_few_bars_are_not_cut() -> None:
    (rows,) = rows_drawn(boxes_per_image_chart(np.array([0, 47, 3]), width_px=300))
    assert [(row["label"], row["images"]) for row in rows] == [("0", 0), ("1", 47), ("2", 3)]


def test_pairs_are_shares_of_the_rarer_class() -> None:
    boxes = [(0, 0, 0, 0, 9, 9), (1, 0, 0, 0, 9, 9), (0, 1, 0, 0, 9, 9), (2, 2, 0, 0, 9, 9)]
    table = make_table(boxes, image_wh=[(100, 100)] * 3, classes=("a", "b", "c"))
    (rows,) = rows_drawn(class_pairs_chart(summarize_boxes(table), width_px=300))
    assert sorted((row["one"], row["other"], row["images"], row["share"]) for row in rows) == [
        ("a", "b", 1, 1.0),
        ("b", "a", 1, 1.0),
    ]


def test_classes_that_meet_no_other_have_no_row() -> None:
    boxes = [(0, 3, 0, 0, 9, 9), (0, 1, 0, 0, 9, 9), (1, 0, 0, 0, 9, 9), (1, 0, 0, 0, 5, 5)]
    table = make_table(boxes, image_wh=[(100, 100)] * 2, classes=("a", "b", "c", "d"))
    summary = summarize_boxes(table)
    assert summary.meeting_classes().tolist() == [1, 3]
    assert summary.cooccurrence().any(axis=0).tolist() == [True, True, False, True]
    chart = class_pairs_chart(summary, width_px=300)
    assert [row for row in texts_in(render_svg(chart)) if row in "abcd"].count("a") == 0
    (rows,) = rows_drawn(chart)
    assert sorted((row["one"], row["other"]) for row in rows) == [("b", "d"), ("d", "b")]


def test_pairs_of_very_many_classes_fit_into_memory() -> None:
    boxes = [(0, 0, 0, 0, 9, 9), (0, 1, 0, 0, 9, 9), (0, 1, 5, 0, 9, 9)]
    few = summarize_boxes(make_table(boxes, classes=("a", "b")))
    num_classes = 10**6  # a place for each pair of them would take 8 TB
    summary = dataclasses.replace(
        few,
        class_names=tuple(f"word {number}" for number in range(num_classes)),
        boxes_by_class=np.append(few.boxes_by_class, np.zeros(num_classes - 2, dtype=np.int64)),
    )
    (rows,) = rows_drawn(class_pairs_chart(summary, width_px=300))
    assert sorted((row["one"], row["other"], row["images"], row["share"]) for row in rows) == [
        ("word 0", "word 1", 1, 1.0),
        ("word 1", "word 0", 1, 1.0),
    ]


def test_every_entry_of_a_tooltip_has_a_title_of_its_own() -> None:
    summary = summary_of_drawn()
    for chart, first in (
        (side_lengths_chart(summary, width_px=300), "Width"),
        (side_shares_chart(summary, width_px=300), "Width"),
        (centres_chart(summary.centres, width_px=300), "Across the image"),
    ):
        tooltip = chart.to_dict()["layer"][0]["encoding"]["tooltip"]
        titles = [entry["title"] for entry in tooltip]
        assert titles[:2] == [f"{first} from", f"{first} to"]
        assert len(set(titles)) == len(titles) == 5


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1.0, 100.0, [1, 2, 5, 10, 20, 50, 100]),
        (0.5, 20_000.0, [1, 10, 100, 1000, 10_000]),
        (38.05, 45.25, [40, 42, 44]),
        (0.25, 0.297, [0.25, 0.26, 0.27, 0.28, 0.29]),
        (90.5, 107.6, [95, 100, 105]),
    ],
)
def test_an_axis_of_lengths_has_round_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert log_axis(low, high).to_dict()["values"] == ticks


def test_any_axis_of_lengths_has_two_ticks_on_it() -> None:
    rng = np.random.default_rng(0)
    lows, factors = 10 ** rng.uniform(-1, 4, 1000), 10 ** rng.uniform(0.05, 5, 1000)
    for low, factor in zip(lows.tolist(), factors.tolist(), strict=True):
        ticks = log_axis(low, low * factor).to_dict()["values"]
        assert 2 <= len(ticks) <= 14
        assert all(low <= tick <= low * factor for tick in ticks)


@pytest.mark.parametrize("used", range(ASPECT_BINS))
def test_shapes_that_are_all_alike_have_labels(used: int) -> None:
    counts = np.zeros(ASPECT_BINS, dtype=np.int64)
    counts[used] = 47
    labels = [
        text for text in texts_in(render_svg(aspect_chart(counts, width_px=300))) if ":" in text
    ]
    shapes = {label for label in labels if re.fullmatch(r"[\d.]+ : [\d.]+", label)}
    assert len(shapes) >= 2


def test_boxes_of_one_size_are_on_axes_with_numbers() -> None:
    chart = side_lengths_chart(summarize_boxes(make_table([(0, 0, 10, 20, 40, 40)])), width_px=300)
    numbers = [float(text) for text in texts_in(render_svg(chart)) if text[0].isdigit()]
    assert numbers == [40, 42, 44, 40, 42, 44]
