from __future__ import annotations

from typing import Any

import pytest

from tests.report.test_charts import rows_drawn, texts_in
from tinysight.report.chart_style import BLUE, VERMILLION, render_svg
from tinysight.report.class_charts import (
    calibration_chart,
    class_accuracy_chart,
    class_change_chart,
    confidence_chart,
)


def make_bin(number: int, images: int, accuracy: float | None) -> dict[str, Any]:
    return {
        "low": number / 5,
        "high": (number + 1) / 5,
        "images": images,
        "confidence": None if accuracy is None else (number + 0.5) / 5,
        "accuracy": accuracy,
    }


BINS = [make_bin(0, 10, 0.2), make_bin(1, 0, None), make_bin(4, 30, 0.8)]


def test_reliability_shows_confidence_against_accuracy_and_what_lacks() -> None:
    drawn = rows_drawn(calibration_chart([bin for bin in BINS if bin["images"]]))
    bins = next(rows for rows in drawn if "images" in rows[0])
    assert [(row["confidence"], row["accuracy"]) for row in bins] == [(0.1, 0.2), (0.9, 0.8)]
    assert [(row["from"], row["to"]) for row in bins] == [(0.1, 0.2), (0.8, 0.9)]
    even = next(rows for rows in drawn if "images" not in rows[0])
    assert [(row["confidence"], row["accuracy"]) for row in even] == [(0, 0), (1, 1)]


def test_empty_bins_are_left_out_of_the_reliability_diagram() -> None:
    drawn = rows_drawn(calibration_chart(BINS))
    assert sorted(len(rows) for rows in drawn) == [2, 2]


def test_right_and_wrong_images_of_a_bin_add_up() -> None:
    chart = confidence_chart(BINS)
    (rows,) = rows_drawn(chart)
    assert [(row["part"], row["images"]) for row in rows] == [
        ("right", 2),
        ("wrong", 8),
        ("right", 0),
        ("wrong", 0),
        ("right", 24),
        ("wrong", 6),
    ]
    colour = chart.to_dict()["layer"][0]["encoding"]["color"]["scale"]
    assert colour == {"domain": ["right", "wrong"], "range": [BLUE, VERMILLION]}


def test_every_class_is_in_one_bar_and_the_perfect_one_in_the_last() -> None:
    labels = ["a", "b", "c", "d", "unseen"]
    (rows,) = rows_drawn(class_accuracy_chart(labels, [0.0, 0.049, 0.5, 1.0, None]))
    assert [(row["low"], row["classes"], row["named"]) for row in rows] == [
        (0.0, 2, "a, b"),
        (0.5, 1, "c"),
        (0.95, 1, "d"),
    ]


def test_many_classes_of_a_bar_are_counted() -> None:
    labels = [f"class {number}" for number in range(7)]
    (rows,) = rows_drawn(class_accuracy_chart(labels, [0.5] * 7))
    assert rows[0]["named"] == "class 0, class 1, class 2, class 3 and 3 more"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_axis_of_few_classes_has_whole_numbers_once(count: int) -> None:
    labels = [str(number) for number in range(count)]
    svg = render_svg(class_accuracy_chart(labels, [0.5] * count))
    ticks = [text for text in texts_in(svg) if text.isdigit()]
    assert ticks == [str(number) for number in range(count + 1)]


def test_classes_that_got_worse_have_another_colour() -> None:
    changes = [
        {"label": "a", "before": 0.1, "after": 0.5},
        {"label": "b", "before": 0.5, "after": 0.1},
        {"label": "c", "before": 0.5, "after": 0.5},
    ]
    drawn = rows_drawn(class_change_chart(changes))
    points = next(rows for rows in drawn if "label" in rows[0])
    assert [row["is_better"] for row in points] == [True, False, True]
