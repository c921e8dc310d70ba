from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tinysight.errors import RunError
from tinysight.report.charts import (
    lr_range_chart,
    render_svg,
    save_png,
    training_chart,
)


def make_row(epoch: int, **changes: Any) -> dict[str, Any]:
    """A row of history.jsonl."""
    row: dict[str, Any] = {
        "epoch": epoch,
        "steps": 10 * (epoch + 1),
        "train_loss": 2.0 / (epoch + 1),
        "train_accuracy": 0.2 + 0.1 * epoch,
        "test_loss": 2.2 / (epoch + 1),
        "test_accuracy": 0.15 + 0.1 * epoch,
        "test_top5": 0.6,
        "lr": 0.1 / (epoch + 1),
        "momentum": 0.9,
        "seconds": 1.0,
        "images_per_s": 100.0,
    }
    row |= changes
    return {key: value for key, value in row.items() if value is not None}


def make_points(count: int = 50) -> list[dict[str, float]]:
    lrs = [1e-5 * 10 ** (6 * step / (count - 1)) for step in range(count)]
    losses = [2.0 - min(1.0, 40 * lr) + 5 * max(0.0, lr - 1) ** 2 for lr in lrs]
    return [
        {"lr": lr, "loss": loss + 0.1, "smoothed_loss": loss}
        for lr, loss in zip(lrs, losses, strict=True)
    ]


def texts_in(svg: str) -> list[str]:
    texts = (element.text for element in ElementTree.fromstring(svg).iter() if element.text)
    return [text.strip() for text in texts if text.strip()]


def rows_drawn(chart: Any) -> list[list[dict[str, Any]]]:
    """The rows behind each mark that shares a data set, in the order of the specification."""
    return list(chart.to_dict()["datasets"].values())


def test_training_chart_names_every_line_with_its_last_value() -> None:
    texts = texts_in(render_svg(training_chart([make_row(0), make_row(1), make_row(2)])))
    assert "train 40.0 %" in texts
    assert "test 35.0 %" in texts
    assert "train 0.67" in texts
    assert "test 0.73" in texts
    assert "Test accuracy 35.0 % after 3 epochs" in texts
    assert {"Accuracy", "Loss", "Learning rate at the end of the epoch"} <= set(texts)
    assert "40 %" in texts
    assert not [text for text in texts if "averaged" in text]


def test_training_chart_draws_the_values_of_the_history() -> None:
    history = [make_row(0), make_row(1)]
    drawn = rows_drawn(training_chart(history))
    for key in ("train_accuracy", "test_accuracy", "train_loss", "test_loss", "lr"):
        line = [{"epochs": row["epoch"] + 1, "value": row[key]} for row in history]
        assert line in drawn, key


def test_training_chart_puts_averaged_weights_in_the_headline() -> None:
    history = [make_row(epoch, ema_test_accuracy=0.5, ema_test_loss=1.0) for epoch in range(2)]
    texts = texts_in(render_svg(training_chart(history)))
    assert "Test accuracy 50.0 % after 2 epochs, averaged weights" in texts
    assert "test, averaged weights 50.0 %" in texts
    assert "test, averaged weights 1.00" in texts


def test_training_chart_skips_epochs_without_evaluation() -> None:
    unknown = {"test_accuracy": None, "test_loss": None, "test_top5": None}
    history = [make_row(0, **unknown), make_row(1), make_row(2, **unknown)]
    drawn = rows_drawn(training_chart(history))
    assert [{"epochs": 2, "value": history[1]["test_accuracy"]}] in drawn
    texts = texts_in(render_svg(training_chart(history)))
    assert "Training accuracy 40.0 % after 3 epochs" in texts


def test_training_chart_without_any_evaluation_shows_training_alone() -> None:
    texts = texts_in(render_svg(training_chart([make_row(0, test_accuracy=None, test_loss=None)])))
    assert "Training accuracy 20.0 % after 1 epoch" in texts
    assert not [text for text in texts if text.startswith("test ")]


def test_training_chart_of_a_tuning_run_says_tuning_and_not_test() -> None:
    unknown = {"test_accuracy": None, "test_loss": None, "test_top5": None}
    history = [make_row(0, tuning_accuracy=0.25, tuning_loss=1.5, **unknown)]
    texts = texts_in(render_svg(training_chart(history)))
    assert "Tuning accuracy 25.0 % after 1 epoch" in texts
    assert "tuning 1.50" in texts
    assert not [text for text in texts if text.lower().startswith("test")]


def test_axis_of_one_epoch_names_it_once() -> None:
    svg = render_svg(training_chart([make_row(0)]))
    labels = re.findall(r"<text[^>]*>(\d)</text>", svg)
    assert labels.count("1") == 1


def test_labels_of_lines_that_end_together_do_not_lie_on_each_other() -> None:
    history = [
        make_row(0, train_accuracy=0.5, test_accuracy=0.5, ema_test_accuracy=0.5, ema_test_loss=2)
    ]
    svg = render_svg(training_chart(history))
    found = re.findall(r'translate\(([\d.]+),([-\d.]+)\)"[^>]*>([^<]+) 50\.0 %</text>', svg)
    heights = sorted(float(y) for _, y, _ in found)
    assert len(heights) == 3
    assert heights[1] - heights[0] > 14
    assert heights[2] - heights[1] > 14


def test_lr_range_chart_marks_both_suggestions() -> None:
    points = make_points()
    chart = lr_range_chart(points, suggestion_steepest=0.011, suggestion_valley=0.0231)
    texts = texts_in(render_svg(chart))
    assert "steepest 0.011" in texts
    assert "half way 0.023" in texts
    title = "The loss falls fastest at learning rate 0.011; it is half way down at 0.023"
    assert title in texts
    assert {"1e-5", "1e-4", "0.001", "0.01", "0.1", "1", "10"} <= set(texts)
    drawn = rows_drawn(chart)
    assert points in drawn
    marked = sorted(rows[0]["lr"] for rows in drawn if len(rows) == 1)
    assert marked == pytest.approx([0.011, 0.0231], rel=0.2)


@pytest.mark.parametrize(
    ("weakness", "title"),
    [
        ("noise", "The loss falls no more than its noise could; no learning rate stands out"),
        ("guessing", "The loss falls only to that of guessing; no learning rate stands out"),
    ],
)
def test_lr_range_chart_says_that_the_loss_hardly_fell(weakness: str, title: str) -> None:
    chart = lr_range_chart(
        make_points(), suggestion_steepest=0.011, suggestion_valley=0.0231, weakness=weakness
    )
    assert title in texts_in(render_svg(chart))


def test_lr_range_chart_leaves_a_diverging_loss_out_of_the_picture() -> None:
    points = [*make_points(), {"lr": 11.0, "loss": 1e9, "smoothed_loss": 1e8}]
    chart = lr_range_chart(points, suggestion_steepest=0.01, suggestion_valley=0.02).to_dict()
    (bottom, top) = chart["layer"][1]["encoding"]["y"]["scale"]["domain"]
    assert bottom < 1.0 < 2.0 < top < 3.0
    assert chart["layer"][1]["mark"]["clip"]


@pytest.mark.parametrize("suggestion", [1e-5, 10.0])
def test_label_of_a_suggestion_at_the_edge_stays_in_the_picture(suggestion: float) -> None:
    chart = lr_range_chart(
        make_points(), suggestion_steepest=suggestion, suggestion_valley=suggestion
    ).to_dict()
    marks = [layer["mark"] for layer in chart["layer"] if layer["mark"]["type"] == "text"]
    assert {mark["align"] for mark in marks} == {"left" if suggestion < 1 else "right"}


def test_png_is_written_at_the_scale_asked_for(tmp_path: Path) -> None:
    chart = training_chart([make_row(0), make_row(1)])
    for scale in (1.0, 2.0):
        save_png(chart, tmp_path / f"{scale}.png", scale=scale)
    with Image.open(tmp_path / "1.0.png") as small, Image.open(tmp_path / "2.0.png") as large:
        assert small.format == "PNG"
        assert large.width == pytest.approx(2 * small.width, abs=2)
        assert small.getpixel((1, 1))[:3] == (255, 255, 255)
        assert (213, 94, 0) in {colour[:3] for _, colour in small.getcolors(1 << 20)}
    assert {path.name for path in tmp_path.iterdir()} == {"1.0.png", "2.0.png"}


def test_png_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    chart = training_chart([make_row(0)])
    with pytest.raises(RunError, match=r"missing/x\.png: must be writable, but No such file"):
        save_png(chart, tmp_path / "missing" / "x.png")


def test_same_rows_give_the_same_svg_and_it_refers_to_nothing_outside() -> None:
    history = [make_row(epoch) for epoch in range(3)]
    svg = render_svg(training_chart(history))
    assert svg == render_svg(training_chart(history))
    assert not re.search(r"(href|src|url)\s*[=(]", svg)


def test_lr_range_chart_shows_a_curve_that_starts_at_its_lowest_point() -> None:
    losses = [1.0, 3.0, 2.8, 2.0, 1.5, 4.0]
    points = [
        {"lr": 10.0**-power, "loss": loss, "smoothed_loss": loss}
        for power, loss in zip(range(6, 0, -1), losses, strict=True)
    ]
    chart = lr_range_chart(points, suggestion_steepest=1e-3, suggestion_valley=1e-4).to_dict()
    found = str(chart)
    start = found.index("'domain': [", found.index("smoothed_loss"))
    low, top = (float(text) for text in found[start + 11 : found.index("]", start)].split(","))
    assert low < 1.0
    assert top >= 2.8
