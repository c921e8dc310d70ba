from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.test_charts import make_row, rows_drawn, texts_in
from tinysight.report.chart_style import BLUE, GREEN, VERMILLION, page_spec, render_svg
from tinysight.report.training_charts import (
    Curve,
    curves_of,
    epoch_chart,
    measured_part,
    say_sizes,
    sizes_of,
    step_chart,
    step_points,
    training_chart,
    value_range_of,
)


def make_curve(*values: float, label: str = "train") -> Curve:
    points = tuple({"epochs": n, "value": value} for n, value in enumerate(values, 1))
    return Curve(label, BLUE, points)


def test_curves_are_those_that_have_values() -> None:
    history = [make_row(0), make_row(1)]
    assert [(curve.label, curve.colour) for curve in curves_of(history, "accuracy")] == [
        ("train", BLUE),
        ("test", VERMILLION),
    ]
    averaged = [make_row(0, ema_test_loss=1.0)]
    assert curves_of(averaged, "loss")[-1] == Curve(
        "test, averaged weights", GREEN, ({"epochs": 1, "value": 1.0},)
    )


def growing(*sizes_px: int, part: str = "test") -> list[dict[str, Any]]:
    rows = [make_row(epoch, image_px=px) for epoch, px in enumerate(sizes_px)]
    return [row | {f"{part}_image_px": row["image_px"]} for row in rows]


def test_sizes_of_growing_images_are_said() -> None:
    history = growing(32, 32, 48, 64)
    assert sizes_of(history) == (
        {"epochs": 0, "image_px": 32},
        {"epochs": 2, "image_px": 48},
        {"epochs": 3, "image_px": 64},
    )
    sizes = "32 px up to epoch 2, 48 px up to epoch 3, then 64 px."
    assert say_sizes(history) == f"The training and test images grew: {sizes}"
    as_they_are = [row | {"test_image_px": 64} for row in history]
    assert say_sizes(as_they_are) == f"The training images grew: {sizes}"


@pytest.mark.parametrize("history", [[], [make_row(0), make_row(1)], growing(64, 64)])
def test_images_that_did_not_grow_are_not_spoken_of(history: list[dict[str, Any]]) -> None:
    assert sizes_of(history) == ()
    assert say_sizes(history) == ""


def test_sizes_are_marked_in_the_chart_and_told_above_it() -> None:
    texts = texts_in(render_svg(training_chart(growing(32, 32, 48, 64))))
    assert [texts.count(f"{px} px") for px in (32, 48, 64)] == [2, 2, 2]  # accuracy and loss
    assert say_sizes(growing(32, 32, 48, 64)) in texts
    page = epoch_chart([make_curve(0.1, 0.2)], is_share=True, sizes=sizes_of(growing(32, 64)))
    # The first size was that of one epoch, after which the axis begins.
    assert [{"epochs": 1, "label": "64 px"}] in rows_drawn(page)


def test_many_sizes_are_marked_without_their_names() -> None:
    history = growing(*range(32, 65, 4))
    texts = texts_in(render_svg(training_chart(history)))
    assert not [text for text in texts if re.fullmatch(r"\d+ px", text)]
    assert [{"epochs": size["epochs"], "image_px": size["image_px"]} for size in sizes_of(history)][
        1:
    ] in rows_drawn(training_chart(history))


def test_part_that_was_held_back_is_named() -> None:
    assert measured_part([make_row(0)]) == "test"
    assert measured_part([make_row(0, tuning_accuracy=0.1)]) == "tuning"


def test_chart_of_a_page_fills_its_place_and_draws_every_value() -> None:
    curves = [make_curve(0.1, 0.2), make_curve(0.3, 0.4, label="test")]
    chart = epoch_chart(curves, is_share=True)
    spec = page_spec(chart)
    assert spec["width"] == "container"
    drawn = rows_drawn(chart)
    for curve in curves:
        assert list(curve.points) in drawn


def test_pointer_names_every_curve_where_a_person_points() -> None:
    curves = [make_curve(0.1, 0.2, label="a.b[c]"), make_curve(0.3, label="test")]
    spec = epoch_chart(curves, is_share=True).to_dict()
    pointer = spec["layer"][-1]
    rows = next(rows for rows in spec["datasets"].values() if any("curve0" in row for row in rows))
    assert rows == [{"epochs": 1, "curve0": 0.1, "curve1": 0.3}, {"epochs": 2, "curve0": 0.2}]
    assert [tip["title"] for tip in pointer["encoding"]["tooltip"]] == [
        "Epochs done",
        "a.b[c]",
        "test",
    ]


@pytest.mark.parametrize(
    ("values", "is_share", "expected"),
    [
        ((0.0, 0.42), True, (0.0, 0.5)),
        ((0.97,), True, (0.0, 1.0)),
        ((1.0, 3.0), False, (0.88, 3.12)),
        ((2.0,), False, (1.94, 2.06)),
    ],
)
def test_axis_holds_every_value(
    values: tuple[float, ...], is_share: bool, expected: tuple[float, float]
) -> None:
    assert value_range_of([make_curve(*values)], is_share=is_share) == pytest.approx(expected)


def test_given_range_is_the_axis() -> None:
    chart = epoch_chart([make_curve(0.1)], is_share=True, value_range=(0.0, 0.9)).to_dict()
    assert chart["layer"][0]["encoding"]["y"]["scale"]["domain"] == [0.0, 0.9]


def test_chart_by_step_of_a_rate_that_is_nought_can_be_drawn() -> None:
    curve = Curve("lr", BLUE, ({"steps": 0, "value": 0.0},))
    chart = step_chart([curve]).to_dict()
    assert chart["layer"][0]["encoding"]["y"]["scale"]["domain"] == [0, 1.0]
    assert chart["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 1]


@given(st.lists(st.floats(0, 1, width=16), max_size=2000))
def test_thinned_points_are_real_and_keep_the_ends_and_the_extremes(values: list[float]) -> None:
    steps: list[dict[str, Any]] = [
        {"step": number, "lr": value} for number, value in enumerate(values)
    ]
    points = step_points(steps, "lr")
    assert len(points) <= 404
    assert all(
        point["value"] == pytest.approx(values[point["steps"]], rel=1e-5) for point in points
    )
    assert all(a["steps"] < b["steps"] for a, b in itertools.pairwise(points))
    if values:
        assert (points[0]["steps"], points[-1]["steps"]) == (0, len(values) - 1)
        shown = [point["value"] for point in points]
        assert max(shown) == pytest.approx(max(values), rel=1e-5)
        assert min(shown) == pytest.approx(min(values), rel=1e-5)


def test_few_steps_are_all_drawn() -> None:
    steps = [{"step": number, "lr": 0.1 * number} for number in range(300)]
    assert [point["steps"] for point in step_points(steps, "lr")] == list(range(300))
    assert step_points(steps, "momentum") == ()
